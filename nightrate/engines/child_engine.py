"""What all engines have in common whose work is done by a supervised child."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import TypeVar

from nightrate.domain.generation import Prompt, Reply
from nightrate.engines.base import Engine
from nightrate.engines.child import Patience, read_answer
from nightrate.engines.supervised_child import SupervisedChild
from nightrate.errors import Code, RequestFailed

_CHARACTERS_PER_TOKEN_MAX = 128
"""More than any text has. What is over it is not even counted: that would take seconds."""


Shape = TypeVar("Shape")


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


class ModelEngine(ChildEngine):
    """An engine whose child runs a model that answers prompts."""

    _tokens_max = 0
    """Of a prompt and its answer, once the child has told it."""

    async def generate(self, prompt: Prompt) -> Reply:
        """Have the child answer."""
        return await self._ask("generate", prompt, Reply)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Reply, None]:
        """Have the child answer, and tell what is certain of the answer after each step."""
        with prompt_demanded(prompt, self._tokens_max):
            async with aclosing(self._child.answers("stream", prompt)) as answers:
                async for answer in answers:
                    yield read_answer(answer, str | Reply)

    async def count_tokens(self, prompt: Prompt) -> int:
        """Count with the model's own tokenizer and template."""
        return await self._ask("count_tokens", prompt, int)

    async def _ask(self, verb: str, prompt: Prompt, shape: type[Shape]) -> Shape:
        with prompt_demanded(prompt, self._tokens_max):
            return await self._child.ask(verb, prompt, shape)


def with_spare(requests: int) -> int:
    """Give a few more than are computed, so that an ended one is replaced without a round trip.

    Of live requests, too: otherwise the child would replace it by one of a batch that it has at
    hand, while a live one is still on its way.
    """
    return requests + max(1, requests // 8)


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


@contextmanager
def prompt_demanded(prompt: Prompt, tokens_max: int) -> Iterator[None]:
    """Refuse a prompt that is far too long for a context, or cannot be written on the line.

    Raises:
        RequestFailed: so it is; see `check_length` and `unicode_demanded`.
    """
    check_length(prompt, tokens_max)
    with unicode_demanded():
        yield


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
