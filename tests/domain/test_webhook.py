"""When a delivery is tried again, and what its end means."""

from __future__ import annotations

import msgspec
import pytest

from nightrate.domain.webhook import (
    PING,
    RETRY_SECONDS,
    Delivery,
    DeliveryState,
    Secret,
    Verdict,
    Webhook,
    WebhookState,
    judge,
)

DELIVERY = Delivery(
    tenant="t",
    event_id="e",
    target="w",
    webhook_id="w",
    batch_id="b",
    type="batch.succeeded",
    output_file_id=None,
    failure=None,
    user_metadata=None,
    happened_at=0,
    state=DeliveryState.PENDING,
    attempts=0,
    due_at=0,
    tried_at=None,
    outcome=None,
)


def after(attempts: int, **changes: str) -> Delivery:
    return msgspec.structs.replace(DELIVERY, attempts=attempts, **changes)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_any_success_ends_it(status: int) -> None:
    assert judge(DELIVERY, status, None, 0) == Verdict(state=DeliveryState.DELIVERED)


@pytest.mark.parametrize("status", [None, 100, 199, 301, 307, 400, 404, 500, 503])
def test_everything_else_is_tried_again(status: int | None) -> None:
    want = Verdict(state=DeliveryState.PENDING, wait_seconds=5)
    assert judge(DELIVERY, status, None, 0) == want


def test_the_waits_grow_and_span_a_day() -> None:
    waits = [judge(after(n), 500, None, 0).wait_seconds for n in range(len(RETRY_SECONDS))]
    assert waits == list(RETRY_SECONDS) == sorted(RETRY_SECONDS)
    assert 23 * 3600 < sum(RETRY_SECONDS) * 1.1 < 27 * 3600
    assert judge(DELIVERY, 500, None, 1).wait_seconds == pytest.approx(5.5)


def test_the_last_failure_gives_up_and_disables() -> None:
    verdict = judge(after(len(RETRY_SECONDS)), 500, None, 0)
    want = Verdict(state=DeliveryState.FAILED, webhook_state=WebhookState.EXHAUSTED)
    assert verdict == want


def test_gone_means_no_more() -> None:
    want = Verdict(state=DeliveryState.FAILED, webhook_state=WebhookState.DISABLED)
    assert judge(DELIVERY, 410, None, 0) == want
    assert judge(after(0, type=PING), 410, None, 0) == want


def test_a_ping_is_tried_once_and_disables_nothing() -> None:
    assert judge(after(0, type=PING), 500, None, 0) == Verdict(state=DeliveryState.FAILED)


@pytest.mark.parametrize(
    ("status", "asked", "wait"),
    [(429, 60, 60), (503, 60, 60), (503, 1, 5), (503, 10**9, 28800), (500, 60, 5), (None, 60, 5)],
)
def test_a_receiver_may_ask_for_time(status: int | None, asked: float, wait: float) -> None:
    assert judge(DELIVERY, status, asked, 0).wait_seconds == wait


def test_the_id_is_that_of_the_event() -> None:
    assert DELIVERY.message_id == after(3).message_id == "msg_e"


def test_ended_secrets_do_not_sign() -> None:
    secrets = tuple(
        Secret(secret_id=str(end), sealed="", hint="", created_at=0, expires_at=end)
        for end in (None, 11, 10)
    )
    webhook = Webhook(
        tenant="t",
        webhook_id="w",
        name="",
        uri="",
        events=(),
        state=WebhookState.ENABLED,
        created_at=0,
        updated_at=0,
        secrets=secrets,
    )
    assert [one.expires_at for one in webhook.live_secrets(10)] == [None, 11]
