"""The judge of every campaign: result files as a client reads them, data directories at rest.

Each function gives what is wrong as sentences; an empty list is what we want. A directory is looked
at while no server uses it, and its database only in a copy, so that looking changes nothing.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from nightrate.domain.states import FINAL_STATES, ShardState
from nightrate.testing.simulation.figures import told_tokens
from nightrate.work.journal import MAGIC, records
from tests.acceptance.server import counters, text_of

FINAL = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"}


# what clients read ----------------------------------------------------------------------------


def wrong_in_lines(
    lines: Sequence[Any], expected: Mapping[str, str], *, partial: bool = False
) -> list[str]:
    """Compare result lines with what was asked: each key once, in order, with its own answer.

    Args:
        lines: decoded result lines.
        expected: the answer's text by key, in input order.
        partial: whether requests may have an error instead, as those of a cancelled batch.
    """
    keys, found = list(expected), [_key_of(line) for line in lines]
    if found != keys:
        return [_order_told(keys, found)]
    wrong = []
    for key, line in zip(keys, lines, strict=True):
        if "error" in line:
            if not partial:
                wrong.append(f"{key} has an error: {line['error'].get('message')}")
        elif text_of(line) != expected[key]:
            wrong.append(f"{key} was answered {text_of(line)[:60]!r}, not {expected[key][:60]!r}")
    return wrong


def _key_of(line: Any) -> str:
    """Give the key of a line of a file, or of an inline response."""
    return str(line["key"] if "key" in line else line.get("metadata", {}).get("key"))


def _order_told(keys: list[str], found: list[str]) -> str:
    missing = [key for key in keys if key not in set(found)]
    strange = [key for key in found if key not in set(keys)]
    doubled = len(found) - len(set(found))
    return (
        f"{len(found)} lines for {len(keys)} requests: missing {missing[:5]}, of others"
        f" {strange[:5]}, {doubled} doubled, in order: {sorted(found) == sorted(keys)}"
    )


class Watched(msgspec.Struct):
    """What one client saw of one batch; a later look may add to it and change nothing."""

    succeeded: int = 0
    failed: int = 0
    state: str = ""
    prefix: bytes = b""
    """The most that was read of its result file."""

    def look(self, document: Any) -> list[str]:
        """Take in the document of the batch."""
        state = str(document["metadata"]["state"])
        whole, *parts = counters(document)
        _, succeeded, failed = parts
        wrong = []
        if whole not in {None, sum(parts)}:
            wrong.append(f"the counters {parts} do not add up to {whole}")
        if succeeded < self.succeeded or failed < self.failed:
            before = (self.succeeded, self.failed)
            wrong.append(f"counters went back from {before} to {(succeeded, failed)}")
        if self.state in FINAL and state != self.state:
            wrong.append(f"it was {self.state} and is {state} now")
        self.succeeded, self.failed, self.state = succeeded, failed, state
        return wrong

    def read(self, content: bytes) -> list[str]:
        """Take in what the result file holds by now."""
        if not content.startswith(self.prefix):
            at = next(
                (i for i, (a, b) in enumerate(zip(content, self.prefix, strict=False)) if a != b),
                len(content),
            )
            return [f"result bytes that were seen have changed or vanished at byte {at}"]
        self.prefix = content
        return []


# what lies on the disk ------------------------------------------------------------------------


class Directory:
    """A data directory that no server uses, looked at from outside."""

    def __init__(self, data: Path) -> None:
        self._blobs = data / "blobs"
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self.wrong: list[str] = []
        """What is wrong with the database file itself."""
        with tempfile.TemporaryDirectory(prefix="nightrate-check-") as folder:
            for path in data.glob("state.sqlite*"):
                if not path.name.endswith("-shm"):
                    shutil.copyfile(path, Path(folder) / path.name)
            self._look(Path(folder) / "state.sqlite")

    def _look(self, database: Path) -> None:
        if not database.exists():
            return
        try:
            connection = apsw.Connection(str(database), vfs="unix")
            try:
                found = connection.execute("PRAGMA integrity_check").get
                if found != "ok":
                    self.wrong.append(f"the database is damaged: {found}")
                for table in ("batch", "shard", "file", "upload", "cached_content", "event"):
                    self._rows[table] = _rows(connection, table)
            finally:
                connection.close()
        except apsw.Error as error:
            self.wrong.append(f"the database cannot be read: {error}")

    def _table(self, name: str) -> list[dict[str, Any]]:
        return self._rows.get(name, [])

    def wrong_now(self) -> list[str]:
        """Check what must hold at every moment, also right after a crash or a power cut."""
        return [
            *self.wrong,
            *self._wrong_in_files(),
            *(fault for row in self._table("shard") for fault in self._wrong_in_shard(row)),
            *self._wrong_in_events(),
        ]

    def wrong_at_rest(self, *, swept: bool = True) -> list[str]:
        """Check what must hold when all work is done.

        Args:
            swept: whether upkeep had the time to delete what nothing names, which is two leases.
        """
        return [
            *self.wrong_now(),
            *(f"nothing names blob {name}" for name in self._leftovers() if swept),
            *(
                f"batch {row['batch_id']} is {row['state']}"
                for row in self._table("batch")
                if row["state"] not in FINAL_STATES
            ),
        ]

    def sealed(self) -> set[str]:
        """Name the segments that are published."""
        return {row["segment_blob"] for row in self._table("shard") if row["segment_blob"]}

    # every moment

    def _wrong_in_files(self) -> Iterator[str]:
        for row in self._table("file"):
            if row["blob"] is None or row["deleted_at"] is not None:
                continue
            content = self._content(row["blob"])
            if content is None or len(content) != row["size_bytes"]:
                yield f"file {row['file_id']} has not its {row['size_bytes']} bytes"
        for row in self._table("upload"):
            content = self._content(row["blob"]) or b""
            if row["state"] == "active" and len(content) < row["received_bytes"]:
                yield f"upload {row['upload_id']} lost bytes: {len(content)} are there"
        for row in self._table("batch"):
            live = row["state"] not in FINAL_STATES
            if live and self._content(row["input_blob"]) is None:
                yield f"batch {row['batch_id']} has no input any more"
        for row in self._table("cached_content"):
            if self._content(row["blob"]) is None:
                yield f"cached content {row['cache_id']} has no bytes"

    def _wrong_in_shard(self, row: dict[str, Any]) -> list[str]:
        name = f"shard {row['shard']} of batch {row['batch_id']}"
        if row["state"] != ShardState.SEALED:
            return list(self._wrong_in_journals(name, row))
        if any(batch["deleted_at"] for batch in self._batches(row["batch_id"])):
            return []
        content = self._content(row["segment_blob"])
        if content is None:
            return [f"{name}: its segment is missing"]
        wrong = []
        if len(content) != row["segment_bytes"] or zlib.crc32(content) != row["segment_crc32"]:
            wrong.append(f"{name}: its segment is not what was sealed")
        if content.count(b"\n") != row["request_count"]:
            wrong.append(f"{name}: {content.count(10)} lines for {row['request_count']} requests")
        if row["succeeded"] + row["failed"] != row["request_count"]:
            wrong.append(f"{name}: its counters do not add up")
        return wrong or _wrong_in_tokens(name, row, content)

    def _wrong_in_journals(self, name: str, row: dict[str, Any]) -> Iterator[str]:
        folder = f"batches/{row['tenant']}/{row['batch_id']}/journal"
        for part in row["journal"].split():
            epoch, length = map(int, part.split(":"))
            if not length:
                continue
            content = self._content(f"{folder}/{row['shard']:08d}.{epoch}") or b""
            end = len(MAGIC)
            for record in records(content[len(MAGIC) : length], len(MAGIC)):
                end = record.offset + record.length
            if not content.startswith(MAGIC) or end != length:
                yield f"{name}: journal {epoch} is whole to byte {end} of {length} that count"

    def _wrong_in_events(self) -> Iterator[str]:
        told = {row["batch_id"] for row in self._table("event")}
        for row in self._table("batch"):
            if row["state"] in FINAL_STATES and row["batch_id"] not in told:
                yield f"batch {row['batch_id']} ended without its event"

    def _batches(self, batch_id: str) -> list[dict[str, Any]]:
        return [row for row in self._table("batch") if row["batch_id"] == batch_id]

    # names

    def _leftovers(self) -> list[str]:
        """Name the blobs that no row names, but for those in the folder of a deleted batch.

        That folder goes as a whole when its results can no longer be asked for.
        """
        going = tuple(
            f"batches/{row['tenant']}/{row['batch_id']}/"
            for row in self._table("batch")
            if row["deleted_at"] is not None
        )
        found = set(self._stored()) - set(self._named())
        return sorted(name for name in found if not name.startswith(going))

    def _content(self, name: str) -> bytes | None:
        path = self._blobs / name
        return path.read_bytes() if path.is_file() else None

    def _stored(self) -> Iterator[str]:
        for path in self._blobs.rglob("*"):
            if path.is_file():
                yield str(path.relative_to(self._blobs))

    def _named(self) -> Iterator[str]:
        """Name all that may lie there: rows name it, or the batch is still to be tidied."""
        for table in ("file", "upload", "cached_content"):
            yield from (row["blob"] for row in self._table(table) if row["blob"])
        for row in self._table("batch"):
            yield row["input_blob"]
        for row in self._table("shard"):
            if row["segment_blob"]:
                yield row["segment_blob"]


def _wrong_in_tokens(name: str, row: dict[str, Any], content: bytes) -> list[str]:
    """Compare what is counted with what the lines tell, where each answer among them tells it."""
    told = [tokens for line in content.splitlines() if (tokens := told_tokens(line)) is not None]
    if len(told) != row["succeeded"]:
        return []  # vectors
    sums = [sum(column) for column in zip(*told, strict=True)] or [0, 0, 0, 0]
    names = ("prompt_tokens", "output_tokens", "cached_tokens", "thought_tokens")
    counted = [row[column] for column in names]
    return (
        [] if counted == sums else [f"{name}: counts the tokens {counted}, its lines tell {sums}"]
    )


def _rows(connection: apsw.Connection, table: str) -> list[dict[str, Any]]:
    exists = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).get
    if not exists:
        return []
    cursor = connection.execute(f"SELECT * FROM {table}")  # noqa: S608 - a word of ours
    names: list[str] | None = None
    rows = []
    for row in cursor:
        names = names or [column[0] for column in cursor.get_description()]
        rows.append(dict(zip(names, row, strict=True)))
    return rows
