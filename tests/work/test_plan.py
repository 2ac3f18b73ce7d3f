"""A plan cuts an input into shards that, read by themselves, hold the same lines."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate import limits, planning_limits
from nightrate.dialects.lines import LineSplitter, RawLine
from nightrate.dialects.rows import parse_row
from nightrate.domain.batch import BatchForm, Kind, Plan
from nightrate.domain.generation import Failure
from nightrate.domain.shard import ShardPlan
from nightrate.errors import Code, Damaged
from nightrate.work import planning_process
from nightrate.work.plan import MAGIC, Cutter, plan_input, read_plan
from tests.work.workshop import line, numbered

MODEL = "gemini-2.5-flash"


def planned(data: bytes, path: Path) -> tuple[Plan, list[ShardPlan]]:
    """Plan an input, and read the plan back from its file."""
    output = io.BytesIO()
    plan = plan_input(io.BytesIO(data), output, MODEL, Kind())
    path.write_bytes(output.getvalue())
    found, shards = read_plan(path)
    assert found == plan
    return plan, list(shards)


def lines_of(data: bytes) -> list[RawLine]:
    splitter = LineSplitter()
    return splitter.feed(data) + splitter.finish()


def lines_by_shards(data: bytes, shards: list[ShardPlan]) -> list[RawLine]:
    found: list[RawLine] = []
    for shard in shards:
        splitter = LineSplitter(shard.byte_offset, shard.first_line)
        piece = data[shard.byte_offset : shard.byte_offset + shard.byte_length]
        lines = splitter.feed(piece) + splitter.finish()
        assert len(lines) == shard.request_count
        assert shard.first_request == len(found)
        found += lines
    return found


def counts(shards: list[ShardPlan]) -> list[int]:
    return [shard.request_count for shard in shards]


# cutting --------------------------------------------------------------------------------------


def test_the_first_shard_is_small_and_the_others_are_not(tmp_path: Path) -> None:
    data = b"".join(numbered(2_500))
    plan, shards = planned(data, tmp_path / "plan")
    assert counts(shards) == [16, 1000, 1000, 484]
    assert plan == Plan(request_count=2_500, invalid_count=0, shard_count=4, faults=())
    assert [shard.index for shard in shards] == [0, 1, 2, 3]
    assert lines_by_shards(data, shards) == lines_of(data)


@pytest.mark.parametrize(
    ("requests", "expected"), [(1, [1]), (15, [15]), (16, [16]), (17, [16, 1]), (1016, [16, 1000])]
)
def test_a_shard_ends_exactly_at_its_bound(
    tmp_path: Path, requests: int, expected: list[int]
) -> None:
    _, shards = planned(b"".join(numbered(requests)), tmp_path / "plan")
    assert counts(shards) == expected


def test_a_shard_ends_before_it_holds_too_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = numbered(10)
    monkeypatch.setattr(planning_limits, "SHARD_BYTES_MAX", sum(map(len, rows[:3])))
    data = b"".join(rows)
    _, shards = planned(data, tmp_path / "plan")
    assert counts(shards) == [3, 3, 3, 1]
    assert all(shard.byte_length <= planning_limits.SHARD_BYTES_MAX for shard in shards)
    assert lines_by_shards(data, shards) == lines_of(data)


@pytest.mark.parametrize("position", [0, 1, 4])
def test_a_huge_line_is_a_shard_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    monkeypatch.setattr(planning_limits, "SHARD_BYTES_MAX", 400)
    rows = numbered(4)
    rows.insert(position, line("x" * 1000))
    data = b"".join(rows)
    _, shards = planned(data, tmp_path / "plan")
    (huge,) = [shard for shard in shards if shard.byte_length > 400]
    assert (huge.request_count, huge.first_request) == (1, position)
    assert lines_by_shards(data, shards) == lines_of(data)


def test_blank_lines_between_requests_count_into_the_bytes_of_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning_limits, "SHARD_BYTES_MAX", 500)
    data = line("a") + b"\n" * 1000 + line("b")
    _, shards = planned(data, tmp_path / "plan")
    assert counts(shards) == [1, 1]
    assert lines_by_shards(data, shards) == lines_of(data)


def test_a_line_longer_than_the_limit_is_a_faulty_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LineSplitter.__init__, "__defaults__", (0, 1, 300))
    data = line("a") + line("x" * 1000) + line("b")
    plan, shards = planned(data, tmp_path / "plan")
    assert (plan.request_count, plan.invalid_count) == (3, 1)
    assert plan.faults[0].startswith("Error on line 2")
    assert lines_by_shards(data, shards)[1].data is None


PIECES = st.lists(
    st.sampled_from(
        [b"\n", b"  \n", b"\r\n", b"{}\n", b"{}\r\n", b"not json\n", line("a"), line("bb" * 9)]
    ),
    max_size=60,
)


def line_by_line(data: bytes, kind: Kind) -> tuple[Plan, list[ShardPlan]]:
    """Plan an input in the most obvious way: every line is read as it will be run."""
    cutter, rows = Cutter(), []
    cuts: list[ShardPlan | None] = []
    for raw in lines_of(data):
        cuts.append(cutter.add(raw.number, raw.offset, raw.length))
        rows.append(parse_row(raw.data, raw.number, kind, MODEL).prompt)
    cuts.append(cutter.end())
    shards = [cut for cut in cuts if cut is not None]
    failures = [row for row in rows if isinstance(row, Failure)]
    malformed = [failure for failure in failures if failure.code is Code.INVALID_ARGUMENT]
    faults = tuple(failure.message for failure in malformed[: limits.FAULTS_LISTED_MAX])
    plan = Plan(
        request_count=len(rows),
        invalid_count=len(failures),
        malformed_count=len(malformed),
        shard_count=len(shards),
        faults=faults,
    )
    return plan, shards


SOUND = [line("a"), line("b" * 60), line("c").replace(b"\n", b"\r\n"), line("d", "")]
UNUSUAL = [
    b'{"contents":"bare"}\n',
    b'{"request":{"contents":[{"parts":"a"}]},"key":7}\n',
    b'{"request":{"contents":[{"parts":[{"text":"a"}]}],"model":"models/other"}}\n',
    b'{"request":{"contents":[{"parts":[{"text":"a"}]}],"toolConfig":{"a":1}}}\n',
    b'{"request":{"contents":[{"parts":[{"text":"a"}]}]},"metadata":{"key":"k"}}\n',
    b'{"request":{"contents":[{"parts":[{"text":"\\ud800"}]}]}}\n',
    b'{"request":\n',
    b'{"contents":[{"parts":[{"text":"a"}]}]}}{"request":{"contents":"x"}}\n',
    b"\n",
    b" \r\n",
    b"\x00\n",
]


@given(
    lines=st.lists(st.sampled_from([*SOUND * 9, *UNUSUAL]), max_size=80),
    tail=st.sampled_from([b"", SOUND[0].rstrip(), b"torn"]),
    form=st.sampled_from(BatchForm),
    bounds=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 6_000)),
    read_bytes=st.integers(1, 6_000),
)
def test_a_plan_says_what_reading_line_by_line_would(
    lines: list[bytes],
    tail: bytes,
    form: BatchForm,
    bounds: tuple[int, int, int],
    read_bytes: int,
) -> None:
    data, output, kind = b"".join(lines) + tail, io.BytesIO(), Kind(form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning_limits, "FIRST_SHARD_REQUESTS", bounds[0])
        patch.setattr(planning_limits, "SHARD_REQUESTS_MAX", bounds[1])
        patch.setattr(planning_limits, "SHARD_BYTES_MAX", bounds[2])
        patch.setattr(limits, "READ_BYTES", read_bytes)
        plan = plan_input(io.BytesIO(data), output, MODEL, kind)
        expected = line_by_line(data, kind)
    rows = output.getvalue()[len(MAGIC) :].splitlines()[:-1]
    assert (plan, [ShardPlan(*msgspec.json.decode(row)) for row in rows]) == expected


@given(PIECES, st.sampled_from([b"", b"\xef\xbb\xbf"]), st.sampled_from([b"", b"{}", b"torn"]))
def test_every_shard_read_by_itself_gives_the_same_lines(
    pieces: list[bytes], mark: bytes, tail: bytes
) -> None:
    data = mark + b"".join(pieces) + tail
    output = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning_limits, "FIRST_SHARD_REQUESTS", 2)
        patch.setattr(planning_limits, "SHARD_REQUESTS_MAX", 5)
        patch.setattr(planning_limits, "SHARD_BYTES_MAX", 100)
        patch.setattr(limits, "READ_BYTES", 37)
        plan = plan_input(io.BytesIO(data), output, MODEL, Kind())
    rows = output.getvalue()[len(MAGIC) :].splitlines()[:-1]
    shards = [ShardPlan(*msgspec.json.decode(row)) for row in rows]
    assert lines_by_shards(data, shards) == lines_of(data)
    assert sum(counts(shards)) == plan.request_count
    assert len(shards) == plan.shard_count
    ends = [shard.byte_offset + shard.byte_length for shard in shards]
    starts = [shard.byte_offset for shard in shards]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


@pytest.mark.parametrize("data", [b"", b"\n\n  \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_an_input_without_requests_has_no_shards(tmp_path: Path, data: bytes) -> None:
    plan, shards = planned(data, tmp_path / "plan")
    assert plan.request_count == 0
    assert shards == []


# faults ---------------------------------------------------------------------------------------


def test_the_first_faults_are_listed_by_line_and_all_are_counted(tmp_path: Path) -> None:
    data = line("fine") + b"\n" + b"broken\n" * 30 + line("fine too")
    plan, shards = planned(data, tmp_path / "plan")
    assert (plan.request_count, plan.invalid_count) == (32, 30)
    assert len(plan.faults) == limits.FAULTS_LISTED_MAX
    assert plan.faults[0].startswith("Error on line 3:")
    assert plan.faults[-1].startswith("Error on line 22:")
    assert counts(shards) == [16, 16]


# the file -------------------------------------------------------------------------------------


@given(st.data())
def test_a_plan_that_was_cut_off_or_changed_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan"
    planned(b"".join(numbered(40)), path)
    whole = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        damaged = bytes(whole[: data.draw(st.integers(0, len(whole) - 2))])
    else:
        body_end = bytes(whole).rfind(b"\n", 0, len(whole) - 1) + 1
        bit = data.draw(st.integers(0, body_end * 8 - 1))
        whole[bit // 8] ^= 1 << bit % 8
        damaged = bytes(whole)
    path.write_bytes(damaged)
    with pytest.raises(Damaged, match="plan plan"):
        read_plan(path)


def test_a_plan_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    body = b"nightrate plan 2\n[0,0,1,1,0,3]\n"
    plan = {"request_count": 1, "invalid_count": 0, "shard_count": 1, "faults": []}
    path.write_bytes(body + msgspec.json.encode({"plan": plan, "crc32": zlib.crc32(body)}) + b"\n")
    with pytest.raises(Damaged, match="does not match"):
        read_plan(path)


def test_the_planning_process_writes_what_planning_in_place_writes(tmp_path: Path) -> None:
    source, output = tmp_path / "input", tmp_path / "plan"
    source.write_bytes(b"".join(numbered(30)))
    output.write_bytes(b"what an earlier try left there" * 1000)
    assert planning_process.main([str(source), str(output), MODEL, "{}"]) == 0
    expected = io.BytesIO()
    plan_input(io.BytesIO(source.read_bytes()), expected, MODEL, Kind())
    assert output.read_bytes() == expected.getvalue()


def test_a_power_cut_leaves_the_name_of_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(planning_process, "sync_folder", synced.append)
    source, output = tmp_path / "input", tmp_path / "batch" / "plan"
    output.parent.mkdir()
    source.write_bytes(b"".join(numbered(3)))
    planning_process.plan_file(source, output, MODEL, Kind())
    assert synced == [output.parent]
