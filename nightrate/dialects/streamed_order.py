"""Streamed JSON in the order of its schema: what of it may be seen before all of it is there.

A server may pass the order of members over. Text goes on as long as every member is the next one of
the schema; the first that is not, because it comes early or another was left out, is held back with
all that follows until the whole answer can be put in order. What went on is the beginning of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, json

from nightrate.dialects.other_servers import in_order
from nightrate.domain.fitting import alternatives_of
from nightrate.domain.generation import Prompt, Reply
from nightrate.domain.schema import AnyValue, Array, JSONForm, Node, Object, Schema

_INSIDE: Final = re.compile(r'["\\]|[^"\\]+')
"""Of a string: what ends it or begins an escape, and all else."""
_OUTSIDE: Final = re.compile(r'["{}\[\],:]|[^"{}\[\],:]+')


class TextsInOrder:
    """Holds texts of one answer back where they are not in order.

    Args:
        prompt: what was asked; one without a schema, or whose tokens are told one by one, is
            answered in the order of the server.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._walk: _Walk | None = None
        if isinstance(prompt.form, JSONForm) and prompt.logprobs is None:
            self._walk = _Walk(prompt.form.schema)
        self._told: list[str] = []

    def feed(self, text: str) -> str:
        """Give what may be seen after the next piece, which has no white space between values."""
        if self._walk is None:
            return text
        sure = self._walk.feed(text)
        self._told.append(sure)
        return sure

    def end(self, reply: Reply) -> tuple[Reply, str]:
        """Give the answer in order, and what of its text was not seen yet.

        Args:
            reply: the whole answer, of the pieces that were fed, in the order of the server. It
                stays there if its beginning was seen otherwise: its members have one name twice.
        """
        if self._walk is None:
            return reply, ""
        told, arranged = "".join(self._told), in_order(reply, self._prompt)
        if not arranged.candidates[0].text.startswith(told):
            arranged = reply
        return arranged, arranged.candidates[0].text[len(told) :]


class _Unsure(Exception):
    """From here on nothing can be told before the end."""


class _Level(Struct):
    """An open object or array: its form, if it matters, and how many members have begun."""

    node: Object | Array | None
    is_object: bool
    names: frozenset[str] = frozenset()
    """That its form lists."""
    begun: int = 0


class _Walk:
    """Goes through a text with its schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._next: Node | None = schema.root
        """The form of the value that comes next; None for any."""
        self._levels: list[_Level] = []
        self._openings: dict[tuple[int, bool], tuple[frozenset[str], Object | Array | None]] = {}
        """What was found out about parts of the schema, by their identity and the kind of value."""
        self._inside = self._escaped = False
        self._name: list[str] | None = None
        """The pieces of the name of a member, until it ends."""
        self._names = True
        """Whether a string at this place of an object is the name of a member."""
        self._held = False

    def feed(self, text: str) -> str:
        sure: list[str] = []
        place = 0
        try:
            while place < len(text) and not self._held:
                found = (_INSIDE if self._inside else _OUTSIDE).match(text, place)
                assert found is not None, "every character is in one of the pieces"
                place = found.end()
                sure += self._take(found[0])
        except _Unsure:
            self._held = True
        return "".join(sure)

    def _take(self, piece: str) -> Iterator[str]:
        """Go on by a piece, and give what may be seen."""
        if self._inside:
            self._string(piece)
        elif piece == '"':
            self._inside = True
            if self._levels and self._levels[-1].is_object and self._names:
                self._name = []
        else:
            self._mark(piece)
        if self._name is None:
            yield piece
            return
        self._name.append(piece)
        if not self._inside:
            name, self._name = "".join(self._name), None
            self._member(self._levels[-1], name)
            yield name

    def _string(self, piece: str) -> None:
        if self._escaped:
            self._escaped = False
        elif piece == '"':
            self._inside = False
        else:
            self._escaped = piece == "\\"

    def _mark(self, piece: str) -> None:
        if piece in "{[":
            self._levels.append(self._opened(is_object=piece == "{"))
            self._names = True
        elif piece in "}]" and self._levels:
            self._levels.pop()
        elif piece == ":":
            self._names = False
        elif piece == ",":
            self._names = True
        if piece in "[,":
            self._item()

    def _opened(self, *, is_object: bool) -> _Level:
        """Find the form of what opens here.

        Raises:
            _Unsure: it may have several.
        """
        if self._next is None:
            return _Level(None, is_object)
        pair = id(self._next), is_object
        if pair not in self._openings:
            self._openings[pair] = self._opening(self._next, Object if is_object else Array)
        names, node = self._openings[pair]
        return _Level(node, is_object, names)

    def _opening(
        self, node: Node, kind: type[Object | Array]
    ) -> tuple[frozenset[str], Object | Array | None]:
        """Find what a value of a kind has to follow, and the names that this lists."""
        parts = alternatives_of(node, self._schema)
        fitting = (part for part in parts if isinstance(part, kind | AnyValue))
        found = next(fitting, None)
        if next(fitting, None) is not None:
            raise _Unsure
        if isinstance(found, Object):
            return frozenset(member.name for member in found.members), found
        return frozenset(), found if isinstance(found, Array) else None

    def _item(self) -> None:
        """Begin with an item, where the level is an array."""
        level = self._levels[-1] if self._levels else None
        if level is None or level.is_object:
            return
        self._next = None
        if isinstance(level.node, Array):
            self._next = level.node.form_at(level.begun)
        level.begun += 1

    def _member(self, level: _Level, written: str) -> None:
        """Begin with a member.

        Raises:
            _Unsure: it is not the next one, or its name would be written otherwise.
        """
        self._next = None
        if not isinstance(level.node, Object):
            return
        try:
            name = json.decode(written, type=str)
        except ValueError as error:
            raise _Unsure from error
        members = level.node.members
        expected = [member.name for member in members[level.begun : level.begun + 1]]
        if expected != [name] and (expected or name in level.names):
            raise _Unsure
        if json.encode(name).decode() != written:
            raise _Unsure
        self._next = members[level.begun].node if expected else level.node.others
        level.begun += 1
