"""The search behind answers that may rest on one: the contract, and one that finds nothing.

`tools.searches` has those that can be chosen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from nightrate.domain.generation import Failure
from nightrate.domain.grounding import Source


class Search(ABC):
    """Looks something up."""

    @abstractmethod
    async def search(self, query: str, limit: int, *, live: bool) -> list[Source] | Failure:
        """Give what is found, the best first, or why nothing can be.

        Args:
            query: what is looked for.
            limit: how many sources are given at most.
            live: whether somebody waits for them; then it never stands behind searches of batches.
        """

    async def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what it holds."""


class EmptySearch(Search):
    """Finds nothing, whatever is asked: lets the wire be used where there is nothing to search."""

    async def search(self, query: str, limit: int, *, live: bool) -> list[Source]:
        """Find nothing."""
        del query, limit, live
        return []
