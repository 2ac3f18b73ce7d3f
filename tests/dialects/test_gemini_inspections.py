"""The report of a dry run."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import json, structs

from nightrate.dialects.gemini import render_inspection
from nightrate.domain.batch import BatchForm
from nightrate.domain.inspection import Inspection, LineFault, RepeatedKey
from nightrate.domain.outlook import Outlook
from nightrate.domain.tariff import Quote, TokenPrices
from nightrate.errors import Code

FOUND = Inspection(
    request_count=4,
    invalid_count=2,
    malformed_count=1,
    shard_count=1,
    faults=(
        LineFault(2, "request.contents", Code.INVALID_ARGUMENT, "Error on line 2: no"),
        LineFault(5, None, Code.UNIMPLEMENTED, "Error on line 5: not yet"),
    ),
    repeated_keys=(RepeatedKey('"a"', 7), RepeatedKey("1.0", 8)),
    repeated_count=3,
    keys_compared=4,
    text_bytes=9,
    read_bytes=100,
    complete=True,
)


def report(
    *,
    complete: bool = True,
    strict: bool = False,
    form: BatchForm = BatchForm.FILE,
    quote: Quote | None = None,
) -> dict[str, Any]:
    found = structs.replace(FOUND, complete=complete)
    text = render_inspection(found, "m", form, strict=strict, quote=quote)
    return json.decode(text, type=dict[str, Any])


def test_every_figure_and_fault_is_told() -> None:
    told = report()
    notes = told.pop("notes")
    assert told == {
        "model": "models/m",
        "dryRun": True,
        "accepted": True,
        "complete": True,
        "readBytes": "100",
        "requestCount": "4",
        "validRequestCount": "2",
        "invalidRequestCount": "2",
        "faults": [
            {
                "line": 2,
                "field": "request.contents",
                "code": 3,
                "status": "INVALID_ARGUMENT",
                "message": "Error on line 2: no",
            },
            {
                "line": 5,
                "code": 12,
                "status": "UNIMPLEMENTED",
                "message": "Error on line 5: not yet",
            },
        ],
        "repeatedKeyCount": "3",
        "repeatedKeys": [{"key": "a", "line": 7}, {"key": 1.0, "line": 8}],
        "promptTokenEstimate": "3",
    }
    assert any("would end" in note for note in notes)


def test_with_prices_the_prompts_are_reckoned_up() -> None:
    prices = TokenPrices(input=Decimal(2), output=Decimal(9), cached=Decimal(1))
    quote = Quote(
        currency="USD", batch_share=Decimal("0.5"), tokens=prices, machine_price_per_hour=Decimal(5)
    )
    told = report(quote=quote)
    assert told["promptPriceEstimate"] == {
        "currency": "USD",
        "listPrice": "0.000006",
        "batchPrice": "0.000003",
    }
    assert any("answers are not in it" in note for note in told["notes"])
    assert "promptPriceEstimate" not in report(quote=structs.replace(quote, tokens=None))


def test_a_strict_batch_would_be_refused() -> None:
    told = report(strict=True)
    assert told["accepted"] is False
    assert told["refusal"] == "Error on line 2: no"


def test_inline_requests_are_numbered_as_such() -> None:
    told = report(form=BatchForm.INLINE)
    assert [fault["request"] for fault in told["faults"]] == [2, 5]
    assert [key["request"] for key in told["repeatedKeys"]] == [7, 8]


def test_an_input_that_was_read_in_part_is_told_as_that() -> None:
    told = report(complete=False)
    assert told["complete"] is False
    assert "Only the beginning" in told["notes"][0]


def test_where_the_batch_would_stand_is_told_as_far_as_it_is_known() -> None:
    found = FOUND
    outlook = Outlook(reason="", queue_position=2, eta_seconds=(60, 90))
    told = json.decode(render_inspection(found, "m", BatchForm.FILE, strict=False, outlook=outlook))
    assert (told["queuePosition"], told["etaSeconds"]) == (2, {"low": 60, "high": 90})
    assert not [note for note in told["notes"] if "would end" in note]
    unknown = structs.replace(outlook, eta_seconds=None)
    told = json.decode(render_inspection(found, "m", BatchForm.FILE, strict=False, outlook=unknown))
    assert "etaSeconds" not in told
    assert [note for note in told["notes"] if "would end" in note]
