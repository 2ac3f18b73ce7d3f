"""The search behind answers that may rest on one.

A backend is a class and a line in `BACKENDS`; the setting ``search`` chooses it. One that finds
nothing is here: it lets the wire be used and tested where there is nothing to search.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from nightrate.domain.grounding import Source
from nightrate.errors import SettingsFault

REFUSE = "refuse"
"""The setting under which a request that wants a search fails."""


class Search(ABC):
    """Looks something up."""

    @abstractmethod
    async def search(self, query: str, limit: int) -> list[Source]:
        """Give what is found, the best first, at most ``limit`` sources."""


class EmptySearch(Search):
    """Finds nothing, whatever is asked."""

    async def search(self, query: str, limit: int) -> list[Source]:
        """Find nothing."""
        del query, limit
        return []


BACKENDS: dict[str, Callable[[], Search]] = {"empty": EmptySearch}


def create_search(name: str) -> Search | None:
    """Make the backend that a setting names; None when searches are refused.

    Raises:
        SettingsFault: there is no such backend.
    """
    if name == REFUSE:
        return None
    if name in BACKENDS:
        return BACKENDS[name]()
    names = ", ".join(sorted({*BACKENDS, REFUSE}))
    raise SettingsFault([f"search {name!r} is not known; there are: {names}"])
