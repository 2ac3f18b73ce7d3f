"""A batch whose failures are handed out apart, from its input to its two files."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nightrate import clock, limits, planning_limits
from nightrate.domain.batch import Batch, Dialect, PartialResults
from nightrate.domain.states import BatchState
from nightrate.errors import Code
from nightrate.service.results import Results
from nightrate.work.closer import Closer
from nightrate.work.planner import Planner
from tests.work.site import ScriptedEngine, working
from tests.work.test_planner import left_submitted, planning
from tests.work.workshop import TENANT, Workshop, chat_line, inline

OUTPUT, ERRORS = "batch-b1", "batch-b1-errors"


async def read(shop: Workshop, file_id: str) -> list[Any]:
    """Give the rows of a result file."""
    content = await Results(shop.store, shop.blobs).content(TENANT, file_id)
    pieces = [piece async for piece in content.stream(0, content.size_bytes)]
    return [msgspec.json.decode(row) for row in b"".join(pieces).splitlines()]


async def ids(shop: Workshop, file_id: str) -> list[str]:
    return [row["custom_id"] for row in await read(shop, file_id)]


def mixed(count: int) -> list[bytes]:
    """Write lines of which every third is refused."""
    return [
        chat_line(str(number), f"say {number}", n=1 if number % 3 else 9) for number in range(count)
    ]


async def planned(shop: Workshop, lines: list[bytes]) -> Batch:
    """Let the planner have its way with an input."""
    await shop.submit(lines, dialect=Dialect.OPENAI)
    async with planning(shop):
        return await left_submitted(shop)


async def test_successes_and_failures_are_handed_out_apart_and_in_order(shop: Workshop) -> None:
    await shop.plan(mixed(40), dialect=Dialect.OPENAI)
    async with working(shop, ScriptedEngine()) as site:
        await site.ended()
    batch = await shop.batch()
    assert (batch.state, batch.tally.succeeded, batch.tally.failed) == (
        BatchState.SUCCEEDED,
        26,
        14,
    )
    assert await ids(shop, OUTPUT) == [str(number) for number in range(40) if number % 3]
    assert await ids(shop, ERRORS) == [str(number) for number in range(40) if not number % 3]
    for row in await read(shop, ERRORS):
        assert row["response"]["body"]["error"]["param"] == "n"


async def test_every_range_of_both_files_is_what_the_whole_is(shop: Workshop) -> None:
    await shop.plan(mixed(20), dialect=Dialect.OPENAI)
    async with working(shop, ScriptedEngine()) as site:
        await site.ended()
    results = Results(shop.store, shop.blobs)
    for file_id in (OUTPUT, ERRORS):
        content = await results.content(TENANT, file_id)
        whole = b"".join([piece async for piece in content.stream(0, content.size_bytes)])
        assert len(whole) == content.size_bytes
        for start in range(0, len(whole), 97):
            for stop in (start, min(len(whole), start + 500), len(whole)):
                pieces = [piece async for piece in content.stream(start, stop)]
                assert b"".join(pieces) == whole[start:stop]


async def test_a_shard_without_a_success_is_passed_over(shop: Workshop) -> None:
    lines = [
        chat_line(str(number), n=9 if number < planning_limits.FIRST_SHARD_REQUESTS else 1)
        for number in range(18)
    ]
    await shop.plan(lines, dialect=Dialect.OPENAI)
    async with working(shop, ScriptedEngine()) as site:
        await site.ended()
    assert await ids(shop, OUTPUT) == ["16", "17"]
    assert await ids(shop, ERRORS) == [str(number) for number in range(16)]


async def test_a_batch_all_of_whose_requests_are_refused_succeeds(shop: Workshop) -> None:
    batch = await planned(shop, [chat_line("a", n=9)])
    assert batch.state is BatchState.PLANNED


@pytest.mark.parametrize(
    ("event", "code"), [("cancelled", "batch_cancelled"), ("expired", "batch_expired")]
)
async def test_what_a_batch_never_ran_is_told_so(shop: Workshop, event: str, code: str) -> None:
    await shop.plan(mixed(20), dialect=Dialect.OPENAI)
    if event == "cancelled":
        await shop.store.cancel_batch(TENANT, "b1", clock.now(), partial_results=False)
    else:
        await shop.store.expire_batches(clock.later(clock.now(), 9_999), partial_results=False)
    planner = Planner(shop.store, shop.blobs, inline, lambda: None)
    closer = Closer(shop.store, shop.blobs, planner, owner="closer")
    while await closer.turn():
        pass
    assert (await shop.batch()).partial is PartialResults.SHOWN
    rows = await read(shop, ERRORS)
    assert [row["custom_id"] for row in rows] == [str(number) for number in range(20)]
    assert {row["error"]["code"] for row in rows} == {code}
    assert len({row["id"] for row in rows}) == 20
    assert await read(shop, OUTPUT) == []


async def test_an_input_with_faults_fails_as_a_whole_and_lists_them_by_line(shop: Workshop) -> None:
    lines = [chat_line("a"), b"junk\n", chat_line("b", model="other"), b"\n", chat_line("a")]
    batch = await planned(shop, lines)
    assert batch.state is BatchState.FAILED
    assert [(fault.line, fault.code) for fault in batch.faults] == [
        (2, "invalid_json_line"),
        (3, "model_mismatch"),
        (5, "duplicate_custom_id"),
    ]
    assert batch.failure is not None
    assert batch.failure.code is Code.INVALID_ARGUMENT
    assert "Line 5: its custom_id is that of line 1." in batch.failure.message


@pytest.mark.parametrize(
    ("line", "code"), [(b"junk\n", "invalid_json_line"), (chat_line("a"), "duplicate_custom_id")]
)
async def test_the_first_faults_are_listed_and_the_others_counted(
    shop: Workshop, line: bytes, code: str
) -> None:
    first = chat_line("a")
    batch = await planned(shop, [first, *[line] * (limits.FAULTS_LISTED_MAX + 5)])
    *listed, last = batch.faults
    assert [fault.code for fault in listed] == [code] * limits.FAULTS_LISTED_MAX
    assert [fault.line for fault in listed] == list(range(2, 2 + limits.FAULTS_LISTED_MAX))
    assert (last.code, last.message) == ("too_many_errors", "... and 5 more.")


@pytest.mark.parametrize("lines", [[], [b"\n", b"  \n"]])
async def test_an_input_without_a_line_fails(shop: Workshop, lines: list[bytes]) -> None:
    batch = await planned(shop, lines)
    assert batch.state is BatchState.FAILED
    assert [fault.code for fault in batch.faults] == ["empty_file"]


async def test_a_large_input_is_judged_in_its_process_as_well(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning_limits, "PLAN_IN_PLACE_BYTES_MAX", 0)
    batch = await planned(shop, [chat_line("a"), chat_line("a")])
    assert [fault.code for fault in batch.faults] == ["duplicate_custom_id"]
