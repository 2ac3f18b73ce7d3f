"""Receipts as documents show them: decimals in full, as text."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec import json, structs, to_builtins

from nightrate.dialects.receipts import ReceiptDocument, receipt_document
from nightrate.domain.receipt import Receipt, reckoned
from nightrate.domain.shard import Tally
from nightrate.domain.tariff import Quote, TokenPrices

QUOTE = Quote(
    currency="USD",
    batch_share=Decimal("0.5"),
    tokens=TokenPrices(
        input=Decimal("0.30"), output=Decimal(10), cached=Decimal("1e-7"), thinking=Decimal(0)
    ),
    machine_price_per_hour=Decimal("3.6"),
)


def test_a_receipt_is_written_item_by_item() -> None:
    receipt = reckoned(Tally(1, 1, 12, 1_000_001, 2, 1, 2_500_000_000), QUOTE)
    assert to_builtins(receipt_document(receipt)) == {
        "lines": 2,
        "items": [
            {
                "of": "input",
                "tokens": 10,
                "pricePerMillion": "0.3",
                "listPrice": "0.000003",
                "batchPrice": "0.0000015",
            },
            {
                "of": "cached",
                "tokens": 2,
                "pricePerMillion": "0.0000001",
                "listPrice": "0.0000000000002",
                "batchPrice": "0.0000000000002",
            },
            {
                "of": "output",
                "tokens": 1_000_000,
                "pricePerMillion": "10",
                "listPrice": "10",
                "batchPrice": "5",
            },
            {
                "of": "thinking",
                "tokens": 1,
                "pricePerMillion": "0",
                "listPrice": "0",
                "batchPrice": "0",
            },
        ],
        "currency": "USD",
        "listPrice": "10.0000030000002",
        "batchPrice": "5.0000015000002",
        "saved": "5.0000015",
        "engineSeconds": "2.500000",
        "machinePrice": "0.0025",
    }


def test_without_prices_it_tells_tokens_and_seconds_only() -> None:
    shown = to_builtins(receipt_document(reckoned(Tally(1, 0, 3, 4, 0, 0, 20), None)))
    assert shown.keys() == {"lines", "items", "engineSeconds"}
    assert shown["items"][0] == {"of": "input", "tokens": 3}
    assert shown["engineSeconds"] == "0.000000"


@given(st.decimals(0, Decimal(10) ** 60, allow_nan=False).map(Decimal.copy_abs))
def test_numbers_come_back_as_they_were_whatever_their_form(number: Decimal) -> None:
    empty: Receipt = reckoned(Tally(), QUOTE)
    shown = receipt_document(structs.replace(empty, list_price=number)).list_price
    assert shown is not None
    assert Decimal(shown) == number
    assert "E" not in shown
    assert "." not in shown or shown[-1] not in ".0"


def test_a_document_is_read_back_as_it_was() -> None:
    written = receipt_document(reckoned(Tally(1, 0, 3, 4), QUOTE))
    assert json.decode(json.encode(written), type=ReceiptDocument) == written
