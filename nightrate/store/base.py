"""The store contract: durable truth about files, uploads, batches and shards.

Each verb is one transaction and is durable when it returns. Times come in as arguments; lists are
paged by key, newest first. Every verb names its tenant or works on a value that carries it. Two
implementations share one text of SQL; there is no in-memory store: SQLite in a temporary directory
is the fake.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from msgspec import Struct

from nightrate.clock import Instant
from nightrate.domain.batch import ANY_BATCH, Batch, BatchFilter, Claimable, Once, Plan
from nightrate.domain.cache import Cache
from nightrate.domain.file import File, FileSource, Page, Upload
from nightrate.domain.generation import Failure
from nightrate.domain.key import ApiKey
from nightrate.domain.outlook import Standing
from nightrate.domain.quota import Stored
from nightrate.domain.shard import Beat, Claim, JournalPart, Segment, ShardPlan, Tally
from nightrate.domain.webhook import (
    Delivery,
    Secret,
    Verdict,
    Webhook,
    WebhookConfig,
    WebhookWish,
)
from nightrate.store.records import Records
from nightrate.store.sweeps import Sweeps


class SealedSegment(Struct, frozen=True, gc=False):
    """A sealed shard, as the reader of a result file needs it."""

    shard: int
    first_request: int
    request_count: int
    segment: Segment
    lost: str | None = None
    """Why this segment is damaged for good, if it is."""


class Store(Records, Sweeps, ABC):
    """Durable truth."""

    # files and uploads ------------------------------------------------------------------------

    @abstractmethod
    async def add_upload(
        self, upload: Upload, *, asked_bytes: int = 0, stored_max: int | None = None
    ) -> None:
        """Record a new upload session.

        Args:
            upload: the session.
            asked_bytes: how long the file is said to become.
            stored_max: how much the tenant may store (`stored`); None for any number of bytes.

        Raises:
            Conflict: the file id is taken by a file or by another session.
            OverStorage: the tenant has no room for so many bytes, or none at all.
        """

    @abstractmethod
    async def get_upload(self, upload_id: str) -> Upload | None:
        """Find a session by its unguessable id, which alone authorises its pieces."""

    @abstractmethod
    async def grow_upload(
        self, upload: Upload, received_bytes: int, now: Instant, *, stored_max: int | None = None
    ) -> None:
        """Record that so many bytes are synced; only for an active session.

        Raises:
            OverStorage: the tenant would store more than it may; nothing is recorded.
        """

    @abstractmethod
    async def stored(self, tenant: str, now: Instant) -> Stored:
        """Tell what a tenant's uploaded files take, and what its active uploads received."""

    @abstractmethod
    async def finish_upload(self, upload: Upload, file: File) -> None:
        """Make the file exist and the session final, together."""

    @abstractmethod
    async def cancel_upload(self, upload: Upload, now: Instant) -> None:
        """Make an active session cancelled."""

    @abstractmethod
    async def get_file(self, tenant: str, file_id: str, now: Instant) -> File | None:
        """Find a file that has not expired. ``batch-ID`` is the result file of a batch."""

    @abstractmethod
    async def list_files(
        self, tenant: str, page: Page, now: Instant, source: FileSource | None = None
    ) -> list[File]:
        """List files of a source, or of any, at most ``page.size + 1`` of them."""

    @abstractmethod
    async def delete_file(self, tenant: str, file_id: str, now: Instant) -> bool:
        """Remove a file from sight; False when there is none. A live batch keeps its bytes."""

    # batches ----------------------------------------------------------------------------------

    @abstractmethod
    async def add_batch(
        self,
        batch: Batch,
        *,
        live_max: int | None = None,
        tokens_max: int | None = None,
        webhook: WebhookConfig | None = None,
        once: Once | None = None,
    ) -> str:
        """Record a submitted batch; its input blob is pinned from now on.

        Args:
            batch: the new batch.
            live_max: how many live batches the tenant may have with this one; None for any number.
            tokens_max: how many estimated input tokens the tenant's live batches of its model may
                have with this one; None for any number.
            webhook: the targets that it names for its own events.
            once: the client's word that a call of this key makes one batch.

        Returns:
            the id of the batch that stands for the call: this one, or the one that an earlier call
            of the same key made; then nothing was recorded.

        Raises:
            Conflict: an earlier call of the same key asked for something else.
            MissingFile: its input file has gone in the meantime.
            OverQuota: the tenant has that many live batches already, or that many tokens in them.
        """

    @abstractmethod
    async def made_by(self, tenant: str, once: Once, now: Instant) -> str | None:
        """Name the batch that an earlier call of the same key made; None when there was none.

        Calls are remembered for `limits.IDEMPOTENCY_SECONDS`.

        Raises:
            Conflict: that call asked for something else.
        """

    @abstractmethod
    async def sweep_idempotency(self, before: Instant, limit: int) -> int:
        """Forget calls from before a time; give how many."""

    @abstractmethod
    async def get_batch(self, tenant: str, batch_id: str) -> Batch | None:
        """Find a batch, with its counters as the shard rows sum up."""

    @abstractmethod
    async def cancel_batch(
        self, tenant: str, batch_id: str, now: Instant, *, partial_results: bool
    ) -> Batch | None:
        """End a live batch as cancelled, with its event, and free its shards.

        Args:
            tenant: whose batch.
            batch_id: one that has ended already stays as it is.
            now: the time.
            partial_results: whether what it finished is to be shown (`unclosed_batches`).

        Returns:
            the batch as it stands then; None when there is none.
        """

    @abstractmethod
    async def delete_batch(self, tenant: str, batch_id: str, now: Instant) -> Batch | None:
        """Remove a batch from sight; a live one ends as cancelled, without an event.

        Its result file, if it has one, stays until its own end.

        Returns:
            the batch as it was last seen; None when there is none.
        """

    @abstractmethod
    async def update_batch(
        self,
        tenant: str,
        batch_id: str,
        now: Instant,
        *,
        display_name: str | None,
        priority: int | None,
    ) -> Batch | None:
        """Change what is not None; give the batch as it stands then, None when there is none."""

    @abstractmethod
    async def list_batches(
        self, tenant: str, page: Page, wanted: BatchFilter = ANY_BATCH
    ) -> list[Batch]:
        """List the batches that are wanted, at most ``page.size + 1`` of them."""

    @abstractmethod
    async def submitted_batches(
        self, limit: int, *, bytes_from: int = 0, bytes_below: int | None = None
    ) -> list[Batch]:
        """Give batches that wait for planning, oldest first, with inputs of such a size."""

    @abstractmethod
    async def open_batch(
        self, batch: Batch, plan: Plan, shards: Iterator[ShardPlan], now: Instant
    ) -> bool:
        """Record the plan and every shard; False when the batch waits for none.

        A submitted batch waits for its plan, and one that ended before it was planned if its
        partial results are due; that one stays ended.
        """

    @abstractmethod
    async def fail_batch(
        self, batch: Batch, plan: Plan | None, failure: Failure, now: Instant
    ) -> bool:
        """End a live batch as failed, with its event; False when it is not live any more."""

    @abstractmethod
    async def expire_batches(self, now: Instant, *, partial_results: bool = True) -> list[Batch]:
        """End live batches whose time is over, each with its event, and give them.

        At most `limits.SWEEP_ROWS_MAX` at once, so that nobody waits long for the database. Their
        shards are free and their results due as after `cancel_batch`.
        """

    # batches that ended early -----------------------------------------------------------------

    @abstractmethod
    async def unclosed_batches(self, limit: int) -> list[Batch]:
        """Give ended batches whose partial results are due, the one that ended first first.

        So are those whose results were shown before a shard of them was found damaged.
        """

    @abstractmethod
    async def claim_unfinished(
        self, batch: Batch, owner: str, now: Instant, lease_until: Instant
    ) -> Claim | None:
        """Take the first free shard of a batch whose partial results are due, to close it.

        As `claim`, and the claim is frozen and sealed in the same way; with the last seal the
        results are shown. None when there is no such shard.
        """

    @abstractmethod
    async def drop_partial(self, batch: Batch) -> None:
        """Show no results of a batch after all: they cannot be completed."""

    # work -------------------------------------------------------------------------------------

    @abstractmethod
    async def claimable(self, now: Instant, limit: int) -> list[Claimable]:
        """Give batches with a shard nobody holds: high priority first, then the oldest.

        Those are live, or have succeeded and lost a shard to damage since (`reopen_shard`).
        """

    @abstractmethod
    async def standings(self, limit: int) -> list[Standing]:
        """Say of live batches of all tenants, the oldest first, how others must wait for them."""

    @abstractmethod
    async def claim(
        self, tenant: str, batch_id: str, owner: str, now: Instant, lease_until: Instant
    ) -> Claim | None:
        """Take the first free shard of a claimable batch: its epoch rises, its lease begins.

        A shard that was never claimed before records its first journal part (epoch, 0) at once;
        any other must be frozen (`freeze`) before its owner may beat or seal.
        """

    @abstractmethod
    async def freeze(self, claim: Claim, parts: tuple[JournalPart, ...]) -> None:
        """Record which journal bytes of earlier owners count, ending with this owner's part.

        Raises:
            ClaimLost: the epoch has passed, or the batch is not live any more.
        """

    @abstractmethod
    async def beat(self, beats: Sequence[Beat], now: Instant, lease_until: Instant) -> list[Claim]:
        """Renew leases and raise what counts; give the claims that are lost.

        The counters of a shard that was damaged stay as they are until it is sealed again.
        """

    @abstractmethod
    async def release(self, claims: Sequence[Claim]) -> None:
        """Hand claims back; their shards are free at once. Lost ones are passed over."""

    @abstractmethod
    async def release_all(self) -> int:
        """Free every claim: only for a process that has just locked the data directory."""

    @abstractmethod
    async def seal(
        self, claim: Claim, segment: Segment, tally: Tally, now: Instant
    ) -> Batch | None:
        """Publish a shard's segment; with the last one the batch succeeds and its event is born.

        With the last one of a batch that ended early, its partial results are shown. With the last
        damaged one of a batch that has ended, its result files are as long as its segments again;
        nobody is told.

        Returns:
            the batch if this seal was its last.

        Raises:
            ClaimLost: the epoch has passed, or the batch is not live any more.
        """

    # reading ----------------------------------------------------------------------------------

    @abstractmethod
    async def segments(
        self, tenant: str, batch_id: str, from_shard: int, limit: int
    ) -> list[SealedSegment]:
        """Give the sealed segments that follow each other without a gap, from a shard on."""

    # webhooks ---------------------------------------------------------------------------------

    @abstractmethod
    async def add_webhook(self, webhook: Webhook, most: int) -> None:
        """Record a webhook with its secrets.

        Raises:
            Conflict: its id is taken.
            OverQuota: the tenant has ``most`` of them.
        """

    @abstractmethod
    async def get_webhook(self, tenant: str, webhook_id: str) -> Webhook | None:
        """Find a webhook."""

    @abstractmethod
    async def list_webhooks(self, tenant: str, page: Page) -> list[Webhook]:
        """List webhooks, at most ``page.size + 1`` of them."""

    @abstractmethod
    async def change_webhook(
        self, tenant: str, webhook_id: str, wish: WebhookWish, now: Instant
    ) -> Webhook | None:
        """Change what the wish names, and give the result; None when there is no such webhook.

        Enabling it starts its pending deliveries anew, at once.
        """

    @abstractmethod
    async def rotate_secret(
        self, tenant: str, webhook_id: str, secret: Secret, until: Instant, keep: int
    ) -> bool:
        """Add a secret as the newest and let the others end by then; False: no such webhook.

        At most ``keep`` secrets stay, the newest. Those that have ended when the new one was made
        are dropped.
        """

    @abstractmethod
    async def delete_webhook(self, tenant: str, webhook_id: str) -> bool:
        """Remove a webhook with its secrets and deliveries; False when there is none."""

    @abstractmethod
    async def add_ping(self, tenant: str, webhook_id: str, now: Instant) -> bool:
        """Add a delivery of a ping, whatever the webhook's state; False when there is none."""

    @abstractmethod
    async def due_deliveries(self, now: Instant, each: int, limit: int) -> list[Delivery]:
        """Give the pending deliveries whose time has come, at most ``each`` of one target.

        The deliveries of every event are born in the transaction that ends its batch. Those of a
        webhook that is not enabled wait.
        """

    @abstractmethod
    async def settle_delivery(
        self, delivery: Delivery, verdict: Verdict, outcome: str, now: Instant
    ) -> None:
        """Record an attempt and what it means for the delivery and its webhook, together."""

    @abstractmethod
    async def list_deliveries(self, tenant: str, target: str, limit: int) -> list[Delivery]:
        """Give the newest deliveries of a target: a webhook's id, or a batch's own address."""

    @abstractmethod
    async def sweep_deliveries(self, before: Instant, keep: int, limit: int) -> int:
        """Drop old deliveries and settled ones beyond a number; never one that can be tried."""

    # cached contents --------------------------------------------------------------------------

    @abstractmethod
    async def add_cache(self, cache: Cache, most: int) -> None:
        """Record a cached content, whose bytes are durable already.

        Raises:
            OverQuota: the tenant has ``most`` of them.
        """

    @abstractmethod
    async def get_cache(self, tenant: str, cache_id: str, alive_at: Instant) -> Cache | None:
        """Find a cached content that had not expired at that time and has not been deleted."""

    @abstractmethod
    async def list_caches(self, tenant: str, page: Page, now: Instant) -> list[Cache]:
        """List cached contents, at most ``page.size + 1`` of them."""

    @abstractmethod
    async def change_cache(
        self, tenant: str, cache_id: str, expires_at: Instant, now: Instant
    ) -> Cache | None:
        """Give a cached content another end, and give it as it stands then; None: there is none."""

    @abstractmethod
    async def delete_cache(self, tenant: str, cache_id: str, now: Instant) -> str | None:
        """Remove a cached content at once and name the blob it held; None: there is none."""

    # keys -------------------------------------------------------------------------------------

    @abstractmethod
    async def add_key(self, key: ApiKey, most: int) -> None:
        """Record a key.

        Raises:
            Conflict: its id is taken.
            OverQuota: there are ``most`` live ones.
        """

    @abstractmethod
    async def list_keys(self) -> list[ApiKey]:
        """Give every key that was ever made, the newest first."""

    @abstractmethod
    async def revoke_key(self, key_id: str, now: Instant) -> ApiKey | None:
        """End a key, and give it; one that was revoked before stays as it is. None: no such key."""

    @abstractmethod
    async def touch_key(self, key_id: str, now: Instant, before: Instant) -> None:
        """Record a use, unless one after ``before`` is recorded already."""

    # upkeep -----------------------------------------------------------------------------------

    @abstractmethod
    async def check(self) -> None:
        """Prove that the store can be written.

        Raises:
            StoreFault: it cannot; the message says why.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close for good."""
