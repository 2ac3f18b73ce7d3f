"""Bodies read strictly into shapes, with faults located as OpenAI's errors do: by the member."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec
from msgspec import json

from nightrate.dialects import tolerant
from nightrate.dialects.refusals import wrong
from nightrate.dialects.spelling import joined, quoted
from nightrate.errors import BadRequest

Read = TypeVar("Read")

_PLACE = re.compile(r"^(.*?)(?: - at `\$(.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")


class Reader(Generic[Read]):
    """Reads bodies of one shape.

    Args:
        kind: the shape.
        remedies: sentences for wrong names that are known.
    """

    def __init__(self, kind: type[Read], remedies: Mapping[str, str] | None = None) -> None:
        self._decoder = json.Decoder(kind)
        self._remedies = remedies or {}

    def read(self, body: bytes) -> Read:
        """Read a body.

        Raises:
            BadRequest: it is no JSON, too deep, or a member is unknown, missing or of another type.
        """
        try:
            tolerant.check_depth_of(body)
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise self._fault(error) from error
        except (ValueError, RecursionError) as error:
            byte = tolerant.position(error, len(body))
            place = "" if byte is None else f" near byte {byte}"
            message = f"The body is no JSON{place}: {tolerant.reason(error)}."
            raise BadRequest(message) from error

    def _fault(self, error: msgspec.ValidationError) -> BadRequest:
        found = _PLACE.match(str(error))
        assert found is not None, "the pattern matches any text"
        what, at = found[1], (found[2] or "").removeprefix(".")
        if unknown := _UNKNOWN.fullmatch(what):
            name = unknown[1]
            remedy = self._remedies.get(name, "")
            why = f"it is not known here. {remedy}".rstrip()
            return wrong(joined(at, quoted(name)), why)
        if missing := _MISSING.fullmatch(what):
            return wrong(joined(at, missing[1]), "it is missing.")
        why = f"{what[:1].lower()}{what[1:]}.".replace(" | null", "")
        return wrong(at, why) if at else BadRequest(f"The body is wrong: {why}")
