"""What an option of Gemini's requests is: its path, and what becomes of it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from nightrate.domain.generation import Capability


class Treatment(StrEnum):
    """What becomes of an option."""

    HONOURED = "honoured"
    """The answer is as it says."""
    PASSED_ON = "passed on"
    """A wrong value is refused; a right one is handed to the servers behind the engines that the
    row names. Embedded models have nothing that it could change."""
    CHECKED = "checked"
    """Of values with names a wrong one is refused; a right one changes nothing: it is about what is
    not here."""
    REFUSED = "refused"
    """A request that uses it fails, by its path."""


class Option(Struct, frozen=True):
    """One option.

    ``path`` is its place in a request, ``[]`` for any item of a list; ``says`` what it does here,
    or what to do instead; ``needs`` what an engine must be able to do, if not all can.
    """

    path: str
    treatment: Treatment
    says: str
    needs: Capability | None = None


def honoured(path: str, says: str, needs: Capability | None = None) -> Option:
    """Make the row of an option that the answer follows."""
    return Option(path, Treatment.HONOURED, says, needs)


def passed_on(path: str, says: str) -> Option:
    """Make the row of an option that some engines hand on."""
    return Option(path, Treatment.PASSED_ON, says)


def checked(path: str, says: str) -> Option:
    """Make the row of an option that changes nothing here."""
    return Option(path, Treatment.CHECKED, says)


def refused(path: str, says: str) -> Option:
    """Make the row of an option that is not served; it says what to do instead."""
    return Option(path, Treatment.REFUSED, says)
