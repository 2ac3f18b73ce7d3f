"""Planning: one pass over an input finds its requests, its faults and where to cut.

The result is a plan file: a first line with the format, one JSON line a shard, and a last line with
the totals and the CRC-32 of everything before it. A planning process writes it, the server reads it
back and records all shards in one transaction; a plan file without its last line is no plan.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec
from msgspec import Struct

from nightrate import limits, planning_limits
from nightrate.dialects.lines import LineRun, LineSplitter, RawLine
from nightrate.dialects.row import ParsedLine
from nightrate.dialects.rows import more_faults, no_row, parse_row, repeated_key, sound_reader
from nightrate.domain.batch import InputFault, Kind, Plan
from nightrate.domain.generation import Failure
from nightrate.domain.shard import ShardPlan
from nightrate.errors import Code, Damaged
from nightrate.work.repeats import Repeats

MAGIC = b"nightrate plan 1\n"


class _Cut(Struct, array_like=True, frozen=True):
    """A shard as the plan file holds it."""

    index: int
    first_request: int
    request_count: int
    first_line: int
    byte_offset: int
    byte_length: int


class _Total(Struct, frozen=True):
    """The last line of a plan file."""

    plan: Plan
    crc32: int


class Cutter:
    """Cuts consecutive requests into shards.

    The first shard is small, so that a batch answers early; later ones end at
    `planning_limits.SHARD_REQUESTS_MAX` requests or before `planning_limits.SHARD_BYTES_MAX`
    bytes. A line that is longer than that alone is a shard of its own.
    """

    def __init__(self) -> None:
        self._index = 0
        self._first_request = 0
        self._count = 0
        self._first_line = 0
        self._start = self._stop = 0
        """Where the open shard begins and ends in the input."""

    def add(self, number: int, offset: int, length: int, count: int = 1) -> ShardPlan | None:
        """Take the next request, or several that lie together and fit into one shard.

        Args:
            number: the line of the first.
            offset: where that begins in the input.
            length: of all their lines, in bytes.
            count: how many there are.

        Returns:
            the shard that ends before them, if one does.
        """
        cut = None
        if not self._fits(count, offset + length):
            cut = self.end()
        if not self._count:
            self._first_line, self._start = number, offset
        self._stop = offset + length
        self._count += count
        return cut

    def add_run(self, number: int, offset: int, pieces: list[bytes]) -> Iterator[ShardPlan]:
        """Take requests on consecutive lines; gives the shards that end before one of them.

        Args:
            number: the line of the first.
            offset: where that begins in the input.
            pieces: the lines without their line feeds.
        """
        done = 0
        while done < len(pieces):
            room = (self._requests_max - self._count) or planning_limits.SHARD_REQUESTS_MAX
            part = pieces[done : done + room]
            length = sum(map(len, part)) + len(part)
            start = self._start if self._count else offset
            if offset + length - start <= planning_limits.SHARD_BYTES_MAX:
                cut = self.add(number + done, offset, length, len(part))
            else:
                part = part[:1]
                length = len(part[0]) + 1
                cut = self.add(number + done, offset, length)
            if cut is not None:
                yield cut
            offset += length
            done += len(part)

    def _fits(self, count: int, stop: int) -> bool:
        if not self._count:
            return True
        many = self._count + count > self._requests_max
        return not many and stop - self._start <= planning_limits.SHARD_BYTES_MAX

    @property
    def _requests_max(self) -> int:
        return (
            planning_limits.FIRST_SHARD_REQUESTS
            if self._index == 0
            else planning_limits.SHARD_REQUESTS_MAX
        )

    def end(self) -> ShardPlan | None:
        """Give the shard that is open, if any."""
        if not self._count:
            return None
        shard = ShardPlan(
            index=self._index,
            first_request=self._first_request,
            request_count=self._count,
            first_line=self._first_line,
            byte_offset=self._start,
            byte_length=self._stop - self._start,
        )
        self._index += 1
        self._first_request += self._count
        self._count = 0
        return shard


class _PlanFile:
    """A plan file being written."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._crc32 = 0
        self.shard_count = 0
        self._put(MAGIC)

    def _put(self, piece: bytes) -> None:
        self._crc32 = zlib.crc32(piece, self._crc32)
        self._output.write(piece)

    def cut(self, shard: ShardPlan | None) -> None:
        if shard is not None:
            fields = (getattr(shard, name) for name in ShardPlan.__struct_fields__)
            self._put(msgspec.json.encode(_Cut(*fields)) + b"\n")
            self.shard_count += 1

    def end(self, plan: Plan) -> None:
        self._output.write(msgspec.json.encode(_Total(plan, self._crc32)) + b"\n")


class _Findings:
    """What is wrong with the lines of an input."""

    def __init__(self, kind: Kind, scratch: Path | None) -> None:
        self.requests = self.invalid = self.malformed = 0
        self.faults: list[str] = []
        self._kind = kind
        self._input_faults: list[InputFault] = []
        self._input_fault_count = 0
        self._repeats = Repeats(scratch) if kind.unique_keys else None

    def take(self, row: ParsedLine, line: int) -> None:
        """Take note of one line."""
        self.requests += 1
        if self._repeats is not None and row.echo.key is not None:
            self._repeats.add(row.echo.key, line)
        if row.fault is not None:
            self._input_fault_count += 1
            if len(self._input_faults) < limits.FAULTS_LISTED_MAX:
                self._input_faults.append(row.fault)
        if isinstance(row.prompt, Failure):
            self.invalid += 1
            self._take_failure(row.prompt)

    def _take_failure(self, failure: Failure) -> None:
        if failure.code is Code.INVALID_ARGUMENT:
            self.malformed += 1
            if len(self.faults) < limits.FAULTS_LISTED_MAX:
                self.faults.append(failure.message)

    def plan(self, shard_count: int) -> Plan:
        """Sum up."""
        faults, count = self._input_faults, self._input_fault_count
        if self._repeats is not None:
            found, repeats = self._repeats.find(limits.FAULTS_LISTED_MAX)
            self._repeats.close()
            faults = faults + [repeated_key(*pair, self._kind) for pair in found]
            faults.sort(key=lambda fault: fault.line or 0)
            count += repeats
            if not self.requests:
                faults, count = [no_row(self._kind)], 1
            faults = faults[: limits.FAULTS_LISTED_MAX]
            if count > len(faults):
                faults.append(more_faults(count - len(faults), self._kind))
        return Plan(
            request_count=self.requests,
            invalid_count=self.invalid,
            shard_count=shard_count,
            faults=tuple(self.faults),
            input_faults=tuple(faults),
            malformed_count=self.malformed,
        )


class Readable(Protocol):
    """What an input is read from."""

    def read(self, size: int, /) -> bytes:
        """Give at most so many bytes more; none at the end."""
        ...


def plan_input(
    source: Readable, output: BinaryIO, model: str, kind: Kind, scratch: Path | None = None
) -> Plan:
    """Read an input once and write its plan file.

    Holds one block and one line at a time, whatever the input's size, and of keys that must differ
    as much as `Repeats` does.

    Args:
        source: the input.
        output: where the plan goes.
        model: of the batch.
        kind: how its rows are written.
        scratch: a folder for what does not fit into memory; None for the system's.
    """
    planning = _Pass(_PlanFile(output), _Findings(kind, scratch), kind, model)
    splitter = LineSplitter()
    while block := source.read(limits.READ_BYTES):
        lines, run = splitter.take(block)
        planning.take_lines(lines)
        planning.take_run(run)
    planning.take_lines(splitter.finish())
    return planning.end()


class _Pass:
    """One pass over an input: a line is read in full only if it is not surely sound."""

    def __init__(self, file: _PlanFile, findings: _Findings, kind: Kind, model: str) -> None:
        self._file = file
        self._findings = findings
        self._kind = kind
        self._model = model
        self._read = sound_reader(kind)
        self._cutter = Cutter()

    def take_lines(self, lines: Iterable[RawLine]) -> None:
        """Take lines one by one."""
        for line in lines:
            self._file.cut(self._cutter.add(line.number, line.offset, line.length))
            row = parse_row(line.data, line.number, self._kind, self._model)
            self._findings.take(row, line.number)

    def take_run(self, run: LineRun) -> None:
        """Take a run of lines; the hot loop of planning."""
        read, start, offset = self._read, 0, run.offset
        for index, piece in enumerate(run.pieces):
            try:
                read(piece)
            except (ValueError, RecursionError):
                offset = self._take_sound(run, start, index, offset)
                line = run.line(index, offset)
                if line is not None:
                    self.take_lines((line,))
                start = index + 1
                offset += len(piece) + 1
        self._take_sound(run, start, len(run.pieces), offset)

    def _take_sound(self, run: LineRun, start: int, stop: int, offset: int) -> int:
        """Take a part of a run that is sound; gives the offset behind it."""
        pieces = run.pieces[start:stop]
        for shard in self._cutter.add_run(run.number + start, offset, pieces):
            self._file.cut(shard)
        self._findings.requests += len(pieces)
        return offset + sum(map(len, pieces)) + len(pieces)

    def end(self) -> Plan:
        """Write the end of the plan, and give it."""
        self._file.cut(self._cutter.end())
        plan = self._findings.plan(self._file.shard_count)
        self._file.end(plan)
        return plan


def read_plan(path: Path) -> tuple[Plan, Iterator[ShardPlan]]:
    """Read a plan file back: checked whole first, then shard by shard, never held whole.

    Raises:
        Damaged: it is not what a planner wrote.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size_bytes - planning_limits.PLAN_TOTAL_BYTES_MAX))
        tail = file.read()
        last_line = tail[tail.rfind(b"\n", 0, len(tail) - 1) + 1 :]
        try:
            total = msgspec.json.decode(last_line, type=_Total)
        except msgspec.DecodeError as error:
            raise Damaged(f"plan {path.name} is cut off") from error
        file.seek(0)
        left, crc32 = size_bytes - len(last_line), 0
        begins_rightly = file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        while left:
            block = file.read(min(left, limits.READ_BYTES))
            crc32 = zlib.crc32(block, crc32)
            left -= len(block)
    if not begins_rightly or crc32 != total.crc32:
        raise Damaged(f"plan {path.name} does not match its checksum")
    return total.plan, _shards(path, total.plan.shard_count)


def _shards(path: Path, count: int) -> Iterator[ShardPlan]:
    decoder = msgspec.json.Decoder(_Cut)
    with path.open("rb") as file:
        file.readline()
        left = count
        for row in itertools.islice(file, count):
            cut = decoder.decode(row)
            yield ShardPlan(*(getattr(cut, name) for name in ShardPlan.__struct_fields__))
            left -= 1
    # Whoever records them must not take the beginning for the whole.
    assert not left, f"plan {path.name} was changed while it was read"
