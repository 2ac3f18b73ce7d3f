"""Webhooks as resources, and what a batch says about its own events."""

from __future__ import annotations

import msgspec
import pytest

from nightrate import limits, webhook_limits
from nightrate.dialects.gemini_shapes import WebhookConfigBody
from nightrate.dialects.gemini_webhooks import (
    parse_rotation,
    parse_webhook,
    parse_webhook_update,
    render_rotation,
    render_webhook,
    render_webhooks,
    webhook_config,
    webhook_id,
)
from nightrate.domain.webhook import WebhookConfig, WebhookState, WebhookWish
from nightrate.errors import BadRequest
from nightrate.testing.store_webhooks import make_secret, make_webhook

FULL = {"name": "My hook", "uri": "https://h", "subscribed_events": ["batch.failed"]}


def encoded(value: object) -> bytes:
    return msgspec.json.encode(value)


@pytest.mark.parametrize("events", ["subscribed_events", "subscribedEvents"])
def test_a_webhook_is_read_in_either_spelling(events: str) -> None:
    body = {"name": "My hook", "uri": "https://h", events: ["batch.failed", "batch.failed"]}
    want = WebhookWish(name="My hook", uri="https://h", events=("batch.failed",))
    assert parse_webhook(encoded(body)) == want


def test_a_webhook_needs_no_name_and_may_carry_what_the_service_sets() -> None:
    body = {**FULL, "name": None, "id": "x", "create_time": "now", "new_signing_secret": "s"}
    assert parse_webhook(encoded(body)).name is None
    assert parse_webhook(encoded({**FULL, "name": ""})).name == ""


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"uri": None}, "uri"),
        ({"subscribed_events": None}, "subscribed_events"),
        ({"subscribed_events": []}, "subscribed_events"),
        ({"subscribed_events": ["batch.paused"]}, "subscribed_events"),
        ({"subscribed_events": ["webhook.ping"]}, "subscribed_events"),
        ({"subscribed_events": "batch.failed"}, "subscribed_events"),
        ({"state": "disabled"}, "state"),
        ({"state": "on"}, "state"),
        ({"name": "x" * (limits.DISPLAY_NAME_CHARACTERS_MAX + 1)}, "name"),
        ({"url": "https://h"}, "url"),
    ],
)
def test_a_wrong_member_is_named(change: dict[str, object], field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_webhook(encoded({**FULL, **change}))
    assert refused.value.field == field


@pytest.mark.parametrize("mask", [None, ""])
def test_without_a_mask_every_member_counts(mask: str | None) -> None:
    want = WebhookWish(uri="https://i", state=WebhookState.DISABLED)
    assert parse_webhook_update(b'{"uri": "https://i", "state": "DISABLED"}', mask) == want


@pytest.mark.parametrize("mask", ["subscribed_events, state", "subscribedEvents,state"])
def test_a_mask_chooses(mask: str) -> None:
    body = encoded({**FULL, "state": "enabled"})
    want = WebhookWish(events=("batch.failed",), state=WebhookState.ENABLED)
    assert parse_webhook_update(body, mask) == want


@pytest.mark.parametrize("mask", ["id", "name,", "state"])
def test_a_mask_names_what_can_be_changed_and_is_there(mask: str) -> None:
    with pytest.raises(BadRequest, match="update_mask"):
        parse_webhook_update(encoded(FULL), mask)


def test_the_client_cannot_say_that_deliveries_failed() -> None:
    with pytest.raises(BadRequest, match="neither"):
        parse_webhook_update(b'{"state": "disabled_due_to_failed_deliveries"}', None)


@pytest.mark.parametrize("wish", ["a", "my-example-webhook-123", "0" * 63])
def test_an_id_may_be_chosen(wish: str) -> None:
    assert webhook_id(wish) == wish


@pytest.mark.parametrize("wish", ["-a", "a-", "A", "a b", "a/b", "a:ping", "0" * 64])
def test_an_id_that_cannot_be_one_is_refused(wish: str) -> None:
    with pytest.raises(BadRequest, match="webhook_id"):
        webhook_id(wish)


@pytest.mark.parametrize(
    ("body", "at_once"),
    [
        (b"", False),
        (b"{}", False),
        (b'{"revocation_behavior": "revoke_previous_secrets_after_h24"}', False),
        (b'{"revocationBehavior": "REVOKE_PREVIOUS_SECRETS_AFTER_H24"}', False),
        (b'{"revocation_behavior": "REVOKE_PREVIOUS_SECRETS_IMMEDIATELY"}', True),
    ],
)
def test_a_rotation_says_when_old_secrets_end(body: bytes, at_once: bool) -> None:  # noqa: FBT001
    assert parse_rotation(body) is at_once


def test_an_unknown_revocation_is_refused() -> None:
    with pytest.raises(BadRequest, match="revocation_behavior") as refused:
        parse_rotation(b'{"revocation_behavior": "never"}')
    assert refused.value.field == "revocation_behavior"


# rendering ------------------------------------------------------------------------------------


def test_a_webhook_is_written_in_snake_case_without_its_secret() -> None:
    older = msgspec.structs.replace(make_secret(0), hint="old=", expires_at=2_000_000)
    webhook = msgspec.structs.replace(make_webhook(), secrets=(make_secret(), older))
    document = msgspec.json.decode(render_webhook(webhook, 1_999_999))
    assert document == {
        "id": "w1",
        "name": "My hook",
        "uri": "https://example.com/w1",
        "subscribed_events": ["batch.succeeded", "batch.failed"],
        "state": "enabled",
        "create_time": "1970-01-01T00:00:00.001000Z",
        "update_time": "1970-01-01T00:00:00.001000Z",
        "signing_secrets": [
            {"truncated_secret": "whsec_...abc="},
            {"truncated_secret": "whsec_...old=", "expire_time": "1970-01-01T00:00:02Z"},
        ],
    }
    shown = msgspec.json.decode(render_webhook(webhook, 2_000_000, "whsec_x"))
    assert len(shown["signing_secrets"]) == 1
    assert shown["new_signing_secret"] == "whsec_x"


def test_a_page_of_webhooks() -> None:
    page = msgspec.json.decode(render_webhooks([make_webhook()], "t", 0))
    assert (page["webhooks"][0]["id"], page["next_page_token"]) == ("w1", "t")
    assert msgspec.json.decode(render_webhooks([], None, 0)) == {}


def test_a_rotation_gives_the_secret() -> None:
    assert msgspec.json.decode(render_rotation("whsec_x")) == {"secret": "whsec_x"}


# of one batch ---------------------------------------------------------------------------------


def read(uris: list[str] | None = None, metadata: dict[str, object] | None = None) -> object:
    return webhook_config(WebhookConfigBody(uris, metadata), "c")


def test_a_batch_that_says_nothing_has_no_config() -> None:
    assert webhook_config(None, "c") is None
    assert read() is None
    assert read([], {}) is None


def test_targets_count_once_and_metadata_is_kept_compact() -> None:
    found = read(["https://a", "https://a", "https://b"], {"k": [1, "é/", None, True]})
    want = WebhookConfig(uris=("https://a", "https://b"), user_metadata='{"k":[1,"é/",null,true]}')
    assert found == want
    assert read(["https://a"]) == WebhookConfig(uris=("https://a",), user_metadata=None)
    assert read(None, {"k": "v"}) == WebhookConfig(uris=(), user_metadata='{"k":"v"}')


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"b": 1.0, "a": -0.0}, '{"b":1,"a":0}'),
        ({"b": 0, "10": 1, "2": 2, "01": 3}, '{"2":2,"10":1,"b":0,"01":3}'),
        ({"4294967295": 1, "0": 2}, '{"0":2,"4294967295":1}'),
        ({"a": {"z": 0, "1": [{"y": 1, "0": 2}]}}, '{"a":{"1":[{"0":2,"y":1}],"z":0}}'),
        ({"a": 0.5, "b": 123.456, "c": 2**53 - 1}, '{"a":0.5,"b":123.456,"c":9007199254740991}'),
    ],
)
def test_metadata_is_as_javascript_writes_it(metadata: dict[str, object], text: str) -> None:
    assert read(["https://a"], metadata) == WebhookConfig(uris=("https://a",), user_metadata=text)


@pytest.mark.parametrize("number", [2**53, -(2**53), 1e300, 1e-5])
def test_numbers_that_languages_spell_differently_are_refused(number: float) -> None:
    with pytest.raises(BadRequest, match="send it as a string"):
        read(["https://a"], {"k": number})


@pytest.mark.parametrize(
    ("uris", "metadata", "field"),
    [
        ([f"https://{n}" for n in range(webhook_limits.WEBHOOK_URIS_MAX + 1)], None, "c.uris"),
        ([""], None, "c.uris"),
        (["https://a"], {"k": "x" * webhook_limits.USER_METADATA_BYTES_MAX}, "c.userMetadata"),
    ],
)
def test_a_config_has_bounds(
    uris: list[str], metadata: dict[str, object] | None, field: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        read(uris, metadata)
    assert refused.value.field == field
