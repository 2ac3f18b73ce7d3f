"""Plain values in a JSON Schema: texts, numbers, and the counts that bound them and others."""

from __future__ import annotations

import math
from typing import Any, Final

from nightrate.dialects.patterns import Unreadable, read_pattern
from nightrate.dialects.refusals import unserved, wrong
from nightrate.dialects.spelling import joined
from nightrate.domain.pattern import Pattern
from nightrate.domain.schema import Number, String, StringFormat

REMEDY: Final = "Leave it out, and say in a description what you want."
"""What to do about a keyword that is not served."""

FORMATS: Final = frozenset(item.value for item in StringFormat)
_LENGTHS: Final[dict[StringFormat, tuple[int, int | None]]] = {
    StringFormat.DATE: (10, 10),
    StringFormat.TIME: (9, None),
    StringFormat.DATE_TIME: (20, None),
    StringFormat.UUID: (36, 36),
    StringFormat.IPV4: (7, 15),
    StringFormat.EMAIL: (6, None),
    StringFormat.URI: (11, None),
}
"""How short and how long their texts are: as `Pattern.lengths`."""

_PLAIN_FORMATS: Final = frozenset({"enum", "float", "double", "int64"})
"""Formats that every value of their type has."""

_INT32: Final = (-(2**31), 2**31 - 1)


def read_string(keywords: dict[str, Any], at: str, description: str) -> String:
    """Read what a schema says of a text.

    Raises:
        BadRequest, NotSupported: as `read_schema`.
    """
    least, most = read_range(keywords, ("minLength", "maxLength"), at)
    name = read_text(keywords, "format", at)
    if "pattern" in keywords:
        if name and name not in _PLAIN_FORMATS:
            raise unserved(joined(at, "pattern"), "It stands beside a format, which is one.")
        pattern = _pattern(keywords, at).within(least, most)
        least, most = _left(pattern.lengths(), (least, most), at, "pattern")
        return String(
            pattern=pattern, characters_min=least, characters_max=most, description=description
        )
    if not name or name in _PLAIN_FORMATS:
        return String(characters_min=least, characters_max=most, description=description)
    if name not in FORMATS:
        raise unserved(joined(at, "format"), REMEDY)
    form = StringFormat(name)
    least, most = _left(_LENGTHS[form], (least, most), at, "format")
    return String(format=form, characters_min=least, characters_max=most, description=description)


def _pattern(keywords: dict[str, Any], at: str) -> Pattern:
    try:
        return read_pattern(read_text(keywords, "pattern", at))
    except Unreadable as error:
        raise unserved(joined(at, "pattern"), f"As a pattern, {error}") from error


def _left(
    lengths: tuple[int, int | None], bounds: tuple[int, int | None], at: str, beside: str
) -> tuple[int, int | None]:
    """Leave of two bounds what the texts of a pattern or format do not keep by themselves."""
    (shortest, longest), (least, most) = lengths, bounds
    if most is not None and shortest > most:
        raise wrong(joined(at, "maxLength"), f"no text of the {beside} beside it is as short.")
    if longest is not None and longest < least:
        raise wrong(joined(at, "minLength"), f"no text of the {beside} beside it is as long.")
    kept = most is None or (longest is not None and longest <= most)
    return 0 if shortest >= least else least, None if kept else most


def read_number(keywords: dict[str, Any], at: str, description: str, *, whole: bool) -> Number:
    """Read what a schema says of a number; raises as `read_string`."""
    bounds: dict[str, int | float | None] = {}
    for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        value = keywords.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value)):
            raise wrong(joined(at, name), "it is not a number.")
        bounds[name] = value
    form = read_text(keywords, "format", at)
    if form and form != "int32" and form not in _PLAIN_FORMATS:
        raise unserved(joined(at, "format"), REMEDY)
    if form == "int32" and whole:
        low, high = _INT32
        bounds["minimum"] = max(low, low if bounds["minimum"] is None else bounds["minimum"])
        bounds["maximum"] = min(high, high if bounds["maximum"] is None else bounds["maximum"])
    node = Number(
        whole=whole,
        at_least=bounds["minimum"],
        at_most=bounds["maximum"],
        above=bounds["exclusiveMinimum"],
        below=bounds["exclusiveMaximum"],
        multiple_of=_step(keywords, at),
        description=description,
    )
    if _empty(node):
        raise wrong(at, "no number lies between its bounds.")
    return node


def _step(keywords: dict[str, Any], at: str) -> int | float | None:
    step = keywords.get("multipleOf")
    if step is None:
        return None
    if isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step < math.inf:
        raise wrong(joined(at, "multipleOf"), "it is not a number above 0.")
    return step


def _empty(node: Number) -> bool:
    """Tell whether no number keeps the bounds."""
    lows = [(value, False) for value in (node.at_least,) if value is not None]
    lows += [(value, True) for value in (node.above,) if value is not None]
    highs = [(value, False) for value in (node.at_most,) if value is not None]
    highs += [(value, True) for value in (node.below,) if value is not None]
    if node.whole:
        low = max((math.floor(v) + 1 if open_ else math.ceil(v) for v, open_ in lows), default=None)
        high = min(
            (math.ceil(v) - 1 if open_ else math.floor(v) for v, open_ in highs), default=None
        )
        return low is not None and high is not None and low > high
    return any(
        low > high or (low == high and (low_open or high_open))
        for low, low_open in lows
        for high, high_open in highs
    )


def read_range(keywords: dict[str, Any], names: tuple[str, str], at: str) -> tuple[int, int | None]:
    """Read two counts: the least, and the most if there is one."""
    counts: list[int | None] = []
    for name in names:
        value = keywords.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is not None and (type(value) is not int or value < 0):
            raise wrong(joined(at, name), "it is not a whole number from 0 on.")
        counts.append(value)
    least, most = counts[0] or 0, counts[1]
    if most is not None and least > most:
        raise wrong(joined(at, names[0]), f"it is more than {names[1]}.")
    return least, most


def read_text(keywords: dict[str, Any], name: str, at: str) -> str:
    """Read a keyword that is a text; an empty one if it is not there."""
    value = keywords.get(name, "")
    if not isinstance(value, str):
        raise wrong(joined(at, name), "it is not a text.")
    return value
