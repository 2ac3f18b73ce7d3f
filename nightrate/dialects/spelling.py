"""Values in either spelling, read into shapes, with faults located as the client wrote them.

Clients write ``topP`` or ``top_p``, mixed at will. A `Shape` knows every member of a msgspec Struct
at any depth, gives each its camelCase name and leaves free-form values alone: whatever the Struct
types as a map keeps its keys, and whatever it types as anything is not looked into.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Generic, TypeVar, get_origin

import msgspec
from msgspec import Struct, inspect

from nightrate import limits
from nightrate.errors import BadRequest

Read = TypeVar("Read")

Remedies = Mapping[type, Mapping[str, str]]
"""What to do instead: by shape and by the camelCase form of an unknown name."""

_HUMP = re.compile(r"(?<!^)([A-Z])")
_UNDERSCORE = re.compile(r"(?<=[a-z0-9])_([a-z0-9])")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_PLACE = re.compile(r"^(.*?)(?: - at `\$(.*)`)?$", re.DOTALL)


class _Guide(Struct):
    """What may stand in one place: members of a shape, values of a map, items of a list."""

    shape: type | None = None
    members: dict[str, tuple[str, _Guide | None]] | None = None
    values: _Guide | None = None
    items: _Guide | None = None


class Shape(Generic[Read]):
    """Reads values of one Struct type.

    Args:
        kind: the Struct; its members have camelCase names on the wire.
        remedies: sentences for mistakes that are known.
    """

    def __init__(self, kind: type[Read], remedies: Remedies | None = None) -> None:
        self._kind = kind
        self._remedies = remedies or {}
        self._guide = _guide(inspect.type_info(kind))

    def read(self, tree: object, at: str = "") -> Read:
        """Read a decoded JSON value.

        Numbers may come as strings and whole numbers with a decimal point; null means absent.

        Args:
            tree: as the client wrote it.
            at: the path of the value inside the client's document, for messages.

        Raises:
            BadRequest: a name is unknown or a value has the wrong type; ``field`` is its path.
        """
        plain = self._plain(tree, self._guide, at)
        try:
            return msgspec.convert(plain, self._kind, strict=False)
        except msgspec.ValidationError as error:
            found = _PLACE.match(str(error))
            assert found is not None, "the pattern matches any text"
            path = joined(at, spelled(tree, (found[2] or "").removeprefix(".")))
            what = found[1].replace(" | null", "").rstrip()
            place = f" at '{path}'" if path else ""
            message = f"Invalid value{place}: {what[:1].lower()}{what[1:]}."
            raise BadRequest(message, field=path or None) from error

    def _plain(self, value: object, guide: _Guide | None, at: str) -> object:
        """Copy a value with every known name in camelCase and without nulls."""
        if guide is None:
            return value
        if isinstance(value, dict):
            if guide.members is not None:
                return self._plain_members(value, guide, guide.members, at)
            if guide.values is not None:
                inner = guide.values
                return {k: self._plain(v, inner, joined(at, k)) for k, v in value.items()}
        elif isinstance(value, list) and guide.items is not None:
            inner = guide.items
            return [self._plain(v, inner, f"{at}[{i}]") for i, v in enumerate(value)]
        return value

    def _plain_members(
        self,
        value: dict[str, object],
        guide: _Guide,
        members: dict[str, tuple[str, _Guide | None]],
        at: str,
    ) -> dict[str, object]:
        plain: dict[str, object] = {}
        for name, inner in value.items():
            known = members.get(name)
            if known is None:
                assert guide.shape is not None, "members belong to a shape"
                raise unknown_name(name, at, self._remedies.get(guide.shape, {}))
            if inner is None:
                continue
            if known[0] in plain and not _is_empty(plain[known[0]]):
                if _is_empty(inner):
                    continue
                raise told_twice(name, at)
            plain[known[0]] = self._plain(inner, known[1], joined(at, name))
        return plain


def unknown_name(name: str, at: str, remedies: Mapping[str, str]) -> BadRequest:
    """Make the refusal of a name that no shape knows, in the words of the original service."""
    place = f" at '{at}'" if at else ""
    remedy = remedies.get(camel(name), "")
    message = f'Invalid JSON payload received. Unknown name "{quoted(name)}"{place}: '
    message += f"Cannot find field. {remedy}".rstrip()
    return BadRequest(message, field=joined(at, quoted(name)))


def told_twice(name: str, at: str) -> BadRequest:
    """Make the refusal of a member that is there in both spellings: one of them would be lost."""
    path = joined(at, name)
    message = f"{path}: it is there in its other spelling, too. Leave one of them out."
    return BadRequest(message, field=path)


def _is_empty(value: object) -> bool:
    """Tell whether a value is absent: clients' libraries send empty objects for nothing."""
    return isinstance(value, dict | list) and not value


def spelled(tree: object, path: str) -> str:
    """Respell a camelCase path as the client wrote it."""
    result = ""
    for name, index in _STEP.findall(path):
        if index:
            result += f"[{index}]"
            tree = tree[int(index)] if isinstance(tree, list) and int(index) < len(tree) else None
        else:
            members = tree if isinstance(tree, dict) else {}
            written = next((form for form in (name, snake(name)) if form in members), name)
            result = joined(result, written)
            tree = members.get(written)
    return result


def joined(at: str, name: str) -> str:
    """Give the path of a member."""
    return f"{at}.{name}" if at and name and not name.startswith("[") else at + name


def quoted(text: str) -> str:
    """Cut a client's text to what a message may repeat."""
    cut = len(text) > limits.QUOTED_CHARACTERS_MAX
    return text[: limits.QUOTED_CHARACTERS_MAX] + "…" if cut else text


def camel(name: str) -> str:
    """Give the camelCase form of a snake_case name."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)


def snake(name: str) -> str:
    """Give the snake_case form of a camelCase name."""
    return _HUMP.sub(r"_\1", name).lower()


def _guide(kind: inspect.Type) -> _Guide | None:
    """Derive what may stand in a place from its type; None when nothing there has known names."""
    if isinstance(kind, inspect.StructType):
        members: dict[str, tuple[str, _Guide | None]] = {}
        for member in kind.fields:
            inner = _guide(member.type)
            members[member.name] = members[member.encode_name] = (member.encode_name, inner)
        return _Guide(shape=get_origin(kind.cls) or kind.cls, members=members)
    if isinstance(kind, inspect.DictType):
        inner = _guide(kind.value_type)
        return _Guide(values=inner) if inner else None
    if isinstance(kind, inspect.ListType):
        inner = _guide(kind.item_type)
        return _Guide(items=inner) if inner else None
    if isinstance(kind, inspect.UnionType):
        return _merged([guide for guide in map(_guide, kind.types) if guide])
    return None


def _merged(guides: list[_Guide]) -> _Guide | None:
    """Let a place hold any of several kinds; a union has at most one of each."""
    if not guides:
        return None
    merged = _Guide()
    for guide in guides:
        merged.shape = merged.shape or guide.shape
        merged.members = merged.members or guide.members
        merged.values = merged.values or guide.values
        merged.items = merged.items or guide.items
    return merged
