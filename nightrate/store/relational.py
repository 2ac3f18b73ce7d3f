"""Running statements: what the verbs need from a relational database, whichever it is.

The verbs of the contract stand in `file_verbs`, `batch_verbs` and `work_verbs`; a database adds
where its connection lives and how it says that it is in trouble.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TypeVar

from nightrate import limits
from nightrate.store.base import Store
from nightrate.store.rows import Row

T = TypeVar("T")
Values = Mapping[str, object]


class Relational(Store):
    """A store that runs SQL on one connection."""

    result_lifetime_seconds: float = limits.RESULT_LIFETIME_SECONDS
    """How long a result file is kept."""

    @abstractmethod
    def _all(self, text: str, values: Values | None = None) -> list[Row]:
        """Run a statement and give its rows."""

    @abstractmethod
    def _many(self, text: str, values: Iterator[Values]) -> None:
        """Run a statement once for each set of values."""

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]:
        """Commit what the block did, or undo all of it when it raises."""

    @abstractmethod
    async def _call(self, call: Callable[[], T]) -> T:
        """Run a call where the connection lives.

        Raises:
            StoreFault: the database is in trouble that is not ours.
        """

    def _one(self, text: str, values: Values) -> Row | None:
        """Give the first row of a statement, if it has any."""
        rows = self._all(text, values)
        return rows[0] if rows else None

    def _aggregate(self, text: str, values: Values) -> Row:
        """Give the row of a statement that always has one."""
        row = self._one(text, values)
        assert row is not None, "an aggregate has a row"
        return row

    async def _read(self, text: str, values: Values) -> list[Row]:
        """Run one reading statement."""
        return await self._call(lambda: self._all(text, values))

    async def _write(self, call: Callable[[], T]) -> T:
        """Run a call as one transaction."""

        def transaction() -> T:
            with self._transaction():
                return call()

        return await self._call(transaction)
