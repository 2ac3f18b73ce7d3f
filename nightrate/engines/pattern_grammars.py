"""Patterns of texts in a grammar: what stands between the quotes of a JSON string."""

from __future__ import annotations

from typing import Final, NamedTuple

from nightrate import limits
from nightrate.domain.pattern import Characters, Either, Part, Range, Repeated, without, written

_SPELLED: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "^": "^",
}
"""Characters that JSON writes otherwise, with short escapes; it has no others here.

And one that xgrammar takes for a negation where it stands first in a class, however it is escaped.
"""

_APART: Final[tuple[Range, ...]] = ((0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x5E, 0x5E))
"""Characters that do not stand for themselves in a class."""


_WIDE: Final = 256
"""Characters of a class from which on it lets many tokens of a model in."""


class Unspellable(Exception):
    """A pattern needs a control character that has no short escape."""


def grammar_of_pattern(part: Part) -> str:
    """Write an expression that can stand among others.

    Raises:
        Unspellable: see there.
    """
    if isinstance(part, Characters):
        return _character(part)
    if isinstance(part, Either):
        return f"({' | '.join(map(grammar_of_pattern, part.parts))})"
    if isinstance(part, Repeated):
        inner = f"({grammar_of_pattern(part.part)})"
        if part.most is None:
            return f"{inner}*" if not part.least else f"{inner}{{{part.least},}}"
        return f"{inner}{{{part.least},{part.most}}}" if part.most else '""'
    return " ".join(map(grammar_of_pattern, part.parts)) or '""'


class Effort(NamedTuple):
    """What a pattern makes of work for the library that compiles it, by what takes long."""

    characters: int
    """That are counted, or are of a wide class."""
    loops: int
    """Repetitions without an end, each place of one."""


def effort_of(part: Part, times: int = 1) -> Effort:
    """Reckon the effort of a part that stands in so many places."""
    if isinstance(part, Characters):
        wide = sum(last - first + 1 for first, last in part.ranges) >= _WIDE
        return Effort(times if wide or times > 1 else 0, 0)
    if isinstance(part, Repeated):
        inner = effort_of(part.part, times * max(1, part.times))
        if part.most is not None:
            return inner
        # A wide class in two of them at once makes every token of the answer slow, not the first.
        unbearable = inner.loops > 0 and inner.characters > 0
        loops = limits.GRAMMAR_LOOPS_MAX + 1 if unbearable else inner.loops + times
        return Effort(inner.characters, loops)
    efforts = [effort_of(one, times) for one in part.parts]
    return Effort(sum(one.characters for one in efforts), sum(one.loops for one in efforts))


def _character(part: Characters) -> str:
    plain = without(part.ranges, _APART)
    choices = [f"[{written(plain, _point)}]"] if plain else []
    choices += [_quoted(escape) for one, escape in _SPELLED.items() if part.has(one)]
    if not choices:
        raise Unspellable
    return choices[0] if len(choices) == 1 else f"({' | '.join(choices)})"


def _point(point: int) -> str:
    r"""Write a code point in a class; only letters and digits stand as they are.

    With all eight digits: xgrammar takes any that follow ``\x`` for more of the same number.
    """
    character = chr(point)
    return character if character.isascii() and character.isalnum() else f"\\U{point:08x}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
