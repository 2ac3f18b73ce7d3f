"""What one look at an input finds, and what that means for the batch."""

from __future__ import annotations

from msgspec import Struct

from nightrate import limits
from nightrate.domain.batch import Plan
from nightrate.errors import Code


class Budget(Struct, frozen=True, kw_only=True):
    """How far a look at an input may go."""

    bytes_max: int
    seconds_max: float
    faults_max: int
    """How many faults are listed; all are counted."""
    to_first_sound: bool = False
    """End at the first request that can be read: whether there is one is all that is asked."""


class LineFault(Struct, frozen=True):
    """What is wrong with one request."""

    number: int
    """Of the line in a file, or of the request in a body; from 1."""
    field: str | None
    """Path of the field that is to blame, if one is."""
    code: Code
    message: str
    """The whole sentence, with the number and the path."""


class RepeatedKey(Struct, frozen=True):
    """A key that more than one request has."""

    key: str
    """As JSON."""
    number: int
    """Of the first line that repeats it."""


class Inspection(Struct, frozen=True, kw_only=True):
    """What was found.

    A request that cannot be read is *malformed*; one that can be read but asks for what this server
    does not do is invalid only.
    """

    request_count: int
    invalid_count: int
    malformed_count: int
    shard_count: int
    faults: tuple[LineFault, ...]
    repeated_keys: tuple[RepeatedKey, ...]
    repeated_count: int
    """How many requests have a key that an earlier one has."""
    keys_compared: int
    text_bytes: int
    """Length of all texts of the valid requests, in UTF-8."""
    read_bytes: int
    complete: bool
    """Whether the whole input was seen."""


def refusal(found: Inspection | Plan, *, strict: bool) -> str | None:
    """Say why a batch cannot run; None when it can, as far as was seen.

    Args:
        found: what is known about its input; a plan has seen all of it.
        strict: whether one malformed request is enough.
    """
    complete = isinstance(found, Plan) or found.complete
    if complete and found.request_count == 0:
        return "The input holds no request: every line is blank."
    if strict and found.malformed_count:
        return _listed(found, complete=complete)
    if complete and found.malformed_count == found.request_count:
        return f"The input holds no valid request.\n{_listed(found, complete=complete)}"
    return None


def _listed(found: Inspection | Plan, *, complete: bool) -> str:
    """List the first malformed requests and count the others."""
    if isinstance(found, Plan):
        faults = list(found.faults)
    else:
        malformed = [one.message for one in found.faults if one.code is Code.INVALID_ARGUMENT]
        faults = malformed[: limits.FAULTS_LISTED_MAX]
    if more := found.malformed_count - len(faults):
        faults.append(f"... and {more} more{'' if complete else ', as far as it was read'}.")
    return "\n".join(faults)
