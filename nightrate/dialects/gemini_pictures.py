"""What picture Gemini's generation settings ask for."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any, Final

from nightrate.dialects.gemini_options import names_below
from nightrate.dialects.gemini_shapes import GenerationConfig
from nightrate.dialects.refusals import members_of, unserved, wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.picture import AREA_NEAR, RATIO_NEAR, PictureWish, sides_of
from nightrate.errors import Code, RequestFailed

_MODALITIES: Final = ("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", "VIDEO")
_UNSERVED: Final = ("AUDIO", "VIDEO")

_RATIOS: Final = {
    name: (int(name.split(":")[0]), int(name.split(":")[1]))
    for name in (
        *("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"),
        *("1:4", "4:1", "1:8", "8:1"),
    )
}
_EDGES: Final = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
"""The edge of the square, in pixels, by the name of the size."""
_USUAL: Final = "1K"

_DRAWS: Final = re.compile(r"gemini-.*image")
"""Names of models that answer with a text and a picture, unless a request says otherwise."""

_FIELD: Final = "responseModalities"
_OF_SETTINGS: Final = names_below("generationConfig.imageConfig")


def picture_of(config: GenerationConfig | None, model: str) -> PictureWish | None:
    """Find the picture that the answer must have; None when it is text.

    Raises:
        BadRequest: a setting is unknown, or says something of a picture where there is none.
        NotSupported: the answer would be a sound or a film.
    """
    if config is None:
        return _wish(None, with_text=True) if _DRAWS.match(model) else None
    asked = _asked(config.response_modalities or [])
    if "IMAGE" in asked:
        return _wish(config.image_config, with_text="TEXT" in asked)
    if not asked and _DRAWS.match(model):
        return _wish(config.image_config, with_text=True)
    if config.image_config not in (None, {}):
        raise wrong("imageConfig", f'the answer has no picture: ask for one with "{_FIELD}".')
    return None


def _asked(modalities: list[str]) -> set[str]:
    asked = set()
    for index, modality in enumerate(modalities):
        name = modality.upper()
        if name not in _MODALITIES:
            raise wrong(f"{_FIELD}[{index}]", f'"{quoted(modality)}" is not known.')
        if name in _UNSERVED:
            raise unserved(f"{_FIELD}[{index}]", 'Use ["TEXT"] or ["TEXT", "IMAGE"].')
        if name != _MODALITIES[0]:
            asked.add(name)
    return asked


def _wish(settings: Any, *, with_text: bool) -> PictureWish:
    ratio, edge = ("1:1", _USUAL) if settings is None else _named(settings)
    width, height = sides_of(_RATIOS[ratio], _EDGES[edge])
    return PictureWish(width, height, with_text, f"generationConfig.{_FIELD}")


def _named(settings: object) -> tuple[str, str]:
    """Give the names of the ratio and of the size that settings ask for."""
    members = members_of(settings, "imageConfig", _OF_SETTINGS)
    return _one_of(members, "aspectRatio", _RATIOS, "1:1"), _one_of(
        members, "imageSize", _EDGES, _USUAL
    )


def _one_of(members: dict[str, Any], name: str, known: Collection[str], usual: str) -> str:
    value = members.get(name, "")
    if value == "":
        return usual
    if not isinstance(value, str) or value.upper() not in known:
        names = ", ".join(known)
        raise wrong(f"imageConfig.{name}", f'"{quoted(str(value))}" is none of {names}.')
    return value.upper()


def settings_of(wish: PictureWish) -> dict[str, str]:
    """Say a wish in the protocol's words: the nearest ratio, and of its sizes the nearest one.

    The size that is usual stays unsaid: most models that draw know no other.

    Raises:
        RequestFailed: no size that the protocol has is near.
    """

    def distance(names: tuple[str, str]) -> tuple[float, float]:
        width, height = sides_of(_RATIOS[names[0]], _EDGES[names[1]])
        ratio = abs(math.log(width / height * wish.height / wish.width))
        return ratio, abs(math.log(width * height / (wish.width * wish.height)))

    # The ratio of a size is rounded, differently for each size: what is exactly meant comes first.
    every = [(ratio, size) for ratio in _RATIOS for size in _EDGES]
    found = min(every, key=lambda names: sum(distance(names)))
    ratio, area = distance(found)
    if ratio > RATIO_NEAR or area >= math.log(AREA_NEAR):
        message = (
            f"imageConfig: the server behind this model draws nothing like "
            f"{wish.width}x{wish.height}; ask for another ratio or size."
        )
        raise RequestFailed(message, code=Code.UNIMPLEMENTED)
    return {"aspectRatio": found[0]} | ({} if found[1] == _USUAL else {"imageSize": found[1]})
