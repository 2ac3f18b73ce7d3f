"""A lane: one engine, kept open, with its places and the way a prompt takes through it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import TypeVar, overload

from msgspec import DecodeError, Struct, json

from nightrate import clock, limits, telemetry
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.fitting import fits
from nightrate.domain.generation import (
    Asked,
    Failure,
    FinishReason,
    Outcome,
    Prompt,
    Reply,
)
from nightrate.domain.retry import retry_delay_seconds
from nightrate.domain.schema import JSONForm
from nightrate.engines.base import Engine, Progress, ignore_progress
from nightrate.errors import Code, EngineBusy, EngineDown, EngineFault, RequestFailed
from nightrate.service.abilities import unable
from nightrate.service.overdue import Overdue, Worker
from nightrate.service.places import Meter, Places

T = TypeVar("T")

log = logging.getLogger(__name__)

_DEATHS_TOGETHER = limits.ENGINE_DEATHS_MAX - 1
"""Engine deaths after which a prompt runs alone. An engine that died once may have had bad luck:
everybody tries again side by side. Whoever was there every time gets a last try with nobody else
inside: the one that kills it is then known, and none of its neighbours fails with it. A try beside
which live requests came in proves nothing; it is made again, but not for ever."""

_TELL_SECONDS = 60.0
"""Between two log lines about an engine that requests wait for."""


class _Tries(Struct):
    """What has happened to one prompt so far."""

    failures: int = 0
    deaths: int = 0
    joined: bool = False
    """Whether live requests came in beside the lone try that has just ended."""
    joined_deaths: int = 0
    refusals: int = 0
    """How often the engine took nobody."""
    refused_since: float = 0.0
    """When that was the first time; the monotonic clock."""
    breaks: int = 0
    """How often the engine had taken it and no answer came, as for others at that time."""

    @property
    def alone(self) -> bool:
        return self.deaths >= _DEATHS_TOGETHER


class Lane:
    """One engine and everybody who uses it.

    Args:
        name: of the engine, in the settings.
        engine: runs the prompts.
        answer_seconds: how long it may work on one of them; what takes longer hangs, which counts
            as a death of the engine.
    """

    def __init__(
        self, name: str, engine: Engine, answer_seconds: float = limits.ANSWER_SECONDS
    ) -> None:
        self.name = name
        self.engine = engine
        self._answer_seconds = answer_seconds
        self._overdue = Overdue(answer_seconds)
        self.places = Places(lambda: engine.capacity, engine.allowance)
        self.opened = asyncio.Event()
        """Set while the engine is open."""
        self.fault: EngineDown | None = None
        """Why the engine is not open, once it failed to open."""
        self._tell_at = -math.inf
        """From when on it is logged again that requests wait for the engine."""
        self._broken = asyncio.Event()
        self.settled = asyncio.Event()
        """Set when the first try to open the engine has ended, well or not; or when it is not
        opened before somebody asks."""
        self._demanded = asyncio.Event()
        self._tried = asyncio.Event()
        """Set when a try to open the engine has ended, well or not."""
        telemetry.IN_FLIGHT.labels(name).set_function(lambda: self.places.requests)
        telemetry.READY.labels(name).set_function(self.opened.is_set)

    async def keep_open(self, progress: Progress = ignore_progress) -> None:
        """Open the engine, and open it again whenever it has given up; runs until cancelled.

        An engine that is opened on demand waits for it, and after a failure for the next one.
        """
        try:
            while True:
                if self.engine.on_demand:
                    self.settled.set()
                    await self._demanded.wait()
                try:
                    await self.engine.open(progress)
                except EngineDown as fault:
                    self.fault = fault
                    self._tried.set()
                    log.warning("engine %s cannot run: %s", self.name, fault.message)
                else:
                    self.fault = None
                    self._broken.clear()
                    self.opened.set()
                    self.settled.set()
                    self._tried.set()
                    await self._broken.wait()
                self.opened.clear()
                self.settled.set()
                self._demanded.clear()
                await self.engine.close()
                await clock.sleep(limits.ENGINE_REOPEN_SECONDS)
        finally:
            self.opened.clear()
            await self.engine.close()

    def demand(self) -> None:
        """Have the engine opened if it waits to be asked for."""
        self._demanded.set()

    async def wait_open(self, patience_seconds: float) -> None:
        """Wait until the engine is open, or has failed to open; no longer than that.

        An engine that is opened when the server starts is not waited for: it may take minutes.
        """
        if self.opened.is_set() or not self.engine.on_demand:
            return
        self.demand()
        if self.fault is not None:
            return  # It is tried again, but nobody waits for what failed a moment ago.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._tried.wait()

    @overload
    async def outcome(
        self,
        asked: Prompt,
        *,
        live: bool = False,
        worker: Worker | None = None,
        meter: Meter | None = None,
    ) -> Reply | Failure: ...

    @overload
    async def outcome(
        self,
        asked: Passage,
        *,
        live: bool = False,
        worker: Worker | None = None,
        meter: Meter | None = None,
    ) -> Embedding | Failure: ...

    async def outcome(
        self,
        asked: Asked,
        *,
        live: bool = False,
        worker: Worker | None = None,
        meter: Meter | None = None,
    ) -> Outcome:
        """Take one prompt or passage through the engine, with its retries.

        Args:
            asked: the prompt or passage.
            live: whether somebody waits for it.
            worker: the task that calls, if it knows itself (`Overdue.begin`).
            meter: told what the request had of the engine's time.

        Raises:
            EngineDown: the engine has given up; the request is not to blame and has no outcome yet.
        """
        loose = False
        if _is_special(asked):
            failure = unable(self.engine, self.name, asked)
            if failure:
                return failure
            loose = _is_loose(asked)
        engine, places, overdue = self.engine, self.places, self._overdue
        meter = meter or Meter()
        tries: _Tries | None = None
        while True:
            # Written out: this stands in the way of every request, and each step into a function
            # of its own costs as much as a place.
            alone = tries is not None and tries.alone
            cost = engine.cost(asked)
            if not alone and places.try_take(cost, live=live):
                now, shared_before = places.shared_at, places.shared_seconds
            else:
                shared_before = await places.take(cost, live=live, alone=alone)
                now = clock.monotonic()
            worker = overdue.begin(worker, now)
            try:
                if isinstance(asked, Prompt):
                    reply = await engine.generate(asked)
                    return _kept(reply, asked) if loose else reply
                return _numbers(await engine.embed(asked))
            except EngineFault as error:
                fault = error
            except asyncio.CancelledError:
                if not overdue.caused_cancel(worker):
                    raise
                fault = self._hung(overdue.since(worker))
            finally:
                overdue.end(worker)
                joined = alone and places.joined
                meter.seconds += places.give(cost, live=live, alone=alone) - shared_before
            tries = tries or _Tries()
            tries.joined = joined
            if failure := await self._before_next(tries, fault, live=live):
                return failure

    async def stream(
        self, prompt: Prompt, *, live: bool = False
    ) -> AsyncGenerator[str | Reply | Failure, None]:
        """Take one prompt through the engine, and give the answer piece by piece.

        Texts come as they are made, at last the outcome. Nothing is tried again after the first
        text: it has been seen. Closing the generator frees the place.

        Raises:
            EngineDown: the engine has given up before the first text.
        """
        failure = unable(self.engine, self.name, prompt)
        if failure:
            yield failure
            return
        tries = _Tries()
        while True:
            begun = False
            try:
                async with aclosing(self._pieces(prompt, tries, live=live)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
            except EngineFault as fault:
                if begun:
                    failure = _broken_off(fault)
                else:
                    failure = await self._before_next(tries, fault, live=live)
            else:
                return
            if failure:
                yield failure
                return

    async def count_tokens(self, prompt: Prompt) -> int | Failure:
        """Count the tokens of a prompt; that takes no place among those that are answered.

        Raises:
            EngineDown: the engine has given up.
        """
        tries = _Tries()
        while True:
            try:
                return await self.engine.count_tokens(prompt)
            except EngineFault as fault:
                if failure := await self._before_next(tries, fault, live=True):
                    return failure

    async def _before_next(
        self, tries: _Tries, fault: EngineFault, *, live: bool
    ) -> Failure | None:
        """Wait until another try makes sense, or give what it ended with if none does.

        Raises:
            EngineDown: the engine has given up.
        """
        if isinstance(fault, RequestFailed):
            tries.failures += 1
            if not fault.retriable or tries.failures >= limits.ATTEMPTS_MAX:
                return Failure(fault.code, fault.message)
            chance = clock.jitter()
            await clock.sleep(retry_delay_seconds(tries.failures, fault.after_seconds, chance))
            return None
        if isinstance(fault, EngineBusy):
            return await self._after_refusal(tries, fault, live=live)
        assert isinstance(fault, EngineDown), "engines raise these three"
        if tries.joined:
            tries.joined_deaths += fault.in_flight
        else:
            tries.deaths += fault.in_flight
        if max(tries.deaths, tries.joined_deaths) >= limits.ENGINE_DEATHS_MAX:
            deaths = tries.deaths + tries.joined_deaths
            message = f"The engine died or hung {deaths} times while it ran this request."
            return Failure(Code.INTERNAL, message)
        self._tell(f"is waited for: {fault.message}")
        patience = limits.OPENING_PATIENCE_SECONDS if live else None
        try:
            async with asyncio.timeout(patience):
                await self._until_ready()
        except TimeoutError:
            return Failure(Code.UNAVAILABLE, fault.message)
        return None

    async def _after_refusal(
        self, tries: _Tries, fault: EngineBusy, *, live: bool
    ) -> Failure | None:
        """Wait until the engine may take the prompt, which had no try: of a batch, for ever.

        Somebody waits for a live one, and is told what the engine says while there is time.
        """
        now = clock.monotonic()
        if not tries.refusals:
            tries.refused_since = now
        self._tell(f"takes nobody now: {fault.message}")
        tries.refusals += 1
        tries.breaks += fault.in_flight
        if tries.breaks >= limits.ENGINE_BREAKS_MAX:
            return Failure(fault.code, f"{fault.message} It was tried {tries.breaks} times.")
        chance = clock.jitter()
        wait = retry_delay_seconds(tries.refusals, fault.after_seconds, chance)
        if fault.in_flight:  # These are counted, so they are spread over time.
            wait = max(wait, retry_delay_seconds(tries.breaks, None, chance))
        if live and now + wait - tries.refused_since > limits.OPENING_PATIENCE_SECONDS:
            return Failure(fault.code, fault.message)
        await clock.sleep(wait)
        return None

    def _tell(self, what: str) -> None:
        """Log what keeps requests waiting, once in a while: they may be thousands."""
        now = clock.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + _TELL_SECONDS
            log.warning("engine %s %s", self.name, what)

    async def _pieces(
        self, prompt: Prompt, tries: _Tries, *, live: bool
    ) -> AsyncGenerator[str | Reply, None]:
        alone, cost = tries.alone, self.engine.cost(prompt)
        if alone or not self.places.try_take(cost, live=live):
            await self.places.take(cost, live=live, alone=alone)
        try:
            async with aclosing(self.engine.stream(prompt)) as pieces:
                while (piece := await self._in_time(anext(pieces, None))) is not None:
                    if isinstance(piece, Reply) and _is_loose(prompt):
                        _kept(piece, prompt)
                    yield piece
        finally:
            tries.joined = alone and self.places.joined
            self.places.give(cost, live=live, alone=alone)

    async def _in_time(self, piece: Awaitable[T]) -> T:
        """Wait for the next piece of a stream: each may take as long as a whole answer.

        Raises:
            EngineDown: it took longer.
        """
        since = clock.monotonic()
        try:
            async with asyncio.timeout(self._answer_seconds) as patience:
                return await piece
        except TimeoutError:
            if not patience.expired():
                raise
            raise self._hung(since) from None

    def _hung(self, since: float) -> EngineDown:
        """Tell the engine that it hangs, and give what counts as its death."""
        self.engine.hung(since)
        log.warning("engine %s hung for %g s over one request", self.name, self._answer_seconds)
        message = f"The engine gave no answer within {self._answer_seconds:g} s."
        return EngineDown(message, in_flight=True)

    async def _until_ready(self) -> None:
        try:
            await self.engine.ready()
        except EngineDown as fault:
            self.fault = fault
            self.opened.clear()
            self._broken.set()
            raise


def _is_special(asked: Asked) -> bool:
    """Tell whether something is asked for that not every engine can do."""
    if isinstance(asked, Passage):
        return asked.dimensions is not None
    return (
        asked.form is not None
        or asked.picture is not None
        or asked.calling is not None
        or asked.logprobs is not None
        or bool(asked.media)
    )


def _is_loose(asked: Asked) -> bool:
    form = asked.form if isinstance(asked, Prompt) else None
    return isinstance(form, JSONForm) and form.schema.loose


def _kept(reply: Reply, prompt: Prompt) -> Reply:
    """Give a reply that follows its schema, in what a grammar may not keep, too.

    One that a stop sequence has cut is no value any more, and is what was asked for.

    Raises:
        RequestFailed: it does not; another try may, unless the prompt wants the same answer always.
    """
    assert isinstance(prompt.form, JSONForm), "others are not loose"
    again = not prompt.sampling.reproducible
    for candidate in reply.candidates:
        if candidate.finish_reason is not FinishReason.STOP:
            continue
        try:
            kept = fits(json.decode(candidate.text), prompt.form.schema)
        except DecodeError:
            kept = bool(prompt.sampling.stop)
        if not kept:
            message = (
                f"{prompt.form.field}: the answer of the model does not follow it, in a keyword "
                "that is only looked at when it is there: a count, multipleOf or uniqueItems."
            )
            raise RequestFailed(message, code=Code.INTERNAL, retriable=again, after_seconds=0.0)
    return reply


def _numbers(embedding: Embedding) -> Embedding:
    """Give a vector that consists of numbers.

    Raises:
        RequestFailed: it does not; another try would compute the same.
    """
    if not embedding.finite:
        raise RequestFailed("The engine's vector holds what is no number.", code=Code.INTERNAL)
    return embedding


def _broken_off(fault: EngineFault) -> Failure:
    """Say why an answer ends in the middle."""
    if isinstance(fault, RequestFailed | EngineBusy):
        return Failure(fault.code, fault.message)
    return Failure(Code.UNAVAILABLE, "The engine died in the middle of the answer.")
