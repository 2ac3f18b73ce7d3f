"""From OpenAI's request for a picture to a prompt, and from a picture to its answer."""

from __future__ import annotations

import base64
import re
from typing import Final

from msgspec import Struct, json

from nightrate import limits
from nightrate.clock import Instant
from nightrate.dialects.gemini_prompts import bare_model
from nightrate.dialects.openai_reading import Reader
from nightrate.dialects.openai_replies import seconds
from nightrate.dialects.openai_shapes import ImageBody
from nightrate.dialects.refusals import unserved, wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.generation import Failure, Message, Prompt, Reply
from nightrate.domain.picture import PictureWish
from nightrate.errors import Code

UNSERVED: Final = {
    "background": "Leave it out.",
    "moderation": "Leave it out.",
    "output_compression": "Leave it out: pictures are PNG files.",
    "partial_images": "Leave it out.",
    "quality": "Leave it out.",
    "stream": "Leave it out: a picture comes whole.",
    "style": "Say in the prompt what it shall look like.",
}
"""What to do instead. ``auto``, false and null ask for nothing."""

HINTS: Final = {"user": "who asks, for the abuse checks of a service"}
"""Members that mean nothing here, and what they are elsewhere."""

_AUTO = "auto"
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_USUAL = (1024, 1024)
_SIDES: Final = range(limits.PICTURE_SIDE_MIN, limits.PICTURE_SIDE_MAX + 1)

_READER: Final = Reader(ImageBody)


class ImageCall(Struct, frozen=True):
    """A picture that is asked for."""

    model: str
    """Without ``models/``."""
    prompt: Prompt


class _Image(Struct):
    b64_json: str


class _Images(Struct):
    created: int
    data: list[_Image]


def parse_image(body: bytes) -> ImageCall:
    """Read the body of ``images/generations``.

    Raises:
        BadRequest: it is malformed or a value is wrong.
        NotSupported: it asks for something this server does not do.
    """
    asked = _READER.read(body)
    if not asked.model:
        raise wrong("model", "it is empty.")
    if not asked.prompt:
        raise wrong("prompt", "it is empty.")
    for name, remedy in UNSERVED.items():
        if getattr(asked, name) not in (None, False, 0, _AUTO):
            raise unserved(name, remedy)
    if (asked.n or 1) != 1:
        raise unserved("n", "Send the request as often as you want pictures.")
    if asked.response_format == "url":
        raise unserved("response_format", 'Use "b64_json".')
    if asked.response_format not in (None, "b64_json"):
        raise wrong("response_format", f'"{quoted(asked.response_format)}" is not known.')
    if asked.output_format not in (None, "png"):
        raise unserved("output_format", 'Use "png".')
    width, height = _size(asked.size)
    wish = PictureWish(width, height, with_text=False, field="model")
    prompt = Prompt(messages=(Message("user", asked.prompt),), picture=wish)
    return ImageCall(bare_model(asked.model), prompt)


def _size(text: str | None) -> tuple[int, int]:
    if text is None or text == _AUTO:
        return _USUAL
    found = _SIZE.fullmatch(text)
    if found is None or not all(int(side) in _SIDES for side in found.groups()):
        why = f'"{quoted(text)}" is not two sides of {_SIDES[0]} to {_SIDES[-1]}: "1024x1024".'
        raise wrong("size", why)
    return int(found[1]), int(found[2])


def without_picture(reply: Reply) -> Failure | None:
    """Say why a reply has no picture, if a filter let none through."""
    found = reply.candidates[0].withheld
    if found is None:
        return None
    message = f"A filter of contents let no picture through ({found.name})."
    return Failure(Code.FAILED_PRECONDITION, message)


def render_image(reply: Reply, now: Instant) -> bytes:
    """Write the answer: every picture of the reply."""
    pictures = reply.candidates[0].pictures
    data = [_Image(base64.b64encode(picture.data).decode()) for picture in pictures]
    return json.encode(_Images(seconds(now), data))
