"""What the texts of a pattern are: a regular expression, free of how it was written."""

from __future__ import annotations

from msgspec import Struct

Range = tuple[int, int]
"""The first and the last code point of some that follow each other."""


_LAST = 0x10FFFF
_SURROGATE_FIRST = 0xD800
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

    def plainest(self) -> str:
        """Give one of its shortest texts."""
        return _plainest(self.root)


def counted(part: Part) -> int:
    """Count the characters that repetitions with a bound spell out."""
    if isinstance(part, Repeated):
        _, longest = _lengths(part.part)
        times = part.least if part.most is None else part.most
        inner = counted(part.part) + (1 if longest is None else longest)
        return inner * times if times > 1 else counted(part.part)
    if isinstance(part, Sequence | Either):
        return sum(map(counted, part.parts))
    return 0


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
    if ranges[-1][1] < _LAST:
        return f"[{''.join(map(_range, ranges))}]"
    starts = (0, *(last + 1 for _, last in ranges[:-1]))
    gaps = [
        (start, first - 1)
        for start, (first, _) in zip(starts, ranges, strict=True)
        if start < first and start != _SURROGATE_FIRST
    ]
    return f"[^{''.join(map(_range, gaps))}]" if gaps else r"[\s\S]"


def _range(whole: Range) -> str:
    first, last = whole
    return _point(first) if first == last else f"{_point(first)}-{_point(last)}"


def _point(point: int) -> str:
    character = chr(point)
    if point > _BASIC_LAST or (character.isascii() and character.isalnum()):
        return character
    return f"\\x{point:02x}" if point <= _BYTE_LAST else f"\\u{point:04x}"


def _plainest(part: Part) -> str:
    if isinstance(part, Characters):
        return chr(part.ranges[0][0])
    if isinstance(part, Repeated):
        return _plainest(part.part) * part.least
    if isinstance(part, Either):
        return min(map(_plainest, part.parts), key=len)
    return "".join(map(_plainest, part.parts))
