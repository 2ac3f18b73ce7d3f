"""Webhooks at the doors: raw calls, and Google's own client."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from google import genai
from google.genai import types

from nightrate import webhook_limits
from nightrate.dialects import gemini as wire
from tests.api.doors import Answer, Doors

HOOK = {"name": "My Example Webhook", "uri": "https://h/x", "subscribed_events": ["batch.failed"]}


@pytest.fixture
def client(doors: Doors) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=doors.url)
    with genai.Client(api_key="any", http_options=options) as client:
        yield client


def post(doors: Doors, path: str, body: object) -> Answer:
    return doors.ask("POST", path, msgspec.json.encode(body))


def created(doors: Doors, **changes: object) -> str:
    answer = post(doors, "/v1/webhooks", {**HOOK, **changes})
    assert answer.status == 200, answer.body
    webhook_id: str = answer.json["id"]
    return webhook_id


def test_the_sdk_creates_finds_changes_and_deletes(client: genai.Client, doors: Doors) -> None:
    made = client.webhooks.create(
        name="MyBatchWebhook",
        subscribed_events=["batch.succeeded", "batch.failed"],
        uri="http://127.0.0.1:9/gemini-callback",
    )
    assert made.name == "MyBatchWebhook"
    assert made.state == "enabled"
    assert made.id is not None
    assert made.new_signing_secret is not None
    assert made.new_signing_secret.startswith("whsec_")
    found = client.webhooks.get(id=made.id)
    assert found.new_signing_secret is None
    assert found.signing_secrets is not None
    assert found.signing_secrets[0].truncated_secret == f"whsec_...{made.new_signing_secret[-4:]}"
    assert found.create_time == made.create_time
    changed = client.webhooks.update(id=made.id, state="disabled", name="other")
    assert (changed.state, changed.name, changed.uri) == ("disabled", "other", made.uri)
    changed = client.webhooks.update(
        id=made.id, update_mask="subscribed_events", subscribed_events=["batch.expired"]
    )
    assert changed.subscribed_events == ["batch.expired"]
    assert made.id in {one.id for one in client.webhooks.list().webhooks or []}
    client.webhooks.delete(id=made.id)
    assert doors.ask("GET", f"/v1/webhooks/{made.id}").error[1] == "NOT_FOUND"


def test_what_became_of_each_delivery_can_be_asked(doors: Doors) -> None:
    webhook_id = created(doors)
    empty = doors.ask("GET", f"/v1/webhooks/{webhook_id}/deliveries")
    assert (empty.status, empty.json) == (200, {})
    for _ in range(2):
        assert post(doors, f"/v1/webhooks/{webhook_id}:ping", {}).status == 200
    answer = doors.ask("GET", f"/v1/webhooks/{webhook_id}/deliveries")
    assert len(answer.json["deliveries"]) == 2
    delivery = answer.json["deliveries"][0]
    assert delivery["id"].startswith("msg_")
    assert (delivery["type"], delivery["state"], delivery["attempts"]) == (
        *("webhook.ping", "pending"),
        0,
    )
    assert delivery["next_attempt_time"] == delivery["create_time"]
    assert "outcome" not in delivery
    one = doors.ask("GET", f"/v1/webhooks/{webhook_id}/deliveries?page_size=1")
    assert one.json["deliveries"] == answer.json["deliveries"][:1]
    token = wire.encode_page_token(1, "x")
    refused = doors.ask("GET", f"/v1/webhooks/{webhook_id}/deliveries?page_token={token}")
    assert refused.error[:2] == (400, "INVALID_ARGUMENT")
    assert doors.ask("GET", "/v1/webhooks/none/deliveries").error[1] == "NOT_FOUND"


def test_the_sdk_pings_and_rotates(client: genai.Client, doors: Doors) -> None:
    webhook_id = created(doors)
    client.webhooks.ping(id=webhook_id)
    (delivery,) = doors.call(doors.store.list_deliveries("default", webhook_id, 9))
    assert delivery.type == "webhook.ping"
    rotated = client.webhooks.rotate_signing_secret(
        id=webhook_id, revocation_behavior="revoke_previous_secrets_after_h24"
    )
    assert rotated.secret is not None
    found = client.webhooks.get(id=webhook_id)
    assert found.signing_secrets is not None
    assert [one.expire_time is None for one in found.signing_secrets] == [True, False]
    assert found.signing_secrets[0].truncated_secret == f"whsec_...{rotated.secret[-4:]}"
    rotated = client.webhooks.rotate_signing_secret(
        id=webhook_id, revocation_behavior="revoke_previous_secrets_immediately"
    )
    found = client.webhooks.get(id=webhook_id)
    assert found.signing_secrets is not None
    assert len(found.signing_secrets) == 1


def test_the_path_and_spelling_of_the_documents_rotate_too(doors: Doors) -> None:
    path = f"/v1beta/webhooks/{created(doors)}/rotate_secret"
    behavior = {"revocation_behavior": "REVOKE_PREVIOUS_SECRETS_IMMEDIATELY"}
    assert post(doors, path, behavior).json["secret"].startswith("whsec_")
    assert post(doors, path, {"revocation_behavior": "x"}).status == 400


def test_secrets_are_not_readable_at_rest(doors: Doors) -> None:
    secret = post(doors, "/v1/webhooks", HOOK).json["new_signing_secret"]
    rows = doors.call(doors._run_one(lambda: doors.store._all("SELECT * FROM webhook_secret")))
    assert rows
    assert secret.removeprefix("whsec_") not in str(rows)


def test_an_id_can_be_chosen_once(doors: Doors) -> None:
    path = "/v1/webhooks?webhook_id=my-example-webhook-123"
    assert post(doors, path, HOOK).json["id"] == "my-example-webhook-123"
    assert post(doors, path, HOOK).error[:2] == (409, "ALREADY_EXISTS")
    assert post(doors, "/v1/webhooks?webhook_id=Not%20One", HOOK).error[0] == 400


@pytest.mark.parametrize(
    "change",
    [
        {"uri": "http://example.com/"},
        {"uri": "https://169.254.169.254/"},
        {"subscribed_events": ["batch.paused"]},
        {"subscribed_events": []},
        {"uri": None},
    ],
)
def test_what_cannot_work_is_refused(doors: Doors, change: dict[str, object]) -> None:
    assert post(doors, "/v1/webhooks", {**HOOK, **change}).error[:2] == (400, "INVALID_ARGUMENT")
    patch = msgspec.json.encode({k: v for k, v in change.items() if v is not None})
    if patch != b"{}":
        path = f"/v1/webhooks/{created(doors)}"
        assert doors.ask("PATCH", path, patch).status == 400


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", ":ping"),
        ("POST", ":rotateSigningSecret"),
        ("POST", "/rotate_secret"),
    ],
)
def test_a_webhook_that_is_not_there_is_not_found(doors: Doors, method: str, rest: str) -> None:
    answer = doors.ask(method, f"/v1/webhooks/nobody{rest}", b"{}")
    assert answer.error[:2] == (404, "NOT_FOUND")


def test_webhooks_are_listed_page_by_page(doors: Doors) -> None:
    made = {created(doors) for _ in range(3)}
    listed: list[str] = []
    token = ""
    while True:
        page = doors.ask("GET", f"/v1/webhooks?page_size=2&page_token={token}").json
        listed += [one["id"] for one in page["webhooks"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert made <= set(listed)
    assert len(listed) == len(set(listed))


def test_there_are_only_so_many(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_limits, "WEBHOOKS_MAX", 0)
    assert post(doors, "/v1/webhooks", HOOK).error[1] == "RESOURCE_EXHAUSTED"


def test_the_keys_are_published(doors: Doors) -> None:
    answer = doors.ask("GET", "/.well-known/jwks.json")
    (key,) = answer.json["keys"]
    assert key.keys() == {"kty", "kid", "alg", "use", "n", "e"}
    assert (key["kty"], key["alg"], key["use"], key["e"]) == ("RSA", "RS256", "sig", "AQAB")
    assert answer.headers["cache-control"].startswith("public, max-age=")


@pytest.mark.parametrize("form", ["webhookConfig", "webhook_config"])
def test_a_batch_names_its_own_targets(doors: Doors, form: str) -> None:
    file_id = doors.upload(b"{}\n")
    batch = {"inputConfig": {"fileName": f"files/{file_id}"}}
    path = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    config = {"uris": ["http://127.0.0.1:9/x"], "user_metadata": {"k": 1}}
    assert post(doors, path, {"batch": {**batch, form: config}}).status == 200
    config = {"uris": ["http://example.com"]}
    assert post(doors, path, {"batch": {**batch, form: config}}).error[0] == 400
