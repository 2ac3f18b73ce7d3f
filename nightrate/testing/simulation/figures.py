"""What each answer adds to the counters, and what may therefore be counted.

An answer may be made several times, and only one of them is in the output. Those of the same words
cannot be told apart there, so what is counted must lie between the least and the most of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from msgspec import json

from nightrate.dialects.lines import RawLine
from nightrate.domain.batch import Kind
from nightrate.domain.cache import Reach
from nightrate.domain.shard import Answer, Tally, sum_of
from nightrate.service.execute import Executor, Rows
from nightrate.service.grounding import Aside, Steps
from nightrate.service.lane import Lane
from nightrate.service.overdue import Worker
from nightrate.testing.simulation.world import Violation

_UNASKED = Tally(failed=1)


class Figures:
    """Every answer that was ever made, whoever recorded it."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, bytes], list[Tally]] = {}

    def note(self, response_id: str, answer: Answer) -> None:
        """Take note of an answer.

        Raises:
            Violation: it counts other tokens than its line tells.
        """
        tally = answer.tally
        told = told_tokens(answer.line)
        counted = (
            *(tally.prompt_tokens, tally.output_tokens),
            *(tally.cached_tokens, tally.thought_tokens),
        )
        if told is not None and told != counted:
            raise Violation(f"{answer.line!r} counts {counted}")
        self._made.setdefault((response_id, answer.line), []).append(tally)

    def bounds(self, batch_id: str, lines: Iterable[tuple[int, bytes]]) -> tuple[Tally, Tally]:
        """Give the least and the most that lines of a batch may count, each with its index.

        A line that nobody made is one of those that say why there is no answer.
        """
        least, most = [], []
        for index, line in lines:
            made = self._made.get((f"{batch_id}-{index}", line), [_UNASKED])
            least.append(_each(min, made))
            most.append(_each(max, made))
        return sum_of(*least), sum_of(*most)


def within(tally: Tally, least: Tally | None, most: Tally) -> bool:
    """Tell whether every counter lies between two bounds; without the first, below the second."""
    lower = Tally() if least is None else least
    return all(
        getattr(lower, name) <= getattr(tally, name) <= getattr(most, name)
        for name in tally.__struct_fields__
    )


def _each(choose: Any, tallies: list[Tally]) -> Tally:
    names = Tally.__struct_fields__
    return Tally(**{name: choose(getattr(tally, name) for tally in tallies) for name in names})


def told_tokens(line: bytes) -> tuple[int, int, int, int] | None:
    """Read what a line tells of prompt, output, cached and thought tokens; None if it does not."""
    row: dict[str, Any] = json.decode(line)
    answer = row.get("response") or {}
    if "usageMetadata" in answer and "candidates" in answer:
        used = answer["usageMetadata"]
        thought = used.get("thoughtsTokenCount", 0)
        made = used["candidatesTokenCount"] + thought
        return used["promptTokenCount"], made, used.get("cachedContentTokenCount", 0), thought
    used = (answer.get("body") or {}).get("usage") or {}
    if "completion_tokens" in used:
        return (
            *(used["prompt_tokens"], used["completion_tokens"]),
            used["prompt_tokens_details"]["cached_tokens"],
            used["completion_tokens_details"]["reasoning_tokens"],
        )
    return None


class WatchedExecutor(Executor):
    """An executor that takes note of each answer to a row."""

    def __init__(self, lanes: Mapping[str, Lane], figures: Figures) -> None:
        super().__init__(lanes)
        self._figures = figures

    def rows(self, lane: Lane, model: str, kind: Kind, *, reach: Reach | None = None) -> Rows:
        """See `Executor.rows`."""
        return _WatchedRows(self, lane, model, kind, reach, self._figures)


class _WatchedRows(Rows):
    def __init__(
        self,
        executor: Executor,
        lane: Lane,
        model: str,
        kind: Kind,
        reach: Reach | None,
        figures: Figures,
    ) -> None:
        super().__init__(executor, lane, model, kind, reach)
        self._figures = figures

    async def answer(
        self,
        line: RawLine,
        response_id: str,
        worker: Worker | None = None,
        steps: Steps | None = None,
        index: int = 0,
        aside: Aside = nullcontext,
    ) -> Answer:
        """See `Rows.answer`."""
        answer = await super().answer(line, response_id, worker, steps, index, aside)
        self._figures.note(response_id, answer)
        return answer
