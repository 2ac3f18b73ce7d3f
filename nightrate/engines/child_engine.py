"""What all engines have in common whose work is done by a supervised child."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nightrate.engines.base import Engine
from nightrate.engines.child import Patience, SupervisedChild
from nightrate.errors import Code, RequestFailed


class ChildEngine(Engine):
    """An engine with a process of its own.

    Args:
        child: the command that is the child.
        patience: how long it may take to start, and be silent.
    """

    def __init__(self, child: Sequence[str], patience: Patience) -> None:
        self._child = SupervisedChild(f"The {self.name} engine", child, patience)

    @property
    def child_pid(self) -> int | None:
        """The process that computes now; None while there is none."""
        return self._child.process_id

    async def close(self) -> None:
        """End the child."""
        await self._child.close()

    async def ready(self) -> None:
        """Wait while the child restarts."""
        await self._child.ready()

    def hung(self, since: float) -> None:
        """Have the child started again."""
        self._child.hung(since)


@contextmanager
def unicode_demanded(whose: str = "The prompt's text") -> Iterator[None]:
    """Refuse a text that cannot be written on the line to the child.

    Raises:
        RequestFailed: it holds what is no Unicode.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        message = f"{whose} is not valid Unicode: {error.reason}."
        raise RequestFailed(message, code=Code.INVALID_ARGUMENT) from error
