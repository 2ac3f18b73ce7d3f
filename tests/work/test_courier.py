"""Events reach real receivers, signed, again and again until they are taken."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
import standardwebhooks
from aiohttp import web

from nightrate import clock, limits, webhook_limits
from nightrate.domain.generation import Failure
from nightrate.domain.webhook import (
    RETRY_SECONDS,
    Delivery,
    DeliveryState,
    Webhook,
    WebhookConfig,
    WebhookState,
    WebhookWish,
)
from nightrate.errors import Code, StoreFault
from nightrate.service.vault import Vault
from nightrate.service.webhooks import Webhooks
from nightrate.tools.addresses import Addresses
from nightrate.work.courier import Courier
from tests.work.workshop import TENANT, Workshop, line

BASE = "http://127.0.0.1:8080"


class Receiver:
    """A real server that takes events and answers as it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Mapping[str, str], bytes]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.url = ""
        self.hold: asyncio.Event | None = None
        self.called = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        lowered = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append((lowered, await request.read()))
        self.called.set()
        if self.hold is not None:
            await self.hold.wait()
        return web.Response(status=self.status, headers=self.headers)


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[Receiver]:
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as receiver:
        yield receiver


class Post:
    """A courier over a workshop, and the means to make events."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.vault = Vault(shop.path / "keys")
        self.addresses = Addresses()
        self.courier = Courier(shop.store, self.vault, self.addresses, BASE)
        self.webhooks = Webhooks(shop.store, self.vault, self.addresses, self.courier.wake)

    async def register(self, uri: str) -> tuple[Webhook, str]:
        wish = WebhookWish(uri=uri, events=("batch.succeeded", "batch.failed"))
        return await self.webhooks.create(TENANT, wish, None)

    async def fail_a_batch(
        self, batch_id: str = "b1", webhook: WebhookConfig | None = None
    ) -> None:
        batch = await self.shop.submit([line("x")], f"{batch_id}-made")
        batch = msgspec.structs.replace(batch, batch_id=batch_id)
        await self.shop.store.add_batch(batch, webhook=webhook)
        failure = Failure(Code.INVALID_ARGUMENT, "Line 3: é.")
        assert await self.shop.store.fail_batch(batch, None, failure, clock.now())

    async def due(self, now: int | None = None) -> list[Delivery]:
        return await self.shop.store.due_deliveries(now or clock.now(), 99, 99)

    async def carry_due(self, now: int | None = None) -> None:
        async with self.courier.client() as client:
            for delivery in await self.due(now):
                await self.courier.carry(client, delivery)

    async def logged(self, target: str) -> Delivery:
        (delivery,) = await self.shop.store.list_deliveries(TENANT, target, 9)
        return delivery


@pytest.fixture
def post(shop: Workshop) -> Post:
    return Post(shop)


def at(monkeypatch: pytest.MonkeyPatch, now: int) -> None:
    monkeypatch.setattr("nightrate.clock.now", lambda: now)


# what arrives ---------------------------------------------------------------------------------


async def test_a_static_event_is_verified_by_a_foreign_library(
    post: Post, receiver: Receiver
) -> None:
    _, secret = await post.register(receiver.url)
    await post.fail_a_batch()
    await post.carry_due()
    ((headers, body),) = receiver.calls
    event = standardwebhooks.Webhook(secret).verify(body, dict(headers))
    assert event["type"] == "batch.failed"
    assert event["data"] == {
        "id": "batches/b1",
        "error_code": "INVALID_ARGUMENT",
        "error_message": "Line 3: é.",
    }
    assert headers["content-type"] == "application/json"
    assert "cookie" not in headers
    assert await post.due(2**60) == []


async def test_while_secrets_overlap_both_verify(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook, old = await post.register(receiver.url)
    new = await post.webhooks.rotate(TENANT, webhook.webhook_id, at_once=False)
    await post.fail_a_batch()
    await post.carry_due()
    headers, body = receiver.calls[0]
    for secret in (old, new):
        standardwebhooks.Webhook(secret).verify(body, dict(headers))
    assert len(headers["webhook-signature"].split(" ")) == 2
    end = clock.later(clock.now(), webhook_limits.SECRET_OVERLAP_SECONDS + 1)
    at(monkeypatch, end)
    await post.fail_a_batch("b2")
    await post.carry_due()
    assert len(receiver.calls[1][0]["webhook-signature"].split(" ")) == 1


async def test_a_secret_that_was_revoked_does_not_verify(post: Post, receiver: Receiver) -> None:
    webhook, old = await post.register(receiver.url)
    new = await post.webhooks.rotate(TENANT, webhook.webhook_id, at_once=True)
    await post.fail_a_batch()
    await post.carry_due()
    headers, body = receiver.calls[0]
    standardwebhooks.Webhook(new).verify(body, dict(headers))
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(old).verify(body, dict(headers))


async def test_a_dynamic_event_carries_a_token_for_its_target(
    post: Post, receiver: Receiver
) -> None:
    other, _ = await post.register("http://127.0.0.1:9/never")
    config = WebhookConfig(uris=(receiver.url,), user_metadata='{"run":"é7"}')
    await post.fail_a_batch(webhook=config)
    await post.carry_due()
    ((headers, body),) = receiver.calls
    token = headers["webhook-signature"]
    keys = jwt.PyJWKSet.from_dict(msgspec.json.decode(post.vault.public_keys))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=receiver.url, issuer=BASE)
    event = msgspec.json.decode(body)
    assert event["user_metadata"] == {"run": "é7"}
    assert {name: claims[name] for name in event} == event
    assert claims["jti"] == headers["webhook-id"]
    assert claims["iat"] == int(headers["webhook-timestamp"])
    assert claims["exp"] - claims["iat"] == webhook_limits.TOKEN_LIFETIME_SECONDS
    assert claims["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert await post.shop.store.list_deliveries(TENANT, other.webhook_id, 9) == []


async def test_a_ping_is_delivered_and_logged(post: Post, receiver: Receiver) -> None:
    webhook, secret = await post.register(receiver.url)
    await post.webhooks.ping(TENANT, webhook.webhook_id)
    await post.carry_due()
    headers, body = receiver.calls[0]
    event = standardwebhooks.Webhook(secret).verify(body, dict(headers))
    assert (event["type"], event["data"]) == ("webhook.ping", {"id": webhook.webhook_id})
    logged = await post.logged(webhook.webhook_id)
    assert (logged.state, logged.outcome) == (DeliveryState.DELIVERED, "status 200")


# what goes wrong ------------------------------------------------------------------------------


async def test_every_attempt_has_the_same_id_and_body_and_its_own_time(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook, _ = await post.register(receiver.url)
    await post.fail_a_batch()
    monkeypatch.setattr("nightrate.clock.jitter", lambda: 0.0)
    receiver.status = 500
    for _ in range(len(RETRY_SECONDS) + 1):
        (delivery,) = await post.due(2**60)
        at(monkeypatch, delivery.due_at)
        assert await post.due(delivery.due_at - 1) == []
        await post.carry_due(delivery.due_at)
    times = [int(headers["webhook-timestamp"]) for headers, _ in receiver.calls]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits == list(RETRY_SECONDS)
    assert len({headers["webhook-id"] for headers, _ in receiver.calls}) == 1
    assert len({body for _, body in receiver.calls}) == 1
    assert await post.due(2**60) == []
    found = await post.webhooks.get(TENANT, webhook.webhook_id)
    assert found.state is WebhookState.EXHAUSTED
    wish = WebhookWish(state=WebhookState.ENABLED)
    found = await post.webhooks.change(TENANT, webhook.webhook_id, wish)
    assert found.state is WebhookState.ENABLED


async def test_a_redirect_is_not_followed(post: Post, receiver: Receiver) -> None:
    async with listening(Receiver()) as elsewhere:
        webhook, _ = await post.register(receiver.url)
        receiver.status, receiver.headers = 307, {"location": elsewhere.url}
        await post.fail_a_batch()
        await post.carry_due()
        assert elsewhere.calls == []
    assert (await post.logged(webhook.webhook_id)).outcome == "status 307"


async def test_gone_disables_the_webhook(post: Post, receiver: Receiver) -> None:
    webhook, _ = await post.register(receiver.url)
    receiver.status = 410
    await post.fail_a_batch()
    await post.carry_due()
    found = await post.webhooks.get(TENANT, webhook.webhook_id)
    assert found.state is WebhookState.DISABLED


@pytest.mark.parametrize("form", ["3600", "date"])
async def test_a_receiver_that_asks_for_time_gets_it(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    webhook, _ = await post.register(receiver.url)
    await post.fail_a_batch()
    now = (clock.now() // 1_000_000 + 1) * 1_000_000
    at(monkeypatch, now)
    date = email.utils.formatdate(now // 1_000_000 + 3600, usegmt=True)
    receiver.status = 503
    receiver.headers = {"retry-after": date if form == "date" else form}
    await post.carry_due()
    assert (await post.logged(webhook.webhook_id)).due_at == clock.later(now, 3600)


async def test_nonsense_in_retry_after_is_passed_over(post: Post, receiver: Receiver) -> None:
    webhook, _ = await post.register(receiver.url)
    receiver.status, receiver.headers = 503, {"retry-after": "soon"}
    await post.fail_a_batch()
    await post.carry_due()
    logged = await post.logged(webhook.webhook_id)
    assert logged.tried_at is not None
    assert 5 <= (logged.due_at - logged.tried_at) / 1_000_000 <= 5.5


async def test_a_receiver_that_does_not_answer_is_given_up(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_limits, "WEBHOOK_TIMEOUT_SECONDS", 0.1)
    webhook, _ = await post.register(receiver.url)
    receiver.hold = asyncio.Event()
    await post.fail_a_batch()
    await post.carry_due()
    receiver.hold.set()
    logged = await post.logged(webhook.webhook_id)
    assert (logged.state, logged.attempts) == (DeliveryState.PENDING, 1)
    assert logged.outcome == "no answer within 0.1 seconds"


async def test_nobody_at_home_is_a_failed_attempt(post: Post) -> None:
    gone = Receiver()
    async with listening(gone):
        webhook, _ = await post.register(gone.url)
    await post.fail_a_batch()
    await post.carry_due()
    logged = await post.logged(webhook.webhook_id)
    assert logged.attempts == 1
    assert str(logged.outcome).startswith("not connected: ")


async def test_a_name_that_leads_to_a_forbidden_address_is_not_dialled(
    post: Post, receiver: Receiver
) -> None:
    port = receiver.url.rpartition(":")[2]
    webhook, _ = await post.register(f"https://localhost:{port}")
    post.addresses._loopback = False
    await post.fail_a_batch()
    await post.carry_due()
    assert receiver.calls == []
    assert "is not allowed" in str((await post.logged(webhook.webhook_id)).outcome)


async def test_a_target_that_became_forbidden_is_not_called(post: Post, receiver: Receiver) -> None:
    webhook, _ = await post.register(receiver.url)
    post.addresses._loopback = False
    await post.fail_a_batch()
    await post.carry_due()
    assert receiver.calls == []
    outcome = str((await post.logged(webhook.webhook_id)).outcome)
    assert "does not call addresses such as 127.0.0.1" in outcome


async def test_what_was_deleted_meanwhile_is_not_sent(post: Post, receiver: Receiver) -> None:
    webhook, _ = await post.register(receiver.url)
    await post.fail_a_batch()
    (delivery,) = await post.due()
    await post.webhooks.delete(TENANT, webhook.webhook_id)
    async with post.courier.client() as client:
        await post.courier.carry(client, delivery)
    assert receiver.calls == []


async def test_secrets_of_another_key_send_nothing_unsigned(
    post: Post, receiver: Receiver, tmp_path: Path
) -> None:
    webhook, _ = await post.register(receiver.url)
    post.courier._vault = Vault(tmp_path / "other")
    await post.fail_a_batch()
    await post.carry_due()
    assert receiver.calls == []
    assert "secrets.key" in str((await post.logged(webhook.webhook_id)).outcome)


# the loop -------------------------------------------------------------------------------------


@asynccontextmanager
async def at_work(courier: Courier) -> AsyncIterator[None]:
    task = asyncio.create_task(courier.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 - it comes to be in the database
        await asyncio.sleep(0)


async def test_the_loop_delivers_each_event_once(post: Post, receiver: Receiver) -> None:
    webhook, _ = await post.register(receiver.url)
    count = webhook_limits.DELIVERIES_AT_ONCE_MAX + 4
    for number in range(count):
        await post.fail_a_batch(f"b{number}")

    async def all_settled() -> bool:
        logged = await post.shop.store.list_deliveries(TENANT, webhook.webhook_id, 99)
        return all(one.state is DeliveryState.DELIVERED for one in logged)

    async with at_work(post.courier):
        await until(all_settled)
    assert len({headers["webhook-id"] for headers, _ in receiver.calls}) == count
    assert len(receiver.calls) == count


async def test_a_target_that_hangs_does_not_hold_up_another(post: Post, receiver: Receiver) -> None:
    async with listening(Receiver()) as slow:
        slow.hold = asyncio.Event()
        await post.register(slow.url)
        for number in range(2 * webhook_limits.DELIVERIES_AT_ONCE_MAX):
            await post.fail_a_batch(f"b{number}")
        webhook, _ = await post.register(receiver.url)
        await post.webhooks.ping(TENANT, webhook.webhook_id)
        async with at_work(post.courier):
            await receiver.called.wait()
            assert len(slow.calls) <= webhook_limits.DELIVERIES_EACH_MAX
        slow.hold.set()


@pytest.mark.parametrize("verb", ["due_deliveries", "settle_delivery"])
async def test_a_disk_that_refuses_delays_and_loses_nothing(
    post: Post,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    verb: str,
) -> None:
    webhook, _ = await post.register(receiver.url)
    await post.fail_a_batch()
    real = getattr(post.shop.store, verb)
    pauses: list[float] = []

    async def broken_once(*arguments: Any) -> Any:
        if not pauses:
            raise StoreFault("the disk is full")
        return await real(*arguments)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def delivered() -> bool:
        return (await post.logged(webhook.webhook_id)).state is DeliveryState.DELIVERED

    monkeypatch.setattr(post.shop.store, verb, broken_once)
    monkeypatch.setattr("nightrate.clock.sleep", pause)
    async with at_work(post.courier):
        await until(delivered)
    assert pauses == [limits.DISK_PAUSE_SECONDS]
    assert "the disk is full" in caplog.text
    assert len({headers["webhook-id"] for headers, _ in receiver.calls}) == 1
