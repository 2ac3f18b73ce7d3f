"""The verdict: what must hold of a world that has come to rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from msgspec import json

from nightrate.domain.batch import Method
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.errors import Code
from nightrate.testing.simulation.judge import Judge
from nightrate.testing.simulation.ledger import Ledger, Line, Ordered, Word
from nightrate.testing.simulation.rows import BatchRow
from nightrate.testing.simulation.world import Violation

_FINAL: Final = {str(state) for state in FINAL_STATES}
_WHY: Final = {
    str(BatchState.CANCELLED): Code.CANCELLED,
    str(BatchState.EXPIRED): Code.DEADLINE_EXCEEDED,
}


def unrest(judge: Judge) -> list[str]:
    """Say what has not come to its end."""
    judge.look()
    found = [
        f"batch {batch.batch_id} is {batch.state}, its results {batch.partial}"
        for batch in judge.batches()
        if batch.state not in _FINAL or batch.partial == "due"
    ]
    rows = judge.ask("SELECT batch_id, target, attempts FROM delivery WHERE state = 'pending'")
    found += [f"{target} has not heard of {batch} ({tries} tries)" for batch, target, tries in rows]
    return found


def check_promises(judge: Judge, ledger: Ledger) -> None:
    """Check what was promised about batches, files and events.

    Raises:
        Violation: something was not kept.
    """
    judge.look(again=True)
    standing = {batch.display_name: batch for batch in judge.batches()}
    for ordered in ledger.orders.values():
        batch = standing.get(ordered.name)
        if batch is None:
            if ordered.created is Word.KNOWN and ordered.deleted is Word.NEVER:
                raise Violation(f"{ordered.name} was acknowledged and is lost")
            continue
        _check_batch(judge, ordered, batch)
    for tenant, batch_id, target, state in judge.ask(
        "SELECT tenant, batch_id, target, state FROM delivery WHERE batch_id IS NOT NULL"
    ):
        if state != "delivered" or not judge.has_heard(tenant, batch_id, target):
            raise Violation(f"{target} never heard of batch {batch_id}: {state}")


def _check_batch(judge: Judge, ordered: Ordered, batch: BatchRow) -> None:
    name = f"{ordered.name} ({batch.batch_id})"
    asked = {
        "cancelled": ordered.cancelled is not Word.NEVER or ordered.deleted is not Word.NEVER,
        "failed": ordered.spoiled,
        "succeeded": not ordered.spoiled,
        "expired": True,
    }
    if not asked[batch.state]:
        raise Violation(f"{name} is {batch.state}, and nobody gave a reason")
    if ordered.deleted is Word.KNOWN and batch.deleted_at is None:
        raise Violation(f"{name} was deleted and is there")
    if ordered.deleted is Word.NEVER and batch.deleted_at is not None:
        raise Violation(f"nobody deleted {name}")
    if batch.state == BatchState.SUCCEEDED or batch.partial == "shown":
        _check_results(judge, ordered, batch)


def _check_results(judge: Judge, ordered: Ordered, batch: BatchRow) -> None:
    """Demand one line for each request, each what it can be, and counters that say so."""
    rows = judge.shards_of(batch)
    answers = {
        row.first_request + index: answer
        for row in rows
        for index, answer in judge.visible(row).items()
    }
    if sorted(answers) != list(range(len(ordered.lines))) or len(answers) != batch.request_count:
        raise Violation(f"{ordered.name} has the answers {sorted(answers)}")
    succeeded = [
        _check_answer(ordered, batch.state, line, answers[number])
        for number, line in enumerate(ordered.lines)
    ]
    if sum(succeeded) != sum(row.succeeded for row in rows):
        raise Violation(f"{ordered.name} has {sum(succeeded)} answers, and counts others")


def _check_answer(ordered: Ordered, state: str, line: Line, answer: bytes) -> bool:
    """Demand that an answer is one to this request; true when it tells of a success."""
    row: dict[str, Any] = json.decode(answer)
    text = answer.decode()
    if ordered.kind.unique_keys:
        body = row.get("response") or {}
        failed = body.get("status_code") != 200  # noqa: PLR2004 - HTTP's word for success
    else:
        failed = "error" in row
    if not failed:
        answered = ordered.kind.method is Method.EMBED or line.text in text
        if not line.fate.succeeds or not answered:
            raise Violation(f"request {line.key} of {ordered.name} got {text}")
        return True
    ended_early = state in _WHY and _WHY[BatchState(state)].name.lower() in text.lower()
    if line.fate.succeeds and not ended_early and "expired" not in text:
        raise Violation(f"request {line.key} of {ordered.name} could be answered and got {text}")
    return False


def orphans(judge: Judge, root: Path, *, zombies: bool) -> list[str]:
    """Name the blobs that nothing names: what a crash may leave, and upkeep removes.

    Args:
        judge: knows the rows.
        root: where the blobs are.
        zombies: whether others may have written into a batch after it was tidied.
    """
    judge.look(again=True)
    named = {blob for (blob,) in judge.ask("SELECT blob FROM file WHERE blob IS NOT NULL")}
    named |= {blob for (blob,) in judge.ask("SELECT blob FROM upload WHERE state <> 'final'")}
    folders: set[str] = set()
    for batch in judge.batches():
        folder = f"batches/{batch.tenant}/{batch.batch_id}"
        named |= {row.segment_blob for row in judge.shards_of(batch)} | {f"{folder}/input"}
        complete = batch.state == BatchState.SUCCEEDED or batch.partial == "shown"
        if zombies or not complete or batch.deleted_at is not None:
            folders.add(folder)  # it goes as a whole
    found = (str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file())
    return [
        blob for blob in found if blob not in named and "/".join(blob.split("/")[:3]) not in folders
    ]


def leftovers(judge: Judge, root: Path) -> list[str]:
    """Name what is there although the time of everything is over: rows and blobs."""
    judge.look()
    tables = ("batch", "shard", "file", "upload", "event", "batch_webhook", "delivery")
    rows = [(table, judge.ask(f"SELECT count(*) FROM {table}")[0][0]) for table in tables]  # noqa: S608
    found = [f"{count} rows of {table}" for table, count in rows if count]
    return found + [
        str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()
    ]
