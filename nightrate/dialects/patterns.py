"""Patterns of texts as clients write them: what is regular in regular expressions of ECMA-262.

A pattern is read as one of the whole text, with or without ``^`` and ``$``: that is narrower than
the standard's reading, by which it may stand anywhere, so what fits this one fits both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NoReturn

from nightrate import limits
from nightrate.domain.pattern import (
    ALL,
    SURROGATES,
    Characters,
    Either,
    Part,
    Pattern,
    Range,
    Repeated,
    Sequence,
    counted,
    without,
)

_DIGITS: Final[tuple[Range, ...]] = ((0x30, 0x39),)
_WORD: Final[tuple[Range, ...]] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACES: Final[tuple[Range, ...]] = (
    *((0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
    *((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
_LINE_ENDS: Final[tuple[Range, ...]] = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
_CLASSES: Final = {"d": _DIGITS, "w": _WORD, "s": _SPACES}
_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_CODES: Final = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")
_COUNT: Final = re.compile(r"\{([0-9]{1,6})(,([0-9]{1,6})?)?\}")
_GROUP: Final = re.compile(r"\(\?(?::|P?<([A-Za-z_]\w*)>)", re.ASCII)
_MEANING: Final = "\\^$.|?*+()[]{}"


class Unreadable(Exception):
    """Why a text is no pattern that is served."""


def read_pattern(source: str) -> Pattern:
    """Read a pattern.

    Raises:
        Unreadable: it is none, or has what is not regular or not served.
    """
    if len(source) > limits.PATTERN_CHARACTERS_MAX:
        raise Unreadable(f"it has more than {limits.PATTERN_CHARACTERS_MAX} characters.")
    root = _Reader(source).read()
    if counted(root) > limits.PATTERN_COUNT_MAX:
        raise Unreadable(f"it counts more than {limits.PATTERN_COUNT_MAX:,} characters.")
    return Pattern(root)


class _Reader:
    """Reads one pattern from its beginning to its end."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._depth = 0

    def read(self) -> Part:
        part = self._either(outermost=True)
        if self._at < len(self._source):
            self._fail("it closes a group that was not opened")
        return part

    def _fail(self, why: str) -> NoReturn:
        raise Unreadable(f"{why} (character {self._at + 1}).")

    def _next(self, *texts: str) -> bool:
        """Take one of some texts, if it comes next."""
        for text in texts:
            if self._source.startswith(text, self._at):
                self._at += len(text)
                return True
        return False

    def _either(self, *, outermost: bool = False) -> Part:
        parts = [self._sequence(outermost=outermost)]
        while self._next("|"):
            parts.append(self._sequence(outermost=outermost))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _sequence(self, *, outermost: bool) -> Part:
        parts: list[Part] = []
        if outermost:
            self._next("^")
        while self._at < len(self._source) and self._source[self._at] not in "|)":
            if self._next("$"):
                if not outermost or self._source[self._at : self._at + 1] not in ("", "|"):
                    self._fail("it has `$` in its middle")
                break
            parts.append(self._repeated(self._atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, part: Part) -> Part:
        if self._next("*"):
            least, most = 0, None
        elif self._next("+"):
            least, most = 1, None
        elif self._next("?"):
            least, most = 0, 1
        elif found := _COUNT.match(self._source, self._at):
            self._at = found.end()
            least = int(found[1])
            most = least if found[2] is None else int(found[3]) if found[3] else None
            if most is not None and least > most:
                self._fail("it repeats at least more often than at most")
        else:
            return part
        self._next("?")  # Which of several ways is tried first does not matter here.
        if self._source[self._at : self._at + 1] in ("*", "+", "?", "{") and self._at < len(
            self._source
        ):
            self._fail("it repeats a repetition")
        repeated = Repeated(part, least, most)
        # Repeating what is empty never ends for some who read a grammar.
        return Sequence(()) if Pattern(repeated).lengths() == (0, 0) else repeated

    def _atom(self) -> Part:
        if self._source.startswith("(", self._at):
            return self._group()
        if self._next("["):
            return self._some(self._class())
        if self._next("."):
            return self._some(without([ALL], _LINE_ENDS))
        if self._next("\\"):
            found = self._escaped()
            return self._some(found if isinstance(found, tuple) else ((ord(found), ord(found)),))
        character = self._source[self._at]
        if character in _MEANING:
            self._fail(f"it has `{character}` where a character belongs; put `\\` before it")
        self._at += 1
        return Characters(((ord(character), ord(character)),))

    def _group(self) -> Part:
        if found := _GROUP.match(self._source, self._at):
            self._at = found.end()
        elif self._source.startswith("(?", self._at):
            self._fail("it looks ahead or behind, or sets flags, which is not served")
        else:
            self._at += 1
        self._depth += 1
        if self._depth > limits.SCHEMA_DEPTH_MAX:
            self._fail(f"its groups are nested more than {limits.SCHEMA_DEPTH_MAX} deep")
        part = self._either()
        self._depth -= 1
        if not self._next(")"):
            self._fail("it does not close a group")
        return part

    def _some(self, ranges: Iterable[Range]) -> Characters:
        found = _merged(ranges)
        if not found:
            self._fail("it wants a character of none")
        return Characters(found)

    def _class(self) -> tuple[Range, ...]:
        negated = self._next("^")
        ranges: list[Range] = []
        while not self._next("]"):
            first = self._of_class()
            if isinstance(first, tuple):
                ranges += first
                continue
            last = first
            if self._source.startswith("-", self._at) and not self._source.startswith(
                "-]", self._at
            ):
                self._at += 1
                found = self._of_class()
                if isinstance(found, tuple) or found < first:
                    self._fail("it has a range that ends before it begins")
                last = found
            ranges.append((ord(first), ord(last)))
        return without([ALL], ranges) if negated else tuple(ranges)

    def _of_class(self) -> str | tuple[Range, ...]:
        if self._next("\\"):
            return self._escaped()
        if self._at >= len(self._source):
            self._fail("it does not close `[`")
        if self._source.startswith("[", self._at):
            self._fail("it has `[` in a class; put `\\` before it")
        self._at += 1
        return self._source[self._at - 1]

    def _escaped(self) -> str | tuple[Range, ...]:
        """Read what stands after a backslash: a character, or a class of some."""
        if found := _CODES.match(self._source, self._at):
            point = int(found[found.lastindex or 0], 16)
            if point > ALL[1] or SURROGATES[0] <= point <= SURROGATES[1]:
                self._fail("it names a character that there is not")
            self._at = found.end()
            return chr(point)
        letter = self._source[self._at : self._at + 1]
        if letter.lower() in _CLASSES:
            self._at += 1
            ranges = _CLASSES[letter.lower()]
            return without([ALL], ranges) if letter.isupper() else ranges
        if letter in _CONTROLS:
            self._at += 1
            return _CONTROLS[letter]
        if not letter or letter.isalnum():
            self._fail(f"it has `\\{letter}`, which is not served")
        self._at += 1
        return letter


def _merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Sort ranges and join those that meet; without what is no character."""
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return without(merged, [SURROGATES])
