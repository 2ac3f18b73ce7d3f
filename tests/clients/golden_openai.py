"""Documents of batches in every state, as they are written for OpenAI's clients."""

from __future__ import annotations

import urllib.parse
from http.server import BaseHTTPRequestHandler

from nightrate.dialects import openai as wire
from nightrate.domain.batch import Batch, BatchForm, Dialect, InputFault, Kind, PartialResults
from nightrate.domain.generation import Failure
from nightrate.domain.shard import Tally
from nightrate.domain.states import BatchState
from nightrate.errors import Code
from tests.clients.golden import CASES, NOON, SEPARATORS, batch

TERMS = b'{"endpoint":"/v1/chat/completions","completion_window":"24h","metadata":{"a":"b"}}'
FAULT = InputFault("invalid_json_line", f"Line 7: {SEPARATORS}", 7, "body")


def ours(name: str, state: BatchState, **changes: object) -> Batch:
    """Make a batch that one of these clients created."""
    kind = Kind(dialect=Dialect.OPENAI)
    return batch(name, state, BatchForm.FILE, **{"kind": kind, "terms": TERMS, **changes})


STATUSES = {
    BatchState.SUBMITTED: "in_progress",
    BatchState.PLANNED: "in_progress",
    BatchState.RUNNING: "in_progress",
    BatchState.SUCCEEDED: "completed",
    BatchState.FAILED: "failed",
    BatchState.CANCELLED: "cancelled",
    BatchState.EXPIRED: "expired",
}

_REFUSED = {
    "failure": Failure(Code.INVALID_ARGUMENT, "No."),
    "faults": (FAULT, InputFault("too_many_errors", "... and 5 more.")),
    "tally": Tally(),
}
_DUE, _SHOWN = ({"partial": partial} for partial in PartialResults)

READ: dict[str, tuple[Batch, str]] = {
    **{name: (made, STATUSES[made.state]) for name, (made, _, _) in CASES.items()},
    **{
        one.batch_id: (one, status)
        for one, status in [
            (ours("new", BatchState.SUBMITTED, request_count=None, tally=Tally()), "in_progress"),
            (ours("works", BatchState.RUNNING, started_at=NOON + 1), "in_progress"),
            (ours("done", BatchState.SUCCEEDED, started_at=NOON + 1), "completed"),
            (ours("all-bad", BatchState.SUCCEEDED, tally=Tally(0, 9)), "completed"),
            (ours("refused", BatchState.FAILED, **_REFUSED), "failed"),
            (ours("stops", BatchState.CANCELLED, **_DUE), "cancelling"),
            (ours("stopped", BatchState.CANCELLED, **_SHOWN), "cancelled"),
            (ours("ends", BatchState.EXPIRED, **_DUE), "in_progress"),
            (ours("over", BatchState.EXPIRED, **_SHOWN), "expired"),
        ]
    },
}
"""By the id of the batch: it, and the status that clients must see."""


def page(after: str, size: int) -> bytes:
    """Write a page of the list."""
    batches = [made for made, _ in READ.values()]
    start = list(READ).index(after) + 1 if after else 0
    stop = start + size
    return wire.render_batches(batches[start:stop], has_more=stop < len(batches))


class Handler(BaseHTTPRequestHandler):
    """Answers for a batch, or a page of them."""

    def do_GET(self) -> None:
        """Answer one call."""
        place = urllib.parse.urlsplit(self.path)
        name = urllib.parse.unquote(place.path).rsplit("/", 1)[1]
        asked = dict(urllib.parse.parse_qsl(place.query))
        if name == "batches":
            after = asked.get("after", "").removeprefix("batches/")
            content = page(after, int(asked.get("limit", len(READ))))
        else:
            content = wire.render_batch(READ[name][0])
        self.send_response(200)
        self.send_header("content-type", "application/json; charset=UTF-8")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        """Say nothing."""
