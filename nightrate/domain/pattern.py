"""What the texts of a pattern are: a regular expression, free of how it was written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from msgspec import Struct

Range = tuple[int, int]
"""The first and the last code point of some that follow each other."""

ALL: Range = (0, 0x10FFFF)
SURROGATES: Range = (0xD800, 0xDFFF)
"""Code points that are no characters."""

_PLAIN = "aA0 "
"""Characters that a made-up text has, if it may."""

_BASIC_LAST = 0xFFFF
_BYTE_LAST = 0xFF


class Characters(Struct, frozen=True, gc=False, tag="characters"):
    """One character of some; the ranges are sorted and apart."""

    ranges: tuple[Range, ...]

    def has(self, character: str) -> bool:
        """Tell whether it may be this one."""
        point = ord(character)
        return any(first <= point <= last for first, last in self.ranges)


class Sequence(Struct, frozen=True, gc=False, tag="sequence"):
    """One part after the other; without any, the empty text."""

    parts: tuple[Part, ...]


class Either(Struct, frozen=True, gc=False, tag="either"):
    """Any of several parts."""

    parts: tuple[Part, ...]


class Repeated(Struct, frozen=True, gc=False, tag="repeated"):
    """A part so many times; None for any number."""

    part: Part
    least: int
    most: int | None

    @property
    def times(self) -> int:
        """How often it is written where counts are spelled out."""
        return self.least if self.most is None else self.most


Part = Characters | Sequence | Either | Repeated


class Pattern(Struct, frozen=True, gc=False):
    """The whole of a text."""

    root: Part

    def matches(self, text: str) -> bool:
        """Tell whether a text is one of the pattern, in time that grows with both, no faster."""
        return len(text) in _ends(self.root, text, {0})

    def lengths(self) -> tuple[int, int | None]:
        """Give how short and how long its texts are; None where there is no longest."""
        return _lengths(self.root)

    def regex(self) -> str:
        """Write it as a regular expression, for whoever reads these: the same in all dialects."""
        return f"^{_regex(self.root)}$"

    def plainest(self, least: int = 0) -> str:
        """Give one of its shortest texts; one of so many characters at least, if that is found."""
        return _plainest(self.root, least)

    def within(self, least: int, most: int | None) -> Pattern:
        """Leave out texts that are shorter or longer, as far as its counts can say so."""
        return Pattern(_within(self.root, least, math.inf if most is None else most))

    def uncounted(self) -> Pattern:
        """Give a pattern without counts above one, which has all texts of this one, and more."""
        return Pattern(_uncounted(self.root))


def without(ranges: Iterable[Range], cut: Iterable[Range]) -> tuple[Range, ...]:
    """Take some ranges out of others, which stay in their order."""
    left = list(ranges)
    for low, high in cut:
        left = [
            piece
            for first, last in left
            for piece in ((first, min(last, low - 1)), (max(first, high + 1), last))
            if piece[0] <= piece[1]
        ]
    return tuple(left)


def written(ranges: Iterable[Range], point: Callable[[int], str]) -> str:
    """Write ranges one after the other, as they stand in a class; ``point`` writes a code point."""
    return "".join(
        point(first) if first == last else f"{point(first)}-{point(last)}" for first, last in ranges
    )


def counted(part: Part) -> int:
    """Count the characters that repetitions with a bound spell out: each one each time."""
    if isinstance(part, Repeated):
        return _size(part) if part.times > 1 else counted(part.part)
    return sum(map(counted, part.parts)) if isinstance(part, Sequence | Either) else 0


def _size(part: Part) -> int:
    if isinstance(part, Characters):
        return 1
    if isinstance(part, Repeated):
        return _size(part.part) * max(1, part.times)
    return sum(map(_size, part.parts))


def _ends(part: Part, text: str, starts: set[int]) -> set[int]:
    """Give where a part may end that begins at one of some places."""
    if isinstance(part, Characters):
        return {start + 1 for start in starts if start < len(text) and part.has(text[start])}
    if isinstance(part, Either):
        return set().union(*(_ends(one, text, starts) for one in part.parts))
    if isinstance(part, Sequence):
        for one in part.parts:
            starts = _ends(one, text, starts)
        return starts
    for _ in range(part.least):
        starts = _ends(part.part, text, starts)
        if not starts:
            return starts
    found, times = set(starts), part.least
    while starts and (part.most is None or times < part.most):
        # What is reached again leads nowhere new.
        starts = _ends(part.part, text, starts) - found
        found |= starts
        times += 1
    return found


def _lengths(part: Part) -> tuple[int, int | None]:
    if isinstance(part, Characters):
        return 1, 1
    if isinstance(part, Repeated):
        least, most = _lengths(part.part)
        if most == 0 or part.most == 0:
            return 0, 0
        longest = None if most is None or part.most is None else most * part.most
        return least * part.least, longest
    lengths = [_lengths(one) for one in part.parts]
    longests = [most for _, most in lengths if most is not None]
    if isinstance(part, Either):
        shortest = min(least for least, _ in lengths)
        return shortest, max(longests) if len(longests) == len(lengths) else None
    shortest = sum(least for least, _ in lengths)
    return shortest, sum(longests) if len(longests) == len(lengths) else None


def _regex(part: Part) -> str:
    if isinstance(part, Characters):
        return _one_of(part)
    if isinstance(part, Either):
        return f"(?:{'|'.join(map(_regex, part.parts))})"
    if isinstance(part, Sequence):
        return "".join(map(_regex, part.parts))
    inner = _regex(part.part)
    if not isinstance(part.part, Characters | Either):
        inner = f"(?:{inner})"
    if part.least == part.most:
        return f"{inner}{{{part.least}}}"
    return f"{inner}{{{part.least},{'' if part.most is None else part.most}}}"


def _one_of(characters: Characters) -> str:
    ranges = characters.ranges
    if ranges[-1][1] < ALL[1]:
        return f"[{written(ranges, _point)}]"
    gaps = without([ALL], [*ranges, SURROGATES])
    return f"[^{written(gaps, _point)}]" if gaps else r"[\s\S]"


def _point(point: int) -> str:
    character = chr(point)
    if point > _BASIC_LAST or (character.isascii() and character.isalnum()):
        return character
    return f"\\x{point:02x}" if point <= _BYTE_LAST else f"\\u{point:04x}"


def _plainest(part: Part, least: int) -> str:
    if isinstance(part, Characters):
        return next(filter(part.has, _PLAIN), chr(part.ranges[-1][0]))
    if isinstance(part, Repeated):
        unit = _plainest(part.part, 0) or _plainest(part.part, 1)
        times = max(part.least, -(-least // max(1, len(unit))))
        if part.most is not None and times > part.most:
            unit = _plainest(part.part, -(-least // max(1, part.most)))
            times = part.most
        return unit * times
    if isinstance(part, Either):
        texts = [_plainest(one, least) for one in part.parts]
        return min(texts, key=lambda text: (max(0, least - len(text)), len(text)))
    texts = [_plainest(one, 0) for one in part.parts]
    for place, one in enumerate(part.parts):
        missing = least - sum(map(len, texts))
        if missing > 0:
            texts[place] = _plainest(one, len(texts[place]) + missing)
    return "".join(texts)


def _within(part: Part, least: float, most: float) -> Part:
    """Move bounds into the counts of a part; what no count can say is left as it is."""
    if isinstance(part, Characters):
        return part
    if isinstance(part, Repeated):
        return _repeated_within(part, least, most)
    if isinstance(part, Either):
        kept = [
            _within(one, least, most)
            for one in part.parts
            if _lengths(one)[0] <= most and _longest(one) >= least
        ]
        return kept[0] if len(kept) == 1 else Either(tuple(kept)) if kept else part
    bounds = [(_lengths(one)[0], _longest(one)) for one in part.parts]
    parts: list[Part] = []
    for place, one in enumerate(part.parts):
        others = bounds[:place] + bounds[place + 1 :]
        shortest, longest = sum(low for low, _ in others), sum(high for _, high in others)
        parts.append(_within(one, least - longest, most - shortest))
    return Sequence(tuple(parts))


def _repeated_within(part: Repeated, least: float, most: float) -> Part:
    inner_least, inner_most = _lengths(part.part)[0], _longest(part.part)
    fewest, times = part.least, math.inf if part.most is None else part.most
    if 0 < inner_most < math.inf and least > 0:
        fewest = max(fewest, math.ceil(least / inner_most))
    if inner_least and most < math.inf:
        times = min(times, most // inner_least)
    if fewest > times:
        return part
    return Repeated(part.part, fewest, None if times == math.inf else int(times))


def _longest(part: Part) -> float:
    longest = _lengths(part)[1]
    return math.inf if longest is None else longest


def _uncounted(part: Part) -> Part:
    if isinstance(part, Characters):
        return part
    if isinstance(part, Repeated):
        once = part.most is not None and part.most <= 1
        return Repeated(_uncounted(part.part), min(part.least, 1), part.most if once else None)
    return type(part)(tuple(map(_uncounted, part.parts)))
