"""What all engines have in common whose work is done by a supervised child."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nightrate.domain.generation import Prompt
from nightrate.engines.base import Engine
from nightrate.engines.child import Patience, SupervisedChild
from nightrate.errors import Code, RequestFailed

_CHARACTERS_PER_TOKEN_MAX = 128
"""More than any text has. What is over it is not even counted: that would take seconds."""


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


def check_length(prompt: Prompt, tokens_max: int) -> None:
    """Refuse a prompt that is far too long for a context, before it is sent and counted.

    Raises:
        RequestFailed: it has more characters than so many tokens can stand for.
    """
    characters = sum(len(message.words) for message in prompt.messages)
    characters += len(prompt.system or "")
    if 0 < tokens_max * _CHARACTERS_PER_TOKEN_MAX < characters:
        raise RequestFailed(
            f"The prompt has {characters:,} characters, far more than fit into the "
            f"{tokens_max:,} tokens of the model's context.",
            code=Code.INVALID_ARGUMENT,
        )
