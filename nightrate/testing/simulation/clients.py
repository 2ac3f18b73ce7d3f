"""Clients: they upload, order, look, change their minds, and remember what they were told.

A client is outside every process. A call that breaks off leaves it in doubt, as in life: what it
was told before must hold all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from nightrate import clock
from nightrate.clock import Instant
from nightrate.domain.batch import Batch, BatchForm, Change, Once, Order, PartialResults
from nightrate.domain.file import Page, ResultPart, result_file_id
from nightrate.domain.states import FINAL_STATES
from nightrate.domain.webhook import EVENTS, WebhookConfig, WebhookWish
from nightrate.errors import Conflict, NotFound, Precondition
from nightrate.testing.simulation.chance import Chance
from nightrate.testing.simulation.doors import (
    BrokenOff,
    Doors,
    Verb,
    append,
    download,
    follow,
    read_items,
)
from nightrate.testing.simulation.ledger import (
    KINDS,
    MODEL,
    Ledger,
    Ordered,
    Stored,
    Word,
    write_lines,
)
from nightrate.testing.simulation.rooms import Server
from nightrate.testing.simulation.world import Violation

S = TypeVar("S")
T = TypeVar("T")

REST: Final = {state: rank for rank, state in enumerate(("submitted", "planned", "running"))}
FINAL: Final = {str(state) for state in FINAL_STATES}
PIECE_BYTES: Final = 150


class Client:
    """One client of a tenant.

    Args:
        doors: where it calls.
        ledger: where it writes down what it knows.
        tenant: on whose behalf it calls.
        chance: what it does next.
        requests: how many it has to send.
    """

    def __init__(
        self, doors: Doors, ledger: Ledger, tenant: str, chance: Chance, requests: int
    ) -> None:
        self._doors = doors
        self._world = doors.world
        self._ledger = ledger
        self._tenant = tenant
        self._chance = chance
        self._left = requests
        self._ordered = 0

    async def run(self) -> None:
        """Call until all is quiet, then look at everything once more."""
        if self._chance.happens(0.5):
            await self._register()
        while not self._world.quiet:
            await clock.sleep(self._chance.between(0.1, 3))
            try:
                await self._act()
            except BrokenOff:
                self._world.tell(f"{self._tenant} heard no answer")
        await self._settle()

    async def _act(self) -> None:
        known = self._ledger.of(self._tenant)
        if self._left > 0 and (not known or self._chance.happens(0.6)):
            await self._order()
            return
        if not known:
            await clock.sleep(1)
            return
        ordered = self._chance.one_of(known)
        acts = (
            *(self._look, self._look, self._list, self._read, self._read, self._follow),
            *(self._follow, self._change, self._cancel, self._delete, self._forget_input),
        )
        act = self._chance.one_of(acts)
        self._world.tell(f"{self._tenant} {act.__name__} {ordered.name}")
        await act(ordered)

    async def _register(self) -> None:
        """Have a webhook."""
        uri = f"https://receiver.example/{self._tenant}"
        wish = WebhookWish(name="all", uri=uri, events=tuple(sorted(EVENTS)))
        hook = self._chance.new_id(8)
        try:
            await self._doors.insist(lambda it: it.webhooks.create(self._tenant, wish, hook))
        except Conflict:
            return  # an earlier try was heard

    # making -----------------------------------------------------------------------------------

    async def _order(self) -> None:
        """Upload what is needed, and order a batch."""
        chance = self._chance
        kind = chance.one_of(KINDS)
        lines = write_lines(chance, kind, min(chance.whole(1, 14), max(1, self._left)))
        self._left -= len(lines)
        self._ordered += 1
        name = f"{self._tenant}-{chance.new_id(4)}-{self._ordered}"
        uris = (f"https://receiver.example/{name}",) if chance.happens(0.5) else ()
        ordered = Ordered(tenant=self._tenant, name=name, kind=kind, lines=lines, uris=uris)
        inline, file_name = None, None
        if kind.form is BatchForm.INLINE:
            inline = tuple(line.data for line in lines)
        else:
            end = b"\n" if chance.happens(0.7) else b""
            data = b"\n".join(line.data for line in lines) + end
            file_name = (await self._upload(data)).file_id
        order = Order(
            display_name=name,
            priority=chance.whole(-1, 1),
            file_name=file_name,
            inline=inline,
            webhook=WebhookConfig(uris=uris, user_metadata=None) if uris else None,
            method=kind.method,
            dialect=kind.dialect,
            lifetime_seconds=chance.one_of((None, None, None, chance.whole(5, 300))),
        )
        await self._submit(ordered, order)

    async def _submit(self, ordered: Ordered, order: Order) -> None:
        """Order; with a key the call may be repeated, without one a doubt stays a doubt."""
        once = Once(key=ordered.name, digest=ordered.name) if self._chance.happens(0.6) else None
        call = self._doors.call if once is None else self._doors.insist
        ordered.created = Word.ASKED
        self._ledger.orders[ordered.name] = ordered
        self._world.tell(f"{self._tenant} orders {len(ordered.lines)} requests as {ordered.name}")
        try:
            batch = await call(lambda it: it.batches.submit(self._tenant, MODEL, order, once=once))
        except NotFound:
            if order.inline is None:
                return  # its file was deleted meanwhile by another client of the tenant
            raise Violation(f"{ordered.name} was refused") from None
        ordered.batch_id, ordered.created = batch.batch_id, Word.KNOWN
        self._world.tell(f"{ordered.name} is {batch.batch_id}")

    async def _upload(self, data: bytes) -> Stored:
        """Upload bytes in pieces, going on where the server says."""
        while True:
            try:
                upload = await self._doors.call(
                    lambda it: it.files.start_upload(
                        self._tenant, display_name=None, mime_type="text/plain", file_id=None
                    )
                )
                stored = await self._send(upload.upload_id, data)
            except BrokenOff:
                await clock.sleep(1)  # a session that nobody heard of ends by itself
            except (Precondition, NotFound) as fault:
                if not self._world.refusals:
                    raise Violation(f"an upload is gone: {fault.message}") from fault
                await clock.sleep(1)  # the disk refused its bytes, and it was given up
            else:
                self._ledger.files[self._tenant, stored.file_id] = stored
                return stored

    async def _send(self, upload_id: str, data: bytes) -> Stored:
        told = 0
        while told < len(data):
            end = min(len(data), told + self._chance.whole(1, 3 * PIECE_BYTES))
            piece, whole = data[told:end], not self._chance.happens(0.1)
            try:
                grown = await self._doors.call(append(upload_id, told, piece, whole=whole))
            except BrokenOff:
                grown = await self._doors.insist(lambda it: it.files.query(upload_id))
            if not told <= grown.received_bytes <= end:
                raise Violation(
                    f"an upload had {told} acknowledged bytes, now {grown.received_bytes}"
                )
            told = grown.received_bytes
        file = await self._doors.insist(lambda it: it.files.finalize(upload_id))
        stored = Stored(tenant=self._tenant, file_id=file.file_id, data=data)
        if (file.size_bytes, file.sha256) != (len(data), stored.sha256):
            raise Violation(f"file {file.file_id} is not what was uploaded")
        return stored

    # looking ----------------------------------------------------------------------------------

    async def _get(self, ordered: Ordered) -> Batch | None:
        """Look at a batch; what was acknowledged about it must show."""
        deleted = ordered.deleted
        batch_id = ordered.batch_id or ""
        try:
            batch = await self._doors.call(lambda it: it.batches.get(self._tenant, batch_id))
        except NotFound:
            if ordered.deleted is Word.NEVER:
                raise Violation(f"{ordered.name} was acknowledged and is gone") from None
            return None
        if deleted is Word.KNOWN:
            raise Violation(f"{ordered.name} was deleted and is there again")
        return batch

    async def _look(self, ordered: Ordered) -> Batch | None:
        cancelled, seen = ordered.cancelled, ordered.state_seen
        batch = await self._get(ordered)
        if batch is None:
            return None
        state = str(batch.state)
        if cancelled is Word.KNOWN and state not in FINAL:
            raise Violation(f"{ordered.name} was cancelled and is {state}")
        if seen in FINAL and state != seen:
            raise Violation(f"{ordered.name} was {seen} and is {state}")
        if REST.get(state, 9) < REST.get(seen, 0):
            raise Violation(f"{ordered.name} was {seen} and is {state}")
        if ordered.state_seen not in FINAL:
            ordered.state_seen = state
        done = batch.tally.succeeded + batch.tally.failed
        if batch.request_count is not None and done > batch.request_count:
            raise Violation(f"{ordered.name} has {done} answers to {batch.request_count} requests")
        return batch

    async def _list(self, ordered: Ordered) -> None:
        """Look at all of them, and at what belongs to somebody else."""
        must = {one.batch_id for one in self._ledger.of(self._tenant) if one.deleted is Word.NEVER}
        found: set[str] = set()
        after = None
        while True:
            page = Page(size=2, after=after)
            batches, after = await self._doors.call(partial(_list, self._tenant, page))
            found |= {batch.batch_id for batch in batches}
            if after is None:
                break
        gone = {one.batch_id for one in self._ledger.of(self._tenant) if one.deleted is Word.NEVER}
        if not must & gone <= found:
            raise Violation(f"batches of {self._tenant} are missing in their list")
        batch_id = ordered.batch_id or ""
        try:
            await self._doors.call(lambda it: it.batches.get("stranger", batch_id))
        except NotFound:
            return
        raise Violation("a stranger can see a batch")

    async def _read(self, ordered: Ordered) -> None:
        """Download what there is of the results."""
        if ordered.kind.form is BatchForm.INLINE:
            await self._read_items(ordered)
            return
        for part in _parts(ordered):
            file_id = result_file_id(ordered.batch_id or "", part)
            pieces: list[bytes] = []
            try:
                await self._doors.call(download(self._tenant, file_id, pieces), ordered.may_be_gone)
            except NotFound:
                if ordered.results_seen.get(file_id) and ordered.deleted is Word.NEVER:
                    raise Violation(f"the results of {ordered.name} are gone") from None
            finally:
                self._saw(ordered, file_id, b"".join(pieces))

    async def _read_items(self, ordered: Ordered) -> None:
        batch = await self._get(ordered)
        if batch is None:
            return
        pieces: list[bytes] = []
        try:
            await self._doors.call(read_items(batch, pieces), ordered.may_be_gone)
        finally:
            self._saw(ordered, "items", b"".join(pieces))

    async def _follow(self, ordered: Ordered) -> None:
        """Read the results while they grow."""
        part = self._chance.one_of(_parts(ordered))
        file_id = result_file_id(ordered.batch_id or "", part)
        pieces: list[bytes] = []
        try:
            await self._doors.call(follow(self._tenant, file_id, part, pieces), ordered.may_be_gone)
        finally:
            self._saw(ordered, file_id, b"".join(pieces))

    def _saw(self, ordered: Ordered, file_id: str, content: bytes) -> None:
        """Compare what was read now with what was read before: results only grow."""
        before = ordered.results_seen.get(file_id, b"")
        shared = min(len(before), len(content))
        if before[:shared] != content[:shared]:
            raise Violation(f"the results of {ordered.name} changed in {file_id}")
        if len(content) > len(before):
            ordered.results_seen[file_id] = content

    # changing their minds ---------------------------------------------------------------------

    async def _change(self, ordered: Ordered) -> None:
        change = Change(priority=self._chance.whole(-2, 2))
        batch_id = ordered.batch_id or ""
        await self._existing(ordered, lambda it: it.batches.update(self._tenant, batch_id, change))

    async def _cancel(self, ordered: Ordered) -> None:
        batch_id = ordered.batch_id or ""
        ordered.cancelled = max(ordered.cancelled, Word.ASKED, key=list(Word).index)
        if await self._existing(ordered, lambda it: it.batches.cancel(self._tenant, batch_id)):
            ordered.cancelled = Word.KNOWN

    async def _delete(self, ordered: Ordered) -> None:
        if self._chance.happens(0.5):
            return
        batch_id = ordered.batch_id or ""
        ordered.deleted = max(ordered.deleted, Word.ASKED, key=list(Word).index)

        async def delete(it: Server) -> bool:
            await it.batches.delete(self._tenant, batch_id)
            return True

        await self._existing(ordered, delete)
        ordered.deleted = Word.KNOWN

    async def _existing(self, ordered: Ordered, verb: Verb[T]) -> T | None:
        """Call a verb about a batch; None when it was deleted."""
        try:
            return await self._doors.call(verb)
        except NotFound:
            if ordered.deleted is Word.NEVER:
                raise Violation(f"{ordered.name} was acknowledged and is gone") from None
            return None

    async def _forget_input(self, _ordered: Ordered) -> None:
        """Delete an uploaded file, which may be in use."""
        mine = [one for one in self._ledger.files.values() if one.tenant == self._tenant]
        if not mine:
            return
        stored = self._chance.one_of(mine)
        was, stored.deleted = stored.deleted, max(stored.deleted, Word.ASKED, key=list(Word).index)
        try:
            await self._doors.call(lambda it: it.files.delete(self._tenant, stored.file_id))
        except NotFound:
            if was is Word.NEVER:
                raise Violation(f"file {stored.file_id} was acknowledged and is gone") from None
        stored.deleted = Word.KNOWN

    # the end ----------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Look at everything until it has ended, and read it."""
        for ordered in self._ledger.of(self._tenant):
            while not await self._firmly(self._has_settled, ordered):
                await clock.sleep(2)
            await self._firmly(self._read, ordered)
        for stored in [one for one in self._ledger.files.values() if one.tenant == self._tenant]:
            await self._firmly(self._check_file, stored)

    async def _firmly(self, act: Callable[[S], Coroutine[Any, Any, T]], about: S) -> T:
        """Do something until there is an answer."""
        while True:
            try:
                return await act(about)
            except BrokenOff:
                await clock.sleep(1)

    async def _has_settled(self, ordered: Ordered) -> bool:
        batch = await self._look(ordered)
        if batch is None:
            return True
        return str(batch.state) in FINAL and batch.partial is not PartialResults.DUE

    async def _check_file(self, stored: Stored) -> None:
        deleted = stored.deleted  # as it was known before the call: another client may delete it
        pieces: list[bytes] = []
        try:
            await self._doors.call(download(self._tenant, stored.file_id, pieces))
        except NotFound:
            if stored.deleted is Word.NEVER:
                raise Violation(f"file {stored.file_id} was acknowledged and is gone") from None
            return
        if deleted is Word.KNOWN:
            raise Violation(f"file {stored.file_id} was deleted and is there again")
        if b"".join(pieces) != stored.data:
            raise Violation(f"file {stored.file_id} is not what was uploaded")


async def _list(
    tenant: str, page: Page, it: Server
) -> tuple[list[Batch], tuple[Instant, str] | None]:
    return await it.batches.list(tenant, page)


def _parts(ordered: Ordered) -> list[ResultPart]:
    return list(ResultPart) if ordered.kind.parts_failures else [ResultPart.OUTPUT]
