"""Turns submitted batches into shards."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from nightrate import clock, limits, planning_limits
from nightrate.domain.batch import Batch, Plan, batch_folder
from nightrate.domain.generation import Failure
from nightrate.domain.inspection import refusal
from nightrate.domain.shard import ShardPlan
from nightrate.errors import Code, Damaged, StoreFault
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs, Run
from nightrate.store.disk import is_full
from nightrate.work.plan import read_plan
from nightrate.work.planning_process import DISK_FULL, TooSlow, plan_file

log = logging.getLogger(__name__)


class PlanningFailed(Exception):
    """A planning process ended badly; the message holds the end of what it said."""


class Planner:
    """Plans batches, oldest first.

    A small input is planned in a thread, a large one in a process of its own, and neither waits for
    the other. Whatever interrupts it, a batch without shards is planned again from the start.
    """

    def __init__(self, store: Store, blobs: Blobs, run: Run, planned: Callable[[], None]) -> None:
        self._store = store
        self._blobs = blobs
        self._run = run
        self._planned = planned
        self._wakes = {True: asyncio.Event(), False: asyncio.Event()}
        self._attempts: dict[str, int] = {}
        self._planning: set[str] = set()
        """Batches whose plan is being written now, or recorded. A second writer would spoil it, for
        whoever still reads it, too."""

    def wake(self) -> None:
        """Look for submitted batches now."""
        for event in self._wakes.values():
            event.set()

    async def run(self) -> None:
        """Plan until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._plan_all(small=True))
            group.create_task(self._plan_all(small=False))

    async def _plan_all(self, *, small: bool) -> None:
        wake = self._wakes[small]
        while True:
            wake.clear()
            try:
                found = await self._plan_waiting(small=small)
            except (OSError, StoreFault) as error:
                log.error("planning waits: %s", error)  # noqa: TRY400 - the reason is all
                await clock.sleep(limits.DISK_PAUSE_SECONDS)
                continue
            if not found:
                # A batch may be there that nobody announced: who made it was told that its commit
                # had failed, and a commit can fail and be found done.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(limits.UPKEEP_SECONDS):
                        await wake.wait()

    async def _plan_waiting(self, *, small: bool) -> bool:
        """Plan what waits now; False when nothing did."""
        edge = planning_limits.PLAN_IN_PLACE_BYTES_MAX
        first, end = (0, edge) if small else (edge, None)
        waiting = await self._store.submitted_batches(
            limits.CLAIMABLE_BATCHES_MAX, bytes_from=first, bytes_below=end
        )
        for batch in waiting:
            await self._plan(batch)
        return bool(waiting)

    async def plan_ended(self, batch: Batch) -> bool:
        """Cut a batch that ended before it was planned, so that its requests can be told so.

        Returns:
            False when it is being planned already.

        Raises:
            PlanningFailed, Damaged: its input cannot be read.
            OSError: the disk refused.
        """
        await self._blobs.make(batch_folder(batch.tenant, batch.batch_id))
        if batch.batch_id in self._planning:
            return False
        with self._alone(batch):
            plan, shards = await self._cut(batch)
            await self._store.open_batch(batch, plan, shards, clock.now())
        return True

    @contextlib.contextmanager
    def _alone(self, batch: Batch) -> Iterator[None]:
        self._planning.add(batch.batch_id)
        try:
            yield
        finally:
            self._planning.discard(batch.batch_id)

    async def _cut(self, batch: Batch) -> tuple[Plan, Iterator[ShardPlan]]:
        output = self._blobs.path(f"{batch_folder(batch.tenant, batch.batch_id)}/plan")
        small = batch.input_bytes < planning_limits.PLAN_IN_PLACE_BYTES_MAX
        if not small or not await self._plan_in_place(batch, output):
            await self._plan_in_process(batch, output)
        return await self._run(lambda: read_plan(output))

    async def _plan(self, batch: Batch) -> None:
        await self._blobs.make(batch_folder(batch.tenant, batch.batch_id))
        if batch.batch_id in self._planning:  # it has ended since it was found waiting
            return
        with self._alone(batch):
            await self._plan_alone(batch)

    async def _plan_alone(self, batch: Batch) -> None:
        try:
            plan, shards = await self._cut(batch)
        except (PlanningFailed, Damaged, OSError) as fault:
            if isinstance(fault, OSError) and is_full(fault):
                raise  # no fault of the batch: it waits for space
            await self._failed(batch, fault)
            return
        self._attempts.pop(batch.batch_id, None)
        now = clock.now()
        if (failure := _refusal(plan, batch)) is not None:
            await self._store.fail_batch(batch, plan, failure, now)
            await self._blobs.delete(f"{batch_folder(batch.tenant, batch.batch_id)}/plan")
        elif await self._store.open_batch(batch, plan, shards, now):
            self._planned()  # the plan file stays until the batch is tidied (`work.tidy`)

    async def _plan_in_place(self, batch: Batch, output: Path) -> bool:
        """Plan a small input; False when it takes too long for a thread of the server."""
        source = self._blobs.path(batch.input_blob)
        seconds_max = planning_limits.PLAN_IN_PLACE_SECONDS_MAX
        try:
            await self._run(lambda: plan_file(source, output, batch.model, batch.kind, seconds_max))
        except TooSlow:
            return False
        except OSError:
            raise
        except Exception as error:  # as in a process: one input must not stop the server for ever
            log.exception("batch %s was not planned by a mistake of the server", batch.batch_id)
            raise PlanningFailed(type(error).__name__) from error
        return True

    async def _plan_in_process(self, batch: Batch, output: Path) -> None:
        source = self._blobs.path(batch.input_blob)
        command = [sys.executable, "-m", "nightrate.work.planning_process"]
        process = await asyncio.create_subprocess_exec(
            *command,
            *(str(source), str(output), batch.model, msgspec.json.encode(batch.kind).decode()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == DISK_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(output))
        if process.returncode != 0:
            last = said.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            message = f"the planning process ended with status {process.returncode}: {last[0]}"
            raise PlanningFailed(message)

    async def _failed(self, batch: Batch, fault: Exception) -> None:
        """Try again, or fail a batch whose planning failed too often."""
        attempts = self._attempts.get(batch.batch_id, 0) + 1
        self._attempts[batch.batch_id] = attempts
        log.warning("planning batch %s failed (try %d): %s", batch.batch_id, attempts, fault)
        if attempts < planning_limits.PLAN_ATTEMPTS_MAX:
            await clock.sleep(limits.IDLE_POLL_SECONDS)
            return
        del self._attempts[batch.batch_id]
        message = f"The input could not be read {attempts} times; see the server's log."
        await self._store.fail_batch(batch, None, Failure(Code.INTERNAL, message), clock.now())


def _refusal(plan: Plan, batch: Batch) -> Failure | None:
    """Say why a planned input is not run at all, if it is not."""
    if batch.kind.unique_keys:
        return _faulty(plan) if plan.input_faults else None
    why = refusal(plan, strict=batch.strict)
    return None if why is None else Failure(Code.INVALID_ARGUMENT, why)


def _faulty(plan: Plan) -> Failure:
    listed = "\n".join(fault.message for fault in plan.input_faults)
    return Failure(Code.INVALID_ARGUMENT, f"The input was not accepted.\n{listed}")
