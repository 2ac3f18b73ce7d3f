"""What every store promises about webhooks and deliveries."""
# ruff: noqa: D102, PLR2004 - the names of the promises are sentences, their numbers examples

from __future__ import annotations

import msgspec
import pytest

from nightrate.domain.batch import BatchForm
from nightrate.domain.file import Page
from nightrate.domain.shard import Tally
from nightrate.domain.webhook import (
    PING,
    Delivery,
    DeliveryState,
    Secret,
    Verdict,
    Webhook,
    WebhookConfig,
    WebhookState,
    WebhookWish,
)
from nightrate.errors import Conflict, OverQuota
from nightrate.store.base import Store
from nightrate.testing.store_samples import (
    END,
    FAULT,
    NOW,
    OURS,
    THEIRS,
    add_planned,
    make_batch,
    make_plan,
    segment_of,
    take,
)

RETRY = Verdict(state=DeliveryState.PENDING, wait_seconds=5)
DONE = Verdict(state=DeliveryState.DELIVERED)


def make_secret(number: int = 1, *, created_at: int = NOW) -> Secret:
    """Make the newest secret of a webhook."""
    return Secret(
        secret_id=f"s{number}",
        sealed=f"sealed {number}",
        hint="abc=",
        created_at=created_at,
        expires_at=None,
    )


def make_webhook(
    webhook_id: str = "w1", *events: str, tenant: str = OURS, created_at: int = NOW
) -> Webhook:
    """Make an enabled webhook."""
    return Webhook(
        tenant=tenant,
        webhook_id=webhook_id,
        name="My hook",
        uri=f"https://example.com/{webhook_id}",
        events=events or ("batch.succeeded", "batch.failed"),
        state=WebhookState.ENABLED,
        created_at=created_at,
        updated_at=created_at,
        secrets=(make_secret(),),
    )


async def end(store: Store, batch_id: str = "b1", **options: BatchForm) -> None:
    """Make a batch and let it succeed."""
    await add_planned(store, make_batch(batch_id, **options))  # type: ignore[arg-type]
    claim = await take(store, batch=batch_id)
    assert await store.seal(claim, segment_of(claim), Tally(2), NOW)


async def due(store: Store, now: int = NOW, each: int = 9, limit: int = 9) -> list[Delivery]:
    """Give what is due."""
    return await store.due_deliveries(now, each, limit)


async def only(store: Store, now: int = NOW) -> Delivery:
    """Give the one delivery that is due."""
    (delivery,) = await due(store, now)
    return delivery


class WebhookPromises:
    """Promises about webhooks and their secrets."""

    async def test_a_webhook_is_found_as_it_was_made(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        assert await store.get_webhook(OURS, "w1") == make_webhook()
        assert await store.get_webhook(THEIRS, "w1") is None

    async def test_the_id_of_a_webhook_is_its_own_within_a_tenant(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        await store.add_webhook(make_webhook(tenant=THEIRS), 9)
        with pytest.raises(Conflict, match="w1"):
            await store.add_webhook(make_webhook("w1", "batch.expired"), 9)
        assert await store.get_webhook(OURS, "w1") == make_webhook()

    async def test_a_tenant_has_no_more_webhooks_than_it_may(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 1)
        await store.add_webhook(make_webhook(tenant=THEIRS), 1)
        with pytest.raises(OverQuota, match="1 webhooks"):
            await store.add_webhook(make_webhook("w2"), 1)

    async def test_webhooks_are_listed_newest_first_page_by_page(self, store: Store) -> None:
        for number in range(3):
            await store.add_webhook(make_webhook(f"w{number}", created_at=NOW + number), 9)
        await store.add_webhook(make_webhook(tenant=THEIRS), 9)
        first = await store.list_webhooks(OURS, Page(size=1))
        assert [one.webhook_id for one in first] == ["w2", "w1"]
        rest = await store.list_webhooks(OURS, Page(size=9, after=(NOW + 2, "w2")))
        assert [one.webhook_id for one in rest] == ["w1", "w0"]

    async def test_a_change_leaves_what_it_does_not_name(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        changed = await store.change_webhook(OURS, "w1", WebhookWish(name="new"), NOW + 1)
        want = msgspec.structs.replace(make_webhook(), name="new", updated_at=NOW + 1)
        assert changed == want
        wish = WebhookWish(uri="https://h", events=("batch.expired",), state=WebhookState.DISABLED)
        changed = await store.change_webhook(OURS, "w1", wish, NOW + 2)
        assert changed == await store.get_webhook(OURS, "w1")
        assert changed == msgspec.structs.replace(
            want,
            uri="https://h",
            events=("batch.expired",),
            state=WebhookState.DISABLED,
            updated_at=NOW + 2,
        )

    async def test_a_webhook_that_is_not_there_cannot_be_changed(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        assert await store.change_webhook(THEIRS, "w1", WebhookWish(name="x"), NOW) is None
        assert not await store.rotate_secret(THEIRS, "w1", make_secret(2), NOW, 9)
        assert not await store.delete_webhook(THEIRS, "w1")
        assert not await store.add_ping(THEIRS, "w1", NOW)
        assert await store.get_webhook(OURS, "w1") == make_webhook()

    async def test_a_rotated_secret_signs_until_its_end(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        secret = make_secret(2, created_at=NOW + 1)
        assert await store.rotate_secret(OURS, "w1", secret, NOW + 50, 9)
        webhook = await store.get_webhook(OURS, "w1")
        assert webhook is not None
        assert [(one.secret_id, one.expires_at) for one in webhook.secrets] == [
            ("s2", None),
            ("s1", NOW + 50),
        ]

    async def test_a_later_rotation_gives_no_secret_more_time(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        await store.rotate_secret(OURS, "w1", make_secret(2, created_at=NOW + 1), NOW + 50, 9)
        await store.rotate_secret(OURS, "w1", make_secret(3, created_at=NOW + 2), NOW + 90, 9)
        webhook = await store.get_webhook(OURS, "w1")
        assert webhook is not None
        assert [one.expires_at for one in webhook.secrets] == [None, NOW + 90, NOW + 50]

    async def test_ended_and_surplus_secrets_are_dropped(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        await store.rotate_secret(OURS, "w1", make_secret(2, created_at=NOW + 1), NOW + 1, 9)
        webhook = await store.get_webhook(OURS, "w1")
        assert webhook is not None
        assert [one.secret_id for one in webhook.secrets] == ["s2"]
        for number in (3, 4):
            secret = make_secret(number, created_at=NOW + number)
            await store.rotate_secret(OURS, "w1", secret, NOW + 90, 2)
        webhook = await store.get_webhook(OURS, "w1")
        assert webhook is not None
        assert [one.secret_id for one in webhook.secrets] == ["s4", "s3"]

    async def test_a_deleted_webhook_leaves_nothing(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        await end(store)
        assert await store.delete_webhook(OURS, "w1")
        assert await store.get_webhook(OURS, "w1") is None
        assert await store.list_deliveries(OURS, "w1", 9) == []
        assert await due(store) == []
        await store.add_webhook(make_webhook(), 9)
        assert await store.get_webhook(OURS, "w1") == make_webhook()


class DeliveryPromises:
    """Promises about what is told, to whom, and how often."""

    async def test_an_ended_batch_is_told_to_who_subscribed(self, store: Store) -> None:
        await store.add_webhook(make_webhook("w1", "batch.succeeded"), 9)
        await store.add_webhook(make_webhook("w2", "batch.failed", "batch.succeeded"), 9)
        await store.add_webhook(make_webhook("w3", "batch.failed"), 9)
        await store.add_webhook(make_webhook("w4", "batch.succeeded", tenant=THEIRS), 9)
        await end(store)
        deliveries = await due(store)
        assert [one.target for one in deliveries] == ["w1", "w2"]
        assert len({one.message_id for one in deliveries}) == 1
        first = deliveries[0]
        assert first == Delivery(
            tenant=OURS,
            event_id=first.event_id,
            target="w1",
            webhook_id="w1",
            batch_id="b1",
            type="batch.succeeded",
            output_file_id="batch-b1",
            failure=None,
            user_metadata=None,
            happened_at=NOW,
            state=DeliveryState.PENDING,
            attempts=0,
            due_at=NOW,
            tried_at=None,
            outcome=None,
        )

    async def test_an_inline_batch_names_no_result_file(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        await end(store, form=BatchForm.INLINE)
        assert (await only(store)).output_file_id is None

    async def test_a_failed_batch_is_told_with_its_failure(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        await store.add_batch(make_batch())
        assert await store.fail_batch(make_batch(), None, FAULT, NOW)
        delivery = await only(store)
        assert (delivery.type, delivery.failure) == ("batch.failed", FAULT)
        assert delivery.output_file_id is None

    async def test_an_expired_batch_is_told(self, store: Store) -> None:
        await store.add_webhook(make_webhook("w1", "batch.expired"), 9)
        await store.add_batch(make_batch())
        await store.expire_batches(END)
        assert (await only(store, END)).type == "batch.expired"

    async def test_the_targets_of_a_batch_replace_the_registered_ones(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        batch = make_batch()
        config = WebhookConfig(uris=("https://a", "https://b"), user_metadata='{"k":1}')
        await store.add_batch(batch, webhook=config)
        assert await store.open_batch(batch, *make_plan(1), NOW)
        claim = await take(store)
        await store.seal(claim, segment_of(claim), Tally(2), NOW)
        found = [(one.target, one.webhook_id, one.user_metadata) for one in await due(store)]
        assert found == [("https://a", None, '{"k":1}'), ("https://b", None, '{"k":1}')]

    async def test_metadata_without_targets_goes_to_the_registered_ones(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        config = WebhookConfig(uris=(), user_metadata='{"k":1}')
        await store.add_batch(make_batch(), webhook=config)
        assert await store.fail_batch(make_batch(), None, FAULT, NOW)
        delivery = await only(store)
        assert (delivery.target, delivery.user_metadata) == ("w1", '{"k":1}')

    async def test_the_targets_of_a_batch_hear_of_every_end(self, store: Store) -> None:
        config = WebhookConfig(uris=("https://a",), user_metadata=None)
        await store.add_batch(make_batch(), webhook=config)
        await store.expire_batches(END)
        assert (await only(store, END)).type == "batch.expired"

    async def test_nothing_is_told_before_the_end_and_nothing_twice(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        await add_planned(store, make_batch(), shards=2)
        first, second = await take(store), await take(store)
        await store.seal(first, segment_of(first), Tally(2), NOW)
        assert await due(store) == []
        await store.seal(second, segment_of(second), Tally(2), NOW)
        assert not await store.fail_batch(make_batch(), None, FAULT, NOW)
        assert (await only(store)).type == "batch.succeeded"

    async def test_an_attempt_that_failed_is_due_again_later(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        await end(store)
        before = await only(store)
        await store.settle_delivery(before, RETRY, "status 500", NOW + 1)
        assert await due(store, NOW + 5_000_000) == []
        after = await only(store, NOW + 5_000_001)
        assert after == msgspec.structs.replace(
            before,
            attempts=1,
            due_at=NOW + 5_000_001,
            tried_at=NOW + 1,
            outcome="status 500",
        )

    async def test_a_delivery_ends_once(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        await end(store)
        delivery = await only(store)
        await store.settle_delivery(delivery, DONE, "status 200", NOW + 1)
        exhausted = Verdict(state=DeliveryState.FAILED, webhook_state=WebhookState.EXHAUSTED)
        await store.settle_delivery(delivery, exhausted, "status 500", NOW + 2)
        (logged,) = await store.list_deliveries(OURS, "w1", 9)
        assert (logged.state, logged.outcome) == (DeliveryState.DELIVERED, "status 200")
        webhook = await store.get_webhook(OURS, "w1")
        assert webhook is not None
        assert webhook.state is WebhookState.ENABLED
        assert await due(store, END) == []

    async def test_a_disabled_webhook_hears_nothing_new_and_what_waits_waits(
        self, store: Store
    ) -> None:
        await store.add_webhook(make_webhook(), 9)
        for batch_id in ("b1", "b2"):
            await end(store, batch_id)
        given_up = Verdict(state=DeliveryState.FAILED, webhook_state=WebhookState.EXHAUSTED)
        first, second = await due(store)
        await store.settle_delivery(second, RETRY, "status 500", NOW)
        await store.settle_delivery(first, given_up, "status 500", NOW)
        await end(store, "b3")
        assert await due(store, END * 9) == []
        await store.change_webhook(OURS, "w1", WebhookWish(state=WebhookState.ENABLED), NOW + 7)
        again = await only(store, NOW + 7)
        assert (again.event_id, again.attempts) == (second.event_id, 0)

    async def test_a_late_attempt_does_not_overrule_the_client(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        await end(store)
        delivery = await only(store)
        wish = WebhookWish(state=WebhookState.DISABLED)
        await store.change_webhook(OURS, "w1", wish, NOW)
        exhausted = Verdict(state=DeliveryState.FAILED, webhook_state=WebhookState.EXHAUSTED)
        await store.settle_delivery(delivery, exhausted, "status 500", NOW)
        webhook = await store.get_webhook(OURS, "w1")
        assert webhook is not None
        assert webhook.state is WebhookState.DISABLED

    async def test_a_ping_goes_to_a_disabled_webhook_too(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        wish = WebhookWish(state=WebhookState.DISABLED)
        await store.change_webhook(OURS, "w1", wish, NOW)
        assert await store.add_ping(OURS, "w1", NOW)
        delivery = await only(store)
        assert (delivery.type, delivery.batch_id) == (PING, None)

    async def test_a_busy_target_leaves_room_for_the_others(self, store: Store) -> None:
        await store.add_webhook(make_webhook("w1"), 9)
        for number in range(4):
            await end(store, f"b{number}")
        await store.add_webhook(make_webhook("w2"), 9)
        await store.add_ping(OURS, "w2", NOW + 1)
        found = await due(store, NOW + 1, each=2)
        assert [one.target for one in found] == ["w1", "w1", "w2"]
        assert len(await due(store, NOW + 1, limit=3)) == 3

    async def test_old_deliveries_are_dropped_unless_they_can_be_tried(self, store: Store) -> None:
        await store.add_webhook(make_webhook("w1", "batch.succeeded"), 9)
        await store.add_webhook(make_webhook("w2", "batch.succeeded"), 9)
        await end(store)
        assert await store.sweep_deliveries(NOW, 9, 9) == 0
        for one in await due(store):
            if one.target == "w1":
                await store.settle_delivery(one, DONE, "status 200", NOW)
        assert await store.sweep_deliveries(NOW - 1, 9, 9) == 0
        assert await store.sweep_deliveries(NOW, 9, 9) == 1
        assert [one.target for one in await due(store)] == ["w2"]
        wish = WebhookWish(state=WebhookState.DISABLED)
        await store.change_webhook(OURS, "w2", wish, NOW)
        assert await store.sweep_deliveries(NOW, 9, 9) == 1

    async def test_the_log_of_deliveries_is_no_longer_than_it_may_be(self, store: Store) -> None:
        await store.add_webhook(make_webhook(), 9)
        for number in range(4):
            await end(store, f"b{number}")
            await store.settle_delivery(await only(store), DONE, "status 200", NOW + number)
        assert await store.sweep_deliveries(0, 2, 9) == 2
        logged = await store.list_deliveries(OURS, "w1", 9)
        assert sorted(str(one.batch_id) for one in logged) == ["b2", "b3"]
