"""What is told about a batch."""

from __future__ import annotations

import msgspec
import pytest

from nightrate import webhook_limits
from nightrate.dialects.gemini_events import event_claims, render_event
from nightrate.domain.generation import Failure
from nightrate.domain.webhook import PING
from nightrate.errors import Code
from tests.domain.test_webhook import DELIVERY

BASE = "http://127.0.0.1:8080"
TIME = '"version":"v1","timestamp":"1970-01-01T00:00:00Z"'


def told(**changes: object) -> str:
    return render_event(msgspec.structs.replace(DELIVERY, **changes), BASE).decode()


@pytest.mark.parametrize("kind", ["batch.succeeded", "batch.cancelled", "batch.expired"])
def test_an_event_names_the_batch_as_the_sdk_asks_for_it(kind: str) -> None:
    failure = None if kind == "batch.succeeded" else Failure(Code.CANCELLED, "why")
    want = f'{{"type":"{kind}",{TIME},"data":{{"id":"batches/b"}}}}'
    assert told(type=kind, failure=failure) == want


def test_a_file_batch_names_its_results() -> None:
    want = (
        f'{{"type":"batch.succeeded",{TIME},"data":{{"id":"batches/b","output_file_uri":'
        f'"{BASE}/v1beta/files/batch-b:download?alt=media","file_name":"files/batch-b"}}}}'
    )
    assert told(output_file_id="batch-b") == want


def test_a_failed_batch_says_why_raw_and_unescaped() -> None:
    failure = Failure(Code.INVALID_ARGUMENT, "line 3: é/\u2028\n")
    want = (
        f'{{"type":"batch.failed",{TIME},"data":{{"id":"batches/b","error_code":'
        '"INVALID_ARGUMENT","error_message":"line 3: é/\u2028\\n"}}'
    )
    assert told(type="batch.failed", failure=failure) == want


def test_a_long_reason_is_cut_visibly() -> None:
    most = webhook_limits.EVENT_MESSAGE_CHARACTERS_MAX
    text = told(type="batch.failed", failure=Failure(Code.INTERNAL, "x" * (most + 1)))
    assert f'"{"x" * most}…"' in text


def test_a_ping_names_the_webhook() -> None:
    want = f'{{"type":"webhook.ping",{TIME},"data":{{"id":"w"}}}}'
    assert told(type=PING, batch_id=None) == want


def test_metadata_comes_back_as_it_was_kept() -> None:
    assert told(user_metadata='{"k":[1,"é"]}').endswith(',"user_metadata":{"k":[1,"é"]}}')


def test_the_claims_are_the_event() -> None:
    delivery = msgspec.structs.replace(DELIVERY, user_metadata='{"k":1}')
    assert event_claims(delivery, BASE) == {
        "type": "batch.succeeded",
        "version": "v1",
        "timestamp": "1970-01-01T00:00:00Z",
        "data": {"id": "batches/b"},
        "user_metadata": {"k": 1},
    }
