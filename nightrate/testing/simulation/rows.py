"""The rows of the database that the judge reads, as they stand."""

from __future__ import annotations

from msgspec import Struct

from nightrate.domain.shard import Tally


class ShardRow(Struct, frozen=True):
    """A shard as its row stands."""

    tenant: str
    batch_id: str
    shard: int
    first_request: int
    request_count: int
    state: str
    epoch: int
    owner: str | None
    lease_until: int | None
    journal: str
    succeeded: int
    failed: int
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    thought_tokens: int
    engine_nanoseconds: int
    segment_blob: str | None
    segment_bytes: int | None
    segment_crc32: int | None
    segment_split: int | None

    @property
    def name(self) -> str:
        """For messages."""
        return f"shard {self.shard} of batch {self.batch_id}"

    @property
    def tally(self) -> Tally:
        """What is counted of it."""
        return Tally(**{name: getattr(self, name) for name in Tally.__struct_fields__})


class BatchRow(Struct, frozen=True):
    """A batch as its row stands."""

    tenant: str
    batch_id: str
    display_name: str
    model: str
    form: str
    dialect: str
    state: str
    input_blob: str
    input_bytes: int
    request_count: int | None
    created_at: int
    expires_at: int
    ended_at: int | None
    failure_code: int | None
    failure_message: str | None
    deleted_at: int | None
    partial: str | None
    results: str | None


class UploadRow(Struct, frozen=True):
    """An upload as its row stands."""

    tenant: str
    upload_id: str
    blob: str
    received_bytes: int
    state: str


class FileRow(Struct, frozen=True):
    """A file as its row stands."""

    tenant: str
    file_id: str
    blob: str | None
    size_bytes: int
