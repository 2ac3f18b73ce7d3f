"""Every option of Gemini's requests and what becomes of it, all rows of the table together.

The table is the truth: a name without a row is unknown to the readers, what it refuses is refused
by the gates below, what an engine must be able to do for an option is asked of the engine, and the
pages about options and schemas are printed from it.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from msgspec import Struct, structs

from nightrate.dialects.gemini_option import Treatment
from nightrate.dialects.gemini_options_of_answers import ANSWERS, CONFIG, WHOLE
from nightrate.dialects.gemini_options_of_schemas import SCHEMAS
from nightrate.dialects.gemini_options_of_tools import TOOLS
from nightrate.dialects.gemini_options_of_turns import TURNS
from nightrate.dialects.gemini_options_of_vectors import VECTORS
from nightrate.dialects.gemini_shapes import GenerationConfig
from nightrate.dialects.refusals import unserved
from nightrate.dialects.spelling import camel
from nightrate.errors import NotSupported

OPTIONS: Final = (*TURNS, *WHOLE, *TOOLS, *ANSWERS, *SCHEMAS)
"""Of `generateContent`, live and in batches."""

EMBEDDING_OPTIONS: Final = VECTORS
"""Of `embedContent`, live and in batches."""

REMEDIES: Final = {
    option.path: option.says
    for option in (*OPTIONS, *EMBEDDING_OPTIONS)
    if option.treatment is Treatment.REFUSED
}
"""By path: what to do instead of an option that is refused."""


def names_below(path: str) -> tuple[str, ...]:
    """Give the members that an object at a path may have: those right below it with a row."""
    prefix = f"{path}."
    below = (
        option.path.removeprefix(prefix) for option in OPTIONS if option.path.startswith(prefix)
    )
    return tuple(name for name in below if "." not in name and "[" not in name)


def refusal_of(path: str, field: str) -> NotSupported:
    """Make the refusal of an option of the table, which stands in a request at a field."""
    return unserved(field, REMEDIES[path])


def refused_in(kind: type[Struct], path: str) -> dict[str, str]:
    """Give what is refused of a shape at a path: by member, its name on the wire."""
    return {
        member.name: member.encode_name
        for member in structs.fields(kind)
        if f"{path}.{member.encode_name}" in REMEDIES
    }


class _Gate:
    """Lets a value pass that asks for nothing unserved, in one comparison.

    A member that is false or empty asks for nothing.
    """

    def __init__(self, kind: type[Struct], path: str) -> None:
        self._path = path
        self._names = refused_in(kind, path)
        assert len(self._names) > 1, "a getter of one member gives that alone"
        self._members = attrgetter(*self._names)
        self._nothing = (None,) * len(self._names)

    def check(self, value: Struct) -> None:
        """Refuse a value that asks for something in the table, by its innermost path there."""
        if self._members(value) != self._nothing:
            for name, wire_name in self._names.items():
                if found := getattr(value, name):
                    path = _innermost(f"{self._path}.{wire_name}", found)
                    raise refusal_of(path, path.removeprefix(f"{self._path}."))


def _innermost(path: str, value: Any) -> str:
    """Follow a refused value down to the last row that it uses."""
    if isinstance(value, dict):
        for name, inner in value.items():
            below = f"{path}.{camel(name)}"
            if inner and below in REMEDIES:
                return _innermost(below, inner)
    return path


CONFIG_GATE = _Gate(GenerationConfig, CONFIG)
