"""One request to one outcome: the same way for a live request and for a row of a batch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, nullcontext
from typing import overload

from msgspec import structs

from nightrate import clock, limits
from nightrate.dialects.lines import RawLine
from nightrate.dialects.row import AskedOfRow, Echo, OutcomeOfRow
from nightrate.dialects.rows import hand_of, parse_row, render_unasked
from nightrate.domain.batch import Batch, Kind
from nightrate.domain.cache import Reach
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Asked, Failure, Outcome, Prompt, Reply
from nightrate.domain.model import Model
from nightrate.domain.shard import Answer, Tally
from nightrate.errors import Code, Damaged, EngineDown, Refused, StoreFault
from nightrate.service.grounding import Aside, Grounder, Step, Steps
from nightrate.service.lane import Lane
from nightrate.service.media import Media
from nightrate.service.outcomes import pieces_of, resting, tally_of
from nightrate.service.overdue import Worker
from nightrate.service.places import Meter
from nightrate.service.prefixes import Prefixes, missing_cache
from nightrate.service.several import all_embedded, answered, outcome_of_all

log = logging.getLogger(__name__)

_FAILED = Tally(failed=1)
_NO_ECHO = Echo()


class Executor:
    """Runs requests on the lanes.

    Args:
        lanes: the engines by name.
        prefixes: the cached contents that requests may name; without it, they find none.
        grounder: makes the searches that requests may want; without it, they are refused.
        media: reads the files that requests may name; without it, they find none.
    """

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        prefixes: Prefixes | None = None,
        grounder: Grounder | None = None,
        media: Media | None = None,
    ) -> None:
        self._lanes = lanes
        self._prefixes = prefixes
        self._media = media or Media()
        self._grounder = grounder or Grounder(None)

    async def whole(self, prompt: Prompt, model: str, reach: Reach) -> Prompt:
        """Put the cached content before a prompt that names one; it can be asked then.

        Raises:
            MissingCache: there is no such cached content within reach.
            BadRequest: the two do not fit together.
            StoreFault: it cannot be read.
            OSError: likewise.
        """
        if prompt.cache is None:
            return prompt
        if self._prefixes is None:
            raise missing_cache(prompt.cache)
        return await self._prefixes.whole(prompt, model, reach)

    @overload
    async def live(
        self, model: Model, asked: Prompt, reach: Reach | None = None
    ) -> Reply | Failure: ...

    @overload
    async def live(self, model: Model, asked: Passage) -> Embedding | Failure: ...

    async def live(self, model: Model, asked: Asked, reach: Reach | None = None) -> Outcome:
        """Answer an interactive request.

        It does not wait for an engine that is not open, but for one that is opened on demand.
        ``reach`` says which files it may name.

        Raises:
            StoreFault, OSError: a file that it names cannot be read.
        """
        lane = self._lanes[model.engine]
        if failure := await _closed(lane, model):
            return failure
        try:
            return await self._run(lane, structs.replace(asked, live=True), reach, live=True)
        except EngineDown as fault:
            return Failure(Code.UNAVAILABLE, fault.message)

    async def live_all(
        self, model: Model, passages: Sequence[Passage]
    ) -> tuple[Embedding, ...] | Failure:
        """Answer the passages of one interactive call; the first that fails fails them all."""
        return all_embedded(
            await asyncio.gather(*(self.live(model, passage) for passage in passages))
        )

    async def stream(
        self, model: Model, prompt: Prompt, reach: Reach | None = None
    ) -> AsyncGenerator[str | Reply | Failure, None]:
        """Answer an interactive request piece by piece: texts, at last the outcome; as `live`."""
        lane = self._lanes[model.engine]
        if failure := await _closed(lane, model):
            yield failure
            return
        prompt = structs.replace(prompt, live=True)
        looked_up = None
        if prompt.lookup is not None:
            found = await self._grounder.ground(prompt, prompt.lookup)
            if isinstance(found, Failure):
                yield found
                return
            prompt, looked_up = found.prompt, found
        async with AsyncExitStack() as held:
            if prompt.media:
                read = self._media.read(prompt, lane, reach, live=True)
                prepared = await held.enter_async_context(read)
                if isinstance(prepared, Failure):
                    yield prepared
                    return
                prompt = prepared
            async with aclosing(pieces_of(lane, prompt, looked_up)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _run(
        self,
        lane: Lane,
        asked: Asked,
        reach: Reach | None = None,
        *,
        live: bool = False,
        meter: Meter | None = None,
        step: Step | None = None,
    ) -> Outcome:
        """Take a request through its engine, after what it may want to be looked up."""
        if isinstance(asked, Passage):
            return await lane.outcome(asked, live=live, meter=meter)
        if asked.lookup is None:
            return await self._answered(lane, asked, reach, live=live, meter=meter)
        found = await self._grounder.ground(asked, asked.lookup, step)
        if isinstance(found, Failure):
            return found
        outcome = await self._answered(lane, found.prompt, reach, live=live, meter=meter)
        return await resting(lane, outcome, found)

    async def _answered(
        self, lane: Lane, prompt: Prompt, reach: Reach | None, *, live: bool, meter: Meter | None
    ) -> Reply | Failure:
        """Take a prompt through its engine, with the files that it may name."""
        if not prompt.media:
            return await answered(lane, prompt, live=live, meter=meter)
        async with self._media.read(prompt, lane, reach, live=live) as read:
            if isinstance(read, Failure):
                return read
            return await answered(lane, read, live=live, meter=meter)

    async def count_tokens(
        self, model: Model, prompt: Prompt, reach: Reach | None = None
    ) -> int | Failure:
        """Count the tokens of a prompt, as the model sees it; ``reach`` and errors as of `live`."""
        lane = self._lanes[model.engine]
        if failure := await _closed(lane, model):
            return failure
        try:
            if not prompt.media:
                return await lane.count_tokens(prompt)
            async with self._media.read(prompt, lane, reach, live=True) as read:
                return read if isinstance(read, Failure) else await lane.count_tokens(read)
        except EngineDown as fault:
            return Failure(Code.UNAVAILABLE, fault.message)

    def rows(self, lane: Lane, model: str, kind: Kind, *, reach: Reach | None = None) -> Rows:
        """Give what answers the rows of one batch.

        Args:
            lane: the engine.
            model: the model of the batch.
            kind: how the lines are to be read, and their answers to be written.
            reach: which cached contents and files they may name; None for none.
        """
        return Rows(self, lane, model, kind, reach)

    async def of_row(
        self,
        lane: Lane,
        model: str,
        asked: AskedOfRow,
        reach: Reach | None,
        meter: Meter,
        step: Step | None,
    ) -> OutcomeOfRow:
        """Take what a row asks through its engine, with the cached content that it may name.

        Args:
            lane: the engine.
            model: the model of the batch.
            asked: by the row.
            reach: which cached contents and files it may name; None for none.
            meter: told what the row had of the engine's time.
            step: where it is kept what was looked up for the row; None for nowhere.

        Raises:
            EngineDown: the engine has given up; the row has no outcome yet.
        """
        if isinstance(asked, tuple):
            return await outcome_of_all(lane, asked, meter)
        if isinstance(asked, Prompt) and asked.cache is not None:
            try:
                asked = await self._continued(asked, model, reach)
            except Refused as fault:
                return Failure(fault.code, fault.message)
            except Damaged as fault:
                message = f"The cached content cannot be read any more: {fault.message}"
                return Failure(Code.DATA_LOSS, message)
        return await self._run(lane, asked, reach, meter=meter, step=step)

    async def _continued(self, prompt: Prompt, model: str, reach: Reach | None) -> Prompt:
        """Put the cached content before a row that names one, when the disk lets us."""
        assert prompt.cache is not None, "asked for such rows only"
        if reach is None:
            raise missing_cache(prompt.cache)
        while True:
            try:
                return await self.whole(prompt, model, reach)
            except Damaged:
                raise
            except (OSError, StoreFault) as error:
                log.error("a cached content cannot be read now: %s", error)  # noqa: TRY400 - the reason is all
                await clock.sleep(limits.DISK_PAUSE_SECONDS)


class Rows:
    """Answers the rows of one batch. Made by `Executor.rows`, once for many rows."""

    def __init__(
        self, executor: Executor, lane: Lane, model: str, kind: Kind, reach: Reach | None
    ) -> None:
        hand = hand_of(kind)
        self._parse, self._render, self._form = hand.parse, hand.render, kind.form
        self._placed, self._tells_time = hand.placed, hand.tells_time
        self._executor = executor
        self._lane = lane
        self._model = model
        self._reach = reach

    async def answer(
        self,
        line: RawLine,
        response_id: str,
        worker: Worker | None = None,
        steps: Steps | None = None,
        index: int = 0,
        aside: Aside = nullcontext,
    ) -> Answer:
        """Answer one row: its line in, its output line out.

        Whatever is wrong with the row, and a mistake of our own too, becomes an error line.

        Args:
            line: the row.
            response_id: the id that its answer gets.
            worker: the task that calls, if it knows itself.
            steps: where it is kept what was looked up for rows; None for nowhere.
            index: the number under which it is kept there.
            aside: entered while something is looked up for the row.

        Raises:
            EngineDown: the engine has given up; the row has no outcome yet.
        """
        echo, meter = _NO_ECHO, Meter()
        outcome: OutcomeOfRow
        try:
            parsed = self._parse(line.data, line.number, self._form, self._model)
            echo, asked = parsed.echo, parsed.prompt
            if isinstance(asked, Failure):
                outcome = asked
            elif (
                isinstance(asked, Prompt)
                and asked.cache is None
                and asked.lookup is None
                and asked.candidates == 1
                and not asked.media
            ):
                # Nearly every row: the straight way.
                outcome = await self._lane.outcome(asked, worker=worker, meter=meter)
            else:
                step = None if steps is None else Step(steps, index, aside)
                outcome = await self._executor.of_row(
                    *(self._lane, self._model, asked, self._reach), meter, step
                )
            if isinstance(outcome, Failure) and outcome.field is not None:
                outcome = self._placed(outcome, line.data, line.number, self._form)
            now = clock.now() if self._tells_time else 0
            output = self._render(echo, outcome, self._form, response_id, now)
        except EngineDown:
            raise
        except Exception:  # one row must not stop the server; the trace tells us of our mistake
            log.exception("line %d failed by a mistake of the server", line.number)
            outcome = Failure(Code.INTERNAL, "Internal error; see the log of the server.")
            output = self._render(echo, outcome, self._form, response_id, clock.now())
        return Answer(output, tally_of(outcome, int(meter.seconds * 1e9 + 0.5)))


async def _closed(lane: Lane, model: Model) -> Failure | None:
    """Say why an engine that is not open cannot answer."""
    await lane.wait_open(limits.OPENING_PATIENCE_SECONDS)
    if lane.opened.is_set():
        return None
    reason = lane.fault.message if lane.fault else "it is being loaded"
    return Failure(Code.UNAVAILABLE, f"The engine of {model.name} is not ready: {reason}")


def unanswered(batch: Batch, line: RawLine, why: Failure, response_id: str) -> Answer:
    """Say of a row that will not be asked any more why it has no answer."""
    echo = parse_row(line.data, line.number, batch.kind, batch.model).echo
    return Answer(render_unasked(echo, why, batch.kind, response_id), _FAILED)
