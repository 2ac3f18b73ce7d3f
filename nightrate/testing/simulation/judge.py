"""The judge: looks at the database and the disk after every change, and knows what may follow.

It reads with a connection of its own, and knows the layout of what is stored. What clients could
see is compared with what they could see before; what the rows name must be on the disk, synced.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Final

import apsw
from msgspec import json, structs

from nightrate import clock, limits
from nightrate.domain.states import BATCH_TABLE, FINAL_STATES, BatchState
from nightrate.domain.webhook import Delivery
from nightrate.testing.simulation.figures import Figures, within
from nightrate.testing.simulation.ledger import Ledger, Ordered
from nightrate.testing.simulation.rows import BatchRow, FileRow, ShardRow, UploadRow
from nightrate.testing.simulation.world import Violation, World
from nightrate.work.journal import MAGIC, records

_STEPS: Final = {
    (str(old), str(new)) for table in BATCH_TABLE.values() for old, new in table.items()
}
_FINAL: Final = {str(state) for state in FINAL_STATES}


_TABLES: Final[dict[str, tuple[type[Any], int]]] = {
    "batch": (BatchRow, 2),
    "shard": (ShardRow, 3),
    "upload": (UploadRow, 2),
    "file": (FileRow, 2),
}
_LAID_DOWN: Final = (
    *("tenant", "model", "form", "dialect", "input_blob", "input_bytes", "created_at"),
    "expires_at",
)
_ENDED: Final = ("state", "ended_at", "failure_code", "failure_message")


class Judge:
    """Compares what is with what was."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self.world = world
        self.ledger = ledger
        self.takeovers = self.batches_ended = self.seals = 0
        self.violation: Violation | None = None
        self.owners: set[str] = set()
        self.figures = Figures()
        self.ends: dict[tuple[str, str], str] = {}
        """The state in which each batch ended."""
        self._connection: apsw.Connection | None = None
        self._version = -1
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _TABLES}
        self._known: dict[str, dict[tuple[Any, ...], Any]] = {name: {} for name in _TABLES}
        self._visible: dict[tuple[str, str, int], dict[int, bytes]] = {}
        self._heard: dict[tuple[str, str, str], set[str]] = {}

    def open(self, path: Path) -> None:
        """Begin to look at a database."""
        self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        self._connection.execute("PRAGMA query_only=ON")

    def close(self) -> None:
        """Look no more."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the database."""
        assert self._connection is not None, "opened"
        return self._connection.execute(text, values).fetchall()

    def batches(self) -> list[BatchRow]:
        """Give all batches as they stood at the last look."""
        return list(self._known["batch"].values())

    def shards_of(self, batch: BatchRow) -> list[ShardRow]:
        """Give the shards of a batch as they stood at the last look."""
        key = (batch.tenant, batch.batch_id)
        return [row for name, row in self._known["shard"].items() if name[:2] == key]

    def visible(self, row: ShardRow) -> dict[int, bytes]:
        """Give the answers of a shard that clients can see or will see, by index."""
        return self._visible[row.tenant, row.batch_id, row.shard]

    # after every change -----------------------------------------------------------------------

    def look(self, *, again: bool = False) -> None:
        """Look at what has changed; with ``again``, at everything.

        Raises:
            Violation: something is what it must not be.
        """
        (version,) = self.ask("PRAGMA data_version")[0]
        if version == self._version and not again:
            return
        self._version = version
        changed = {name: self._changes(name, again=again) for name in _TABLES}
        for old, new in changed["batch"]:
            self._batch(old, new)
        for old, new in changed["shard"]:
            self._shard(old, new)
        for old, new in changed["upload"]:
            self._upload(old, new)
        for _, new in changed["file"]:
            if new is not None and new.blob is not None:
                self._durable(new.blob, new.size_bytes, f"file {new.file_id}")

    def _changes(self, table: str, *, again: bool) -> list[tuple[Any, Any]]:
        kind, key_length = _TABLES[table]
        columns = ", ".join(kind.__struct_fields__)
        rows = self.ask(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3")  # noqa: S608
        if rows == self._rows[table] and not again:
            return []
        known = self._known[table]
        old_rows = set() if again else set(self._rows[table])
        found = {row[:key_length]: row for row in rows}
        changed = [
            (known.get(key), kind(*row)) for key, row in found.items() if row not in old_rows
        ]
        changed += [(known[key], None) for key in known if key not in found]
        self._rows[table] = rows
        self._known[table] = {
            key: known[key] if row in old_rows else kind(*row) for key, row in found.items()
        }
        return changed

    def _require(self, true: object, message: str) -> None:
        if not true:
            raise Violation(message)

    def _durable(self, blob: str, size: int, what: str) -> None:
        """Demand that a power cut would leave what a row names."""
        self._require(
            self.world.disk.is_durable(blob, size),
            f"{what} names {size} bytes of {blob}, which a power cut would take",
        )

    def order_of(self, batch: BatchRow) -> Ordered:
        """Find what a client ordered as this batch."""
        ordered = self.ledger.orders.get(batch.display_name)
        if ordered is None or ordered.tenant != batch.tenant:
            raise Violation(f"nobody ordered batch {batch.batch_id}")
        return ordered

    # batches ----------------------------------------------------------------------------------

    def _batch(self, old: BatchRow | None, new: BatchRow | None) -> None:
        if new is None:
            assert old is not None, "one of them is there"
            self._require(self._may_go(old), f"batch {old.batch_id} was lost")
            return
        name = f"batch {new.batch_id}"
        if old is None:
            self.order_of(new)
            twins = [one for one in self.batches() if one.display_name == new.display_name]
            self._require(len(twins) == 1, f"{new.display_name} was ordered once and made twice")
            self._durable(new.input_blob, new.input_bytes, name)
            self._require(f"/{new.tenant}/" in new.input_blob, f"{name} reads a stranger's file")
            self._require(new.state == BatchState.SUBMITTED, f"{name} was born {new.state}")
            return
        changed = {
            field for field in new.__struct_fields__ if getattr(old, field) != getattr(new, field)
        }
        self._require(not changed & set(_LAID_DOWN), f"{name} changed its {changed}")
        if old.state in _FINAL:
            self._require(not changed & set(_ENDED), f"{name} had ended and changed its {changed}")
        elif new.state != old.state:
            step = (old.state, new.state)
            self._require(step in _STEPS, f"{name} went from {old.state} to {new.state}")
            if new.state in _FINAL:
                self._end(new)
        if "deleted_at" in changed:
            self._require(old.deleted_at is None, f"{name} was deleted and came back")
        if "partial" in changed:
            self._partial(old, new)

    def _end(self, batch: BatchRow) -> None:
        """A batch has just ended: its event was born with that, and nothing was left open."""
        self.batches_ended += 1
        self.ends[batch.tenant, batch.batch_id] = batch.state
        name = f"batch {batch.batch_id}"
        self._require(batch.ended_at is not None, f"{name} ended at no time")
        events = self.ask(
            "SELECT type FROM event WHERE tenant = ? AND batch_id = ?",
            *(batch.tenant, batch.batch_id),
        )
        wanted = [] if batch.deleted_at is not None else [(f"batch.{batch.state}",)]
        self._require(events == wanted, f"{name} ended as {batch.state} with the events {events}")
        ordered = self.order_of(batch)
        if wanted:
            found = self.ask(
                "SELECT target FROM delivery WHERE tenant = ? AND batch_id = ? ORDER BY target",
                *(batch.tenant, batch.batch_id),
            )
            hooks = self.ask(
                "SELECT webhook_id FROM webhook WHERE tenant = ? ORDER BY webhook_id", batch.tenant
            )
            targets = [(uri,) for uri in ordered.uris] or hooks
            self._require(found == targets, f"{name} tells {found}, not {targets}")
        running = [row for row in self.shards_of(batch) if row.state == "running"]
        self._require(not running, f"{name} ended as {batch.state} and its shards are held")
        if batch.state == BatchState.SUCCEEDED:
            unsealed = [row.shard for row in self.shards_of(batch) if row.state != "sealed"]
            self._require(not unsealed, f"{name} succeeded without its shards {unsealed}")
        if batch.state == BatchState.FAILED:
            self._require(ordered.spoiled, f"{name} failed: {batch.failure_message}")
        if batch.state == BatchState.EXPIRED:
            self._require(batch.expires_at <= self.world.latest, f"{name} expired too early")

    def _partial(self, old: BatchRow, new: BatchRow) -> None:
        name = f"batch {new.batch_id}"
        if old.partial is None:
            self._require(old.ended_at is None, f"the results of {name} became due too late")
        elif new.partial == "shown":
            unsealed = [row.shard for row in self.shards_of(new) if row.state != "sealed"]
            self._require(not unsealed, f"{name} shows results without its shards {unsealed}")
        else:
            dropped = new.deleted_at is not None or new.request_count == 0
            self._require(dropped, f"the results of {name} were dropped")

    # shards -----------------------------------------------------------------------------------

    def _shard(self, old: ShardRow | None, new: ShardRow | None) -> None:
        if new is None:
            assert old is not None, "one of them is there"
            self._require(self._forgotten(old), f"{old.name} was lost")
            del self._visible[old.tenant, old.batch_id, old.shard]
            return
        if old is None:
            self._require((new.state, new.epoch) == ("pending", 0), f"{new.name} was born {new}")
        elif new.epoch != old.epoch:
            self._claimed(old, new)
        elif new != old:
            self._went_on(old, new)
        self._see(new)

    def _claimed(self, old: ShardRow, new: ShardRow) -> None:
        """A claim: of a free shard, of a batch that still has work for somebody."""
        self.takeovers += old.epoch > 0
        self._require(new.epoch == old.epoch + 1, f"the epoch of {new.name} fell, or jumped")
        self._require(new.state == "running", f"{new.name} was claimed and is {new.state}")
        self._require(new.owner in self.owners, f"{new.name} belongs to {new.owner}")
        free = old.state == "pending" or (
            old.state == "running" and (old.lease_until or 0) <= self.world.latest
        )
        self._require(free, f"{new.name} was claimed while {old.owner} held it ({old.state})")
        batch = self._known["batch"][new.tenant, new.batch_id]
        closing = batch.partial == "due"
        self._require(
            batch.ended_at is None or closing,
            f"{new.name} was claimed after its batch was {batch.state}",
        )

    def _went_on(self, old: ShardRow, new: ShardRow) -> None:
        """Whatever else happens to a shard, its owner does it, or frees it."""
        name, step = new.name, (old.state, new.state)
        if old.state == "sealed":
            emptied = structs.replace(old, segment_blob=None)
            fine = new == emptied and self._forgotten(new)
            self._require(fine, f"{name} was sealed and has changed")
            return
        freed = structs.replace(old, state="pending", owner=None, lease_until=None)
        if step == ("running", "pending"):
            self._require(new == freed, f"{name} was freed and has changed")
        elif step == ("running", "sealed"):
            self.seals += 1
            self._require(
                (new.segment_blob or "").endswith(f"/{new.shard:08d}.{new.epoch}"),
                f"{name} was sealed in epoch {new.epoch} with {new.segment_blob}",
            )
        else:
            self._require(
                step == ("running", "running"), f"{name} went from {step[0]} to {step[1]}"
            )
            self._require(new.owner == old.owner, f"{name} has another owner in the same epoch")
            self._grew(old, new)
        fell = new.succeeded < old.succeeded or new.failed < old.failed
        self._require(not fell, f"the counters of {name} fell")

    def _grew(self, old: ShardRow, new: ShardRow) -> None:
        """Which journal bytes count is said by the owner: first what others left, then his own."""
        before, after = _parts(old.journal), _parts(new.journal)
        own = new.epoch
        message = f"{new.name} in epoch {own} counted {before}, and now {after}"
        self._require(list(after)[-1:] == [own], message)
        if own in before:
            grown = {**before, own: max(before[own], after[own])}
            self._require(after == grown, message)
            return
        *older, last = before.items()
        kept = dict(older) | {last[0]: max(last[1], after.get(last[0], 0))}
        self._require(
            after == {epoch: size for epoch, size in kept.items() if size} | {own: 0}, message
        )

    def _forgotten(self, row: ShardRow) -> bool:
        """Tell whether nobody can ask for the results of a shard any more."""
        batch = self._known["batch"].get((row.tenant, row.batch_id))
        return batch is None or batch.results is not None or self._may_go(batch)

    def _may_go(self, batch: BatchRow) -> bool:
        """Tell whether a batch was deleted, or has outlived its time."""
        if batch.deleted_at is not None:
            return True
        until = clock.later(batch.ended_at or self.world.latest, limits.RESULT_LIFETIME_SECONDS)
        return until <= self.world.latest

    def _see(self, row: ShardRow) -> None:
        """Compare the answers that can be seen now with those that could be seen before."""
        if row.state == "sealed" and row.segment_blob is None:
            return
        key = (row.tenant, row.batch_id, row.shard)
        before = self._visible.get(key, {})
        now = self._segment(row) if row.state == "sealed" else self._journals(row)
        for index, line in before.items():
            self._require(
                now.get(index) == line,
                f"answer {index} of {row.name} was {line!r}, now {now.get(index)!r}",
            )
        counted = row.succeeded + row.failed
        self._require(
            counted <= len(now), f"{counted} answers of {row.name} are counted, {len(now)} there"
        )
        if row.state == "sealed":
            self._require(counted == row.request_count, f"{row.name} counts {counted} answers")
        least, most = self.figures.bounds(
            row.batch_id, ((row.first_request + index, line) for index, line in now.items())
        )
        # What a freeze has added to the journals is counted at the next beat.
        fits = within(row.tally, least if counted == len(now) else None, most)
        self._require(fits, f"{row.name} counts {row.tally}, not {least} to {most}")
        self._visible[key] = now

    def _journals(self, row: ShardRow) -> dict[int, bytes]:
        visible: dict[int, bytes] = {}
        for epoch, length in _parts(row.journal).items():
            if not length:
                continue
            blob = f"batches/{row.tenant}/{row.batch_id}/journal/{row.shard:08d}.{epoch}"
            self._durable(blob, length, row.name)
            data = (self.world.disk.root / blob).read_bytes()[len(MAGIC) : length]
            end = 0
            for record in records(data, 0):
                end = record.offset + record.length
                if not record.step:
                    visible.setdefault(record.index, data[record.offset : end])
            self._require(end == len(data), f"{blob} is damaged before byte {length}")
        return visible

    def _segment(self, row: ShardRow) -> dict[int, bytes]:
        assert row.segment_blob is not None, "sealed"
        assert row.segment_bytes is not None, "sealed"
        self._durable(row.segment_blob, row.segment_bytes, row.name)
        data = (self.world.disk.root / row.segment_blob).read_bytes()
        sound = len(data) == row.segment_bytes and zlib.crc32(data) == row.segment_crc32
        self._require(sound, f"the segment of {row.name} is not what was published")
        batch = self._known["batch"][row.tenant, row.batch_id]
        lines = self.order_of(batch).lines
        keys = [line.key for line in lines]
        index_of = {key: index - row.first_request for index, key in enumerate(keys)}
        split = len(data) if row.segment_split is None else row.segment_split
        visible: dict[int, bytes] = {}
        for part in (data[:split], data[split:]):
            found = [(index_of[_key(line)], line) for line in part.splitlines()]
            indices = [index for index, _ in found]
            self._require(indices == sorted(indices), f"{row.name} is out of order: {indices}")
            self._require(not visible.keys() & set(indices), f"{row.name} answers twice")
            visible.update(found)
        self._require(
            sorted(visible) == list(range(row.request_count)),
            f"{row.name} answers {sorted(visible)}, not each of {row.request_count} once",
        )
        return visible

    # uploads and events -----------------------------------------------------------------------

    def _upload(self, old: UploadRow | None, new: UploadRow | None) -> None:
        if new is None:
            return
        name = f"upload {new.upload_id}"
        if old is not None:
            self._require(new.received_bytes >= old.received_bytes, f"{name} shrank")
            self._require(old.state in {"active", new.state}, f"{name} was {old.state}")
        if new.received_bytes and new.state == "active":
            self._durable(new.blob, new.received_bytes, name)

    def heard(self, delivery: Delivery) -> None:
        """A receiver hears of an event: never before it is true, and always under one id."""
        key = (delivery.tenant, delivery.batch_id or "")
        state = self.ends.get(key)
        self._require(
            f"batch.{state}" == delivery.type,
            f"a receiver heard {delivery.type} of batch {key[1]}, which is {state}",
        )
        ids = self._heard.setdefault((*key, delivery.target), set())
        ids.add(delivery.message_id)
        self._require(len(ids) == 1, f"a receiver heard of batch {key[1]} under the ids {ids}")

    def has_heard(self, tenant: str, batch_id: str, target: str) -> bool:
        """Tell whether a target took the event of a batch."""
        return (tenant, batch_id, target) in self._heard


def _parts(journal: str) -> dict[int, int]:
    """Read how many bytes of which epoch's journal count."""
    return {int(epoch): int(size) for epoch, size in (one.split(":") for one in journal.split())}


def _key(line: bytes) -> str:
    """Find the client's key in a result line, wherever the dialect puts it."""
    row: dict[str, Any] = json.decode(line)
    found = row.get("key") or row.get("custom_id") or row.get("metadata", {}).get("key")
    return str(found)
