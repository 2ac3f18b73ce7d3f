"""Patterns of texts in a grammar: what stands between the quotes of a JSON string."""

from __future__ import annotations

from typing import Final

from nightrate.domain.pattern import Characters, Either, Part, Range, Repeated

_ESCAPED: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
"""Characters that JSON writes otherwise, with short escapes; it has no others here."""

_APART: Final[tuple[Range, ...]] = ((0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C))
"""Characters that do not stand for themselves in a JSON string."""


_BYTE_LAST = 0xFF


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


def _character(part: Characters) -> str:
    plain = [piece for whole in part.ranges for piece in _pieces(whole)]
    choices = [f"[{''.join(map(_range, plain))}]"] if plain else []
    choices += [_quoted(written) for one, written in _ESCAPED.items() if part.has(one)]
    if not choices:
        raise Unspellable
    return choices[0] if len(choices) == 1 else f"({' | '.join(choices)})"


def _pieces(whole: Range) -> list[Range]:
    """Take out of a range what does not stand for itself."""
    pieces = [whole]
    for low, high in _APART:
        pieces = [
            part
            for first, last in pieces
            for part in ((first, min(last, low - 1)), (max(first, high + 1), last))
            if part[0] <= part[1]
        ]
    return list(dict.fromkeys(pieces))


def _range(piece: Range) -> str:
    first, last = piece
    return _point(first) if first == last else f"{_point(first)}-{_point(last)}"


def _point(point: int) -> str:
    """Write a code point in a class; only letters and digits stand as they are."""
    character = chr(point)
    if character.isascii() and character.isalnum():
        return character
    return f"\\x{point:02x}" if point <= _BYTE_LAST else f"\\U{point:08x}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
