"""A client's order."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from nightrate.clock import Instant
from nightrate.domain.generation import Failure
from nightrate.domain.shard import Tally
from nightrate.domain.states import BatchState
from nightrate.domain.tariff import Quote
from nightrate.domain.webhook import WebhookConfig


class BatchForm(StrEnum):
    """How the requests came, and so how the results are handed out."""

    FILE = "file"
    INLINE = "inline"


class Method(StrEnum):
    """What each request of a batch asks for."""

    GENERATE = "generate"
    EMBED = "embed"


class Dialect(StrEnum):
    """Whose protocol the requests, and so the answers, are written in."""

    GEMINI = "gemini"
    OPENAI = "openai"


class Kind(Struct, frozen=True, gc=False):
    """How the rows of a batch are to be read, and their answers to be written."""

    form: BatchForm = BatchForm.FILE
    method: Method = Method.GENERATE
    dialect: Dialect = Dialect.GEMINI

    @property
    def parts_failures(self) -> bool:
        """Whether the lines of failed requests stand in a file of their own."""
        return self.dialect is Dialect.OPENAI

    @property
    def unique_keys(self) -> bool:
        """Whether each row needs a key of its own, and a bad row spoils the whole input."""
        return self.dialect is Dialect.OPENAI

    @property
    def always_partial(self) -> bool:
        """Whether what a batch finished before it ended early is shown whatever the settings."""
        return self.dialect is Dialect.OPENAI


UNKNOWN_MODEL = "unknown"
"""The model of a batch whose input names none that could be read; it fails before anything runs."""


class InputFault(Struct, frozen=True, gc=False):
    """What is wrong with an input that makes its whole batch fail."""

    code: str
    """A short name for programs."""
    message: str
    line: int | None = None
    field: str | None = None
    """The path of the member that is to blame."""


class PartialResults(StrEnum):
    """What becomes of the results of a batch that was cancelled or expired."""

    DUE = "due"
    """Requests without an answer are still to get their status line."""
    SHOWN = "shown"
    """Every request has its line, and all are handed out."""


class Batch(Struct, frozen=True, kw_only=True):
    """Many requests, one model, one deadline.

    ``request_count`` is None until the input has been planned. ``tally`` sums the counted outcomes
    of all shards, so pending = request_count - succeeded - failed.
    """

    tenant: str
    batch_id: str
    model: str
    """The name the client asked for, without ``models/``."""
    display_name: str
    kind: Kind
    state: BatchState
    input_blob: str
    input_file_id: str | None
    """The uploaded file the client named; None for inline requests."""
    input_bytes: int
    priority: int
    request_count: int | None
    tally: Tally
    created_at: Instant
    updated_at: Instant
    ended_at: Instant | None
    expires_at: Instant
    failure: Failure | None
    """Why the whole batch failed."""
    partial: PartialResults | None = None
    """None for a batch that did not end early, and where the server keeps such results back."""
    strict: bool = False
    """Whether one malformed request fails the whole batch."""
    started_at: Instant | None = None
    """When the first of its requests were taken up."""
    terms: bytes | None = None
    """What its dialect has to show again, in words of its own."""
    faults: tuple[InputFault, ...] = ()
    """Why its input was refused, if its dialect tells so one by one."""
    results_seconds: int | None = None
    """How long its results are kept; None for the usual time."""
    repair_since: Instant | None = None
    """Since when damaged shards of it are made again, if it has ended and some are."""
    quote: Quote | None = None
    """What it is charged by, as the tariff stood when it was made; None without prices."""

    @property
    def form(self) -> BatchForm:
        """How the requests came."""
        return self.kind.form

    @property
    def has_results(self) -> bool:
        """Whether every request has a line that is handed out."""
        return self.state is BatchState.SUCCEEDED or self.partial is PartialResults.SHOWN


def batch_folder(tenant: str, batch_id: str) -> str:
    """Name the folder of every blob that a batch keeps; deleting it deletes them all."""
    return f"batches/{tenant}/{batch_id}"


def journal_blob(tenant: str, batch_id: str, shard: int, epoch: int) -> str:
    """Name the journal of an owner of a shard."""
    return f"{batch_folder(tenant, batch_id)}/journal/{shard:08d}.{epoch}"


class Order(Struct, frozen=True, kw_only=True):
    """What a client asks for: a batch before it exists.

    Exactly one of ``file_name`` and ``inline`` is set. ``inline`` holds one raw JSON object a
    request, as the client spelled it.
    """

    display_name: str | None
    priority: int
    file_name: str | None
    inline: tuple[bytes, ...] | None
    webhook: WebhookConfig | None = None
    """Who is told about its end."""
    method: Method = Method.GENERATE
    dialect: Dialect = Dialect.GEMINI
    lifetime_seconds: int | None = None
    """Within which it is to be finished; None for the usual time."""
    results_seconds: int | None = None
    terms: bytes | None = None

    @property
    def kind(self) -> Kind:
        """How the rows of the batch are to be read."""
        form = BatchForm.FILE if self.inline is None else BatchForm.INLINE
        return Kind(form, self.method, self.dialect)


class Once(Struct, frozen=True, kw_only=True):
    """A client's word that a call shall have one effect, however often it is sent."""

    key: str
    digest: str
    """SHA-256 of what the call asks for; the same key must come with the same."""


class BatchFilter(Struct, frozen=True, kw_only=True):
    """Which batches a list shows; None for any."""

    states: frozenset[BatchState] | None = None
    display_name: str | None = None


ANY_BATCH = BatchFilter()


class Change(Struct, frozen=True, kw_only=True):
    """What a client wants changed about a batch; None stays as it is."""

    display_name: str | None = None
    priority: int | None = None


class Claimable(Struct, frozen=True, gc=False, kw_only=True):
    """A batch with shards that nobody holds, for the scheduler."""

    tenant: str
    batch_id: str
    model: str
    priority: int
    created_at: Instant
    running_shards: int


class Plan(Struct, frozen=True, kw_only=True):
    """What one pass over an input found. The shards follow it in the plan file."""

    request_count: int
    invalid_count: int
    shard_count: int
    faults: tuple[str, ...]
    """What is wrong with the first malformed requests, each with its line number."""
    malformed_count: int = 0
    """Those of the invalid requests that cannot be read, whatever this server can do."""
    input_faults: tuple[InputFault, ...] = ()
    """The first of those that make the whole batch fail, in the order of their lines."""
