"""OpenAI's protocol from the other side: a server that draws, what it is asked and answers.

Such a server takes one text and gives one picture. What a prompt asks for beyond that is refused,
with the name of the field.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import Final

import msgspec
from msgspec import Struct, json

from nightrate.dialects.other_servers import encoded, unreadable
from nightrate.domain.drawing import held_to, one_text, prompt_tokens_of, tokens_of
from nightrate.domain.generation import Candidate, FinishReason, Prompt, Reply, Usage
from nightrate.domain.picture import AREA_NEAR, RATIO_NEAR, Picture, PictureWish
from nightrate.errors import Code, RequestFailed

OPENAI_SIZES: Final = ("1024x1024", "1536x1024", "1024x1536")
"""What the hosted service draws."""

_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_KINDS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"RIFF", "image/webp"),
)
"""How a file of a picture begins."""


class PictureCustoms(Struct, frozen=True, kw_only=True):
    """What a server that draws takes."""

    sizes: tuple[str, ...] = ()
    """The sizes that it can draw, as ``1024x1024``; empty: any."""
    says_format: bool = True
    """Whether it is told to send the picture itself; a server that does nothing else may refuse the
    word."""


class _PictureAsk(Struct, kw_only=True, omit_defaults=True):
    model: str
    prompt: str
    size: str
    n: int | None = None
    response_format: str | None = None


class _Drawn(Struct):
    b64_json: str | None = None
    revised_prompt: str | None = None


class _Used(Struct):
    input_tokens: int
    output_tokens: int


class _Drawings(Struct):
    data: list[_Drawn]
    usage: _Used | None = None


_DRAWINGS: Final = json.Decoder(_Drawings)


def render_picture(prompt: Prompt, wish: PictureWish, model: str, customs: PictureCustoms) -> bytes:
    """Write the body of ``images/generations``.

    Raises:
        RequestFailed: the prompt asks for what such a server cannot do.
    """
    ask = _PictureAsk(
        model=model,
        prompt=one_text(prompt, seeded=False),
        size=_size(wish, customs.sizes),
        n=1,
        response_format="b64_json" if customs.says_format else None,
    )
    return encoded(ask)


def _size(wish: PictureWish, sizes: tuple[str, ...]) -> str:
    """Choose the size that is asked for, or of those that there are the one that is meant."""
    if not sizes:
        return f"{wish.width}x{wish.height}"

    def distance(size: str) -> tuple[float, float]:
        width, height = sides_of_size(size)
        ratio = abs(math.log(width / height * wish.height / wish.width))
        return ratio, abs(math.log(width * height / (wish.width * wish.height)))

    found = min(sizes, key=distance)
    ratio, area = distance(found)
    if ratio > RATIO_NEAR or area >= math.log(AREA_NEAR):
        message = (
            f"imageConfig: the server behind this model draws {', '.join(sizes)}, which "
            f"{wish.width}x{wish.height} is not; ask for another ratio or size."
        )
        raise RequestFailed(message, code=Code.UNIMPLEMENTED)
    return found


def sides_of_size(size: str) -> tuple[int, int]:
    """Read a size such as ``1024x1024``.

    Raises:
        ValueError: it is none.
    """
    found = _SIZE.fullmatch(size)
    if found is None:
        raise ValueError(size)
    return int(found[1]), int(found[2])


def read_picture(body: bytes, prompt: Prompt, wish: PictureWish, model: str) -> Reply:
    """Read a picture.

    The text beside it is what the server says that it drew by, or else names what drew.

    Raises:
        RequestFailed: it is no picture.
    """
    try:
        found = _DRAWINGS.decode(body)
        drawn = found.data[0]
        data = base64.b64decode(drawn.b64_json or "", validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError, binascii.Error) as error:
        raise unreadable(len(body)) from error
    mime_type = next((kind for start, kind in _KINDS if data.startswith(start)), None)
    if mime_type is None:
        raise unreadable(len(body))
    said, finish = "", FinishReason.STOP
    if wish.with_text:
        said, finish = held_to(drawn.revised_prompt or f"A picture by {model}.", prompt.sampling)
    candidate = Candidate(said, finish, (Picture(mime_type, data),))
    return Reply((candidate,), _usage(found.usage, prompt, said), model)


def _usage(used: _Used | None, prompt: Prompt, said: str) -> Usage:
    if used is not None:
        drawn = (("IMAGE", used.output_tokens),)
        return Usage(used.input_tokens, used.output_tokens, drawn_tokens=drawn)
    return Usage(prompt_tokens_of(prompt), tokens_of(said))
