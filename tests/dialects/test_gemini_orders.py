"""The bodies that create and change a batch."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.gemini import parse_change, parse_order
from nightrate.domain.batch import Change, Order
from nightrate.domain.webhook import WebhookConfig
from nightrate.errors import BadRequest, Refused

ITEM = {"request": {"contents": "hi"}, "metadata": {"key": "k"}}


def inline(*items: object) -> dict[str, object]:
    return {"requests": {"requests": list(items)}}


def parse(batch: object) -> Order:
    return parse_order(msgspec.json.encode({"batch": batch}), "m")


def refusal(batch: object) -> Refused:
    with pytest.raises(Refused) as refused:
        parse(batch)
    return refused.value


def test_inline_items_are_kept_as_they_came() -> None:
    body = (
        b'{"batch":{"displayName":"d","inputConfig":{"requests":{"requests":'
        b'[{"request": {"contents":"hi"}, "metadata":{"n":1.50}},{"a" :2}]}}}}'
    )
    assert parse_order(body, "m") == Order(
        display_name="d",
        priority=0,
        file_name=None,
        inline=(b'{"request": {"contents":"hi"}, "metadata":{"n":1.50}}', b'{"a" :2}'),
    )


def test_inline_items_each_fit_on_a_line() -> None:
    body = msgspec.json.format(msgspec.json.encode({"batch": {"inputConfig": inline(ITEM)}}))
    assert b"\n" in body
    assert parse_order(body, "m").inline == (msgspec.json.encode(ITEM),)


def test_a_line_end_inside_a_string_of_an_item_is_refused() -> None:
    body = b'{"batch":{"inputConfig":{"requests":{"requests":[{"a":"x\ny"}]}}}}'
    with pytest.raises(BadRequest, match="Invalid JSON payload"):
        parse_order(body, "m")


def test_items_keep_their_spelling_in_a_body_that_shells_write() -> None:
    body = b"""{'batch': {'display_name': 'd', 'input_config': {'requests': {'requests': [
      {'request': {'contents': [{'parts': [{'text': 'it\\'s'}]}], 'generation_config': {}}},
    ]}}}}"""
    assert parse_order(body, "m").inline == (
        b'{"request":{"contents":[{"parts":[{"text":"it\'s"}]}],"generation_config":{}}}',
    )


@pytest.mark.parametrize(
    "name",
    [
        "files/abc-1",
        "abc-1",
        "http://127.0.0.1:8080/v1beta/files/abc-1",
        "https://host/exact/v1/files/abc-1:download?alt=media",
    ],
)
@pytest.mark.parametrize("spelling", ["fileName", "file_name"])
def test_a_file_may_be_named_in_many_ways(name: str, spelling: str) -> None:
    order = parse({"inputConfig": {spelling: name}})
    assert order == Order(display_name=None, priority=0, file_name="abc-1", inline=None)


@pytest.mark.parametrize(
    ("written", "priority"), [(None, 0), (0, 0), (-3, -3), ("7", 7), (2**63 - 1, 2**63 - 1)]
)
def test_a_priority_is_a_number_or_text(written: object, priority: int) -> None:
    assert parse({"inputConfig": {"fileName": "a"}, "priority": written}).priority == priority


def test_a_display_name_may_be_missing_or_empty() -> None:
    for name in (None, ""):
        assert parse({"inputConfig": inline(ITEM), "displayName": name}).display_name is None
    longest = "ü" * 512
    assert parse({"inputConfig": inline(ITEM), "displayName": longest}).display_name == longest


def test_what_only_the_service_sets_is_passed_over() -> None:
    batch = {"inputConfig": {"fileName": "a", "requests": {}}, "state": "X", "name": "batches/1"}
    assert parse({**batch, "model": "models/m", "webhookConfig": {}}).file_name == "a"


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (None, "batch: it is missing."),
        ({}, 'batch.inputConfig: it has neither "fileName" nor "requests".'),
        ({"inputConfig": {}}, 'batch.inputConfig: it has neither "fileName" nor "requests".'),
        (
            {"inputConfig": {"fileName": "a", **inline(ITEM)}},
            'batch.inputConfig: it has both "fileName" and "requests"; send one.',
        ),
        ({"inputConfig": inline()}, "batch.inputConfig.requests: there are no requests."),
        ({"input_config": inline()}, "batch.input_config.requests: there are no requests."),
        ({"inputConfig": {"fileName": "a b"}}, 'batch.inputConfig.fileName: "a b" is no file name'),
        ({"inputConfig": {"file_name": "../x"}}, "batch.inputConfig.file_name: "),
        ({"inputConfig": {"fileName": "files/"}}, "batch.inputConfig.fileName: "),
        ({"inputConfig": {"fileName": "https://h/files/-a"}}, "batch.inputConfig.fileName: "),
        ({"inputConfig": {"fileName": "a"}, "model": "x"}, 'batch.model: "x" is not the model of'),
        ({"inputConfig": {"fileName": "a"}, "priority": 2**63}, "batch.priority: it does not fit"),
        ({"displayName": "x" * 513}, "batch.displayName: it has 513 characters, and at most 512"),
        ({"inputConfig": {"requests": [ITEM]}}, "Invalid value at 'batch.inputConfig.requests': "),
        ({"fileName": "a"}, 'Put it inside "inputConfig".'),
        ({"input_config": {"inlinedRequests": []}}, 'Use "requests": {"requests": [...]}.'),
    ],
)
def test_a_wrong_order_is_refused_with_the_field(batch: object, message: str) -> None:
    if isinstance(batch, dict) and "displayName" in batch:
        batch = {"inputConfig": {"fileName": "a"}, **batch}
    error = refusal(batch)
    assert isinstance(error, BadRequest)
    assert message in error.message


def test_the_path_is_told_as_the_client_spelled_it() -> None:
    error = refusal({"input_config": {"file_name": "../x"}})
    assert error.field == "batch.input_config.file_name"
    assert refusal({"inputConfig": {"fileName": "../x"}}).field == "batch.inputConfig.fileName"


@pytest.mark.parametrize(
    "config",
    [
        {"webhookConfig": {"uris": ["https://h"], "userMetadata": {"my_key": 1.0}}},
        {"webhook_config": {"uris": ["https://h"], "user_metadata": {"my_key": 1}}},
    ],
)
def test_a_batch_may_say_who_is_told(config: dict[str, object]) -> None:
    order = parse({"inputConfig": {"fileName": "a"}, **config})
    assert order.webhook == WebhookConfig(uris=("https://h",), user_metadata='{"my_key":1}')


def test_a_wrong_target_is_named_as_the_client_spelled_it() -> None:
    error = refusal({"inputConfig": {"fileName": "a"}, "webhook_config": {"uris": [""]}})
    assert error.field == "batch.webhook_config.uris"


@pytest.mark.parametrize(
    "body",
    [b'{"src":"files/a","config":{}}', b'{"inputConfig":{}}', b'{"displayName":"x"}'],
)
def test_a_body_of_another_form_is_refused_with_the_remedy(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"Cannot find field\. .*batch"):
        parse_order(body, "m")


@given(st.binary(max_size=60))
def test_any_bytes_are_an_order_or_refused(body: bytes) -> None:
    for whole in (body, b'{"batch":' + body + b"}"):
        with pytest.raises(Refused):
            parse_order(whole, "m")


@given(st.lists(st.dictionaries(st.text(), st.text(), max_size=3), min_size=1, max_size=5))
def test_items_come_back_one_by_one(items: list[dict[str, str]]) -> None:
    inline_items = parse({"inputConfig": inline(*items)}).inline
    assert inline_items is not None
    assert [msgspec.json.decode(item) for item in inline_items] == items


# changes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "mask", "change"),
    [
        (b'{"displayName":"d","priority":"-3"}', None, Change(display_name="d", priority=-3)),
        (b"{'display_name': 'd'}", "", Change(display_name="d")),
        (b'{"priority":4,"name":"batches/b","state":"x"}', None, Change(priority=4)),
        (b'{"displayName":"d","priority":4}', "display_name", Change(display_name="d")),
        (b'{"displayName":"d","priority":4}', " priority ", Change(priority=4)),
        (
            b'{"displayName":"d","inputConfig":{"fileName":"f"}}',
            "displayName",
            Change(display_name="d"),
        ),
        (b"", "priority", Change(priority=0)),
        (b'{"displayName":"d"}', "*", Change(display_name="d")),
    ],
)
def test_a_change_is_what_the_mask_names_or_the_body_has(
    body: bytes, mask: str | None, change: Change
) -> None:
    assert parse_change(body, mask) == change


@pytest.mark.parametrize(
    ("body", "mask", "field"),
    [
        (b"{}", None, "updateMask"),
        (b'{"state":"x"}', "state", "updateMask"),
        (b'{"displayName":""}', None, "displayName"),
        (b"{}", "displayName", "displayName"),
        (b'{"display_name":"' + b"x" * 513 + b'"}', None, "display_name"),
        (b'{"priority":"9223372036854775808"}', None, "priority"),
        (b'{"input_config":{"fileName":"f"},"priority":1}', None, "input_config"),
        (b'{"webhookConfig":{"uris":[]},"priority":1}', None, "webhookConfig"),
        (b'{"colour":1}', None, "colour"),
    ],
)
def test_what_cannot_be_changed_is_refused(body: bytes, mask: str | None, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_change(body, mask)
    assert refused.value.field == field
