"""Documents of batches in every state, written by the code that writes them for clients."""

from __future__ import annotations

import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from nightrate.clock import Instant
from nightrate.dialects import gemini as wire
from nightrate.dialects.gemini_items import ItemJoiner
from nightrate.dialects.gemini_results import render_line
from nightrate.dialects.row import Echo
from nightrate.domain.batch import Batch, BatchForm, Kind, Method
from nightrate.domain.embedding import Embedding
from nightrate.domain.generation import Candidate, Failure, FinishReason, Outcome, Reply, Usage
from nightrate.domain.grounding import Grounding, Source, Support
from nightrate.domain.picture import Picture
from nightrate.domain.shard import Tally
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.errors import Code

NOON: Instant = 1_769_083_200_000_000
MODEL = "gemini-2.5-flash"
SEPARATORS = "one\u2028two\u2029three\u0085four \u00e9 \U0001f319"
FAULTS = "Error on line 1: no JSON.\nError on line 7: no such field: 'config'."


def reply(*texts: str, reason: FinishReason = FinishReason.STOP) -> Reply:
    candidates = tuple(Candidate(text, reason) for text in texts)
    return Reply(candidates, Usage(7, 3, 2), "golden")


def everything() -> Reply:
    """Give an answer with all that an answer can have: a text, a picture and what it rests on."""
    sources = (Source("https://example.com/", "Example", "…"),)
    grounding = Grounding(("who won?",), sources)
    pictures = (Picture("image/png", b"\x89PNG"),)
    supports = (Support(0, 5, "drawn", (0,), (0.75,)),)
    candidate = Candidate("drawn", pictures=pictures, supports=supports)
    return Reply((candidate,), Usage(7, 3, 2), "golden", grounding)


def item(outcome: Outcome, metadata: bytes | None = None) -> bytes:
    return render_line(Echo(metadata=metadata), outcome, BatchForm.INLINE, "r1")


ITEMS = (
    item(reply("plain"), b'{"key":"request-1"}'),
    item(reply("no metadata")),
    item(reply(SEPARATORS), b'{"key":"\\u00e9","note":"caf\xc3\xa9"}'),
    item(reply("nested"), b'{"n":1,"list":[1,{"a":null}],"map":{"b":true},"none":null,"s":"x"}'),
    item(reply("cut", reason=FinishReason.LENGTH), b"{}"),
    item(reply(""), b'{"key":"empty"}'),
    item(reply("first", "second"), b'{"key":"two"}'),
    item(everything(), b'{"key":"all"}'),
    item(Failure(Code.INVALID_ARGUMENT, "contents: it is empty."), b'{"key":8,"deep":[[]]}'),
    item(Failure(Code.INTERNAL, SEPARATORS)),
)


VECTORS = (
    item(Embedding.of((0.25, -0.012345679), 4, "golden"), b'{"key":"request-1"}'),
    item(Failure(Code.INVALID_ARGUMENT, "content: it has no text."), b'{"n":1}'),
    item(Embedding.of((1.0, 0.0), 2, "golden")),
)


def batch(name: str, state: BatchState, form: BatchForm, **changes: object) -> Batch:
    made = Batch(
        tenant="t",
        batch_id=name,
        model=MODEL,
        display_name=f"the {name} one",
        kind=Kind(form),
        state=state,
        input_blob="i",
        input_file_id="f1" if form is BatchForm.FILE else None,
        input_bytes=10,
        priority=0,
        request_count=len(ITEMS),
        tally=Tally(8, 2),
        created_at=NOON,
        updated_at=NOON + 1_500_000,
        ended_at=NOON + 2_000_001 if state in FINAL_STATES else None,
        expires_at=NOON + 1,
        failure=None,
    )
    return msgspec.structs.replace(made, **changes)


def embedding(name: str, tally: Tally) -> Batch:
    """Make an inline batch of embeddings that has ended."""
    kind = Kind(BatchForm.INLINE, Method.EMBED)
    return batch(name, BatchState.SUCCEEDED, BatchForm.INLINE, kind=kind, tally=tally)


RESULTS = b'{"response":{},"key":"a"}\n'
"""What stands in the result file of the one batch that has one."""

FILE, INLINE = BatchForm.FILE, BatchForm.INLINE
_NONE = Tally()

CASES: dict[str, tuple[Batch, tuple[bytes, ...], str]] = {
    one.batch_id: (one, items, wanted)
    for one, items, wanted in [
        (
            batch("submitted", BatchState.SUBMITTED, FILE, request_count=None, tally=_NONE),
            (),
            "JOB_STATE_PENDING",
        ),
        (batch("planned", BatchState.PLANNED, INLINE, tally=_NONE), (), "JOB_STATE_PENDING"),
        (batch("running", BatchState.RUNNING, FILE, priority=-5), (), "JOB_STATE_RUNNING"),
        (batch("inline", BatchState.SUCCEEDED, INLINE), ITEMS, "JOB_STATE_SUCCEEDED"),
        (
            batch("all-failed", BatchState.SUCCEEDED, INLINE, tally=Tally(0, 2)),
            ITEMS[-2:],
            "JOB_STATE_SUCCEEDED",
        ),
        (batch("file", BatchState.SUCCEEDED, FILE), (), "JOB_STATE_SUCCEEDED"),
        (
            batch(
                "failed",
                BatchState.FAILED,
                FILE,
                failure=Failure(Code.INVALID_ARGUMENT, FAULTS),
                display_name=SEPARATORS,
            ),
            (),
            "JOB_STATE_FAILED",
        ),
        (embedding("vectors", Tally(2, 1)), VECTORS, "JOB_STATE_SUCCEEDED"),
        (embedding("one-vector", Tally(1)), VECTORS[2:], "JOB_STATE_SUCCEEDED"),
        (embedding("no-vector", Tally(0, 1)), VECTORS[1:2], "JOB_STATE_SUCCEEDED"),
        (batch("cancelled", BatchState.CANCELLED, INLINE), (), "JOB_STATE_CANCELLED"),
        (batch("expired", BatchState.EXPIRED, INLINE, tally=_NONE), (), "JOB_STATE_EXPIRED"),
    ]
}
"""By the id of the batch: it, its inline items, and the state that clients must see."""


def document(name: str) -> bytes:
    """Write what ``GET batches/NAME`` answers."""
    made, items, _ = CASES[name]
    pieces = wire.render_batch(made)
    joined = ItemJoiner(wire.Profile.DOCUMENTED).feed(b"".join(one + b"\n" for one in items))
    return b"".join(piece if isinstance(piece, bytes) else joined for piece in pieces)


def page(token: str, size: int) -> bytes:
    """Write a page of the list."""
    start = int(token or 0)
    batches = [(made, None) for made, _, _ in CASES.values()]
    stop = start + size
    return wire.render_batches(batches[start:stop], str(stop) if stop < len(batches) else None)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer for a batch, a page of them, or a file of results."""
        place = urllib.parse.urlsplit(self.path)
        name = place.path.rsplit("/", 1)[1]
        asked = dict(urllib.parse.parse_qsl(place.query))
        if name.endswith(":download"):
            content = RESULTS
        elif name == "batches":
            content = page(asked.get("pageToken", ""), int(asked.get("pageSize", len(CASES))))
        else:
            content = document(name)
        self.send_response(200)
        self.send_header("content-type", "application/json; charset=UTF-8")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def served(handler: type[BaseHTTPRequestHandler] = _Handler) -> Iterator[str]:
    """Serve the documents; gives the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, name="golden")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
