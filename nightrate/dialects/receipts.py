"""A receipt as documents show it: decimals as text, so that no reader rounds them."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from nightrate.domain.receipt import Receipt


class ItemDocument(Struct, rename="camel", omit_defaults=True):
    """Tokens of one kind: how many, the price of a million, and what they cost live and here."""

    of: str
    tokens: int
    price_per_million: str | None = None
    list_price: str | None = None
    batch_price: str | None = None


class ReceiptDocument(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A receipt; see `domain.receipt.Receipt`."""

    lines: int
    items: list[ItemDocument]
    currency: str | None = None
    list_price: str | None = None
    batch_price: str | None = None
    saved: str | None = None
    engine_seconds: str
    machine_price: str | None = None


def receipt_document(receipt: Receipt) -> ReceiptDocument:
    """Give a receipt its shape."""
    return ReceiptDocument(
        lines=receipt.lines,
        items=[
            ItemDocument(
                *(str(item.kind), item.tokens, _text(item.price_per_million)),
                *(_text(item.list_price), _text(item.batch_price)),
            )
            for item in receipt.items
        ],
        currency=receipt.currency,
        list_price=_text(receipt.list_price),
        batch_price=_text(receipt.batch_price),
        saved=_text(receipt.saved),
        engine_seconds=f"{receipt.engine_seconds:f}",
        machine_price=_text(receipt.machine_price),
    )


def _text(value: Decimal | None) -> str | None:
    """Write a number in full: without an exponent, and without zeros behind its last digit."""
    if value is None:
        return None
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
