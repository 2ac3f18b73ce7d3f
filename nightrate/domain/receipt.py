"""What a batch used and what it cost, item by item.

Only lines that are in its output count. What tokens cost is told exactly; only times, and what is
reckoned from them, are rounded: half to even, to millionths, at the very end.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact
from enum import StrEnum
from typing import Final

from msgspec import Struct, structs

from nightrate.domain.batch import Batch, PartialResults
from nightrate.domain.shard import Tally
from nightrate.domain.states import FINAL_STATES
from nightrate.domain.tariff import Quote, TokenPrices

_EXACT: Final = Context(prec=80, traps=[Inexact])
"""More digits than a product of bounded prices, a share and any count of tokens has."""

_ROUNDED: Final = Context(prec=80, rounding=ROUND_HALF_EVEN)
_MILLIONTH: Final = Decimal("0.000001")
_NANOSECONDS_AN_HOUR: Final = Decimal(3_600_000_000_000)


class ItemKind(StrEnum):
    """What is charged for; each token is in one of them."""

    INPUT = "input"
    """Read, and not in a cached content."""
    CACHED = "cached"
    OUTPUT = "output"
    """In the answer."""
    THINKING = "thinking"


class Item(Struct, frozen=True, kw_only=True):
    """Tokens of one kind; without prices where there are none."""

    kind: ItemKind
    tokens: int
    price_per_million: Decimal | None = None
    list_price: Decimal | None = None
    """What they would cost in live use."""
    batch_price: Decimal | None = None
    """What they cost in a batch."""


class Receipt(Struct, frozen=True, kw_only=True):
    """The whole of it; without prices where there are none."""

    lines: int
    """Of the output, answers and errors."""
    engine_seconds: Decimal
    items: tuple[Item, ...]
    currency: str | None = None
    list_price: Decimal | None = None
    batch_price: Decimal | None = None
    saved: Decimal | None = None
    machine_price: Decimal | None = None
    """What the machine cost for so long."""


def receipt_of(batch: Batch) -> Receipt | None:
    """Write the receipt of a batch; None while its output can still grow.

    A batch that hands nothing out when it has ended has a receipt of nothing.
    """
    if batch.state not in FINAL_STATES or batch.partial is PartialResults.DUE:
        return None
    return reckoned(batch.tally if batch.has_results else Tally(), batch.quote)


def reckoned(tally: Tally, quote: Quote | None) -> Receipt:
    """Reckon what answers cost that add up to a tally."""
    counts = {
        ItemKind.INPUT: tally.prompt_tokens - tally.cached_tokens,
        ItemKind.CACHED: tally.cached_tokens,
        ItemKind.OUTPUT: tally.output_tokens - tally.thought_tokens,
        ItemKind.THINKING: tally.thought_tokens,
    }
    engine_seconds = _EXACT.scaleb(Decimal(tally.engine_nanoseconds), -9)
    receipt = Receipt(
        lines=tally.succeeded + tally.failed,
        engine_seconds=_ROUNDED.quantize(engine_seconds, _MILLIONTH),
        items=tuple(Item(kind=kind, tokens=tokens) for kind, tokens in counts.items()),
    )
    if quote is None:
        return receipt
    if quote.machine_price_per_hour is not None:
        machine_price = _ROUNDED.quantize(
            _ROUNDED.divide(
                _EXACT.multiply(quote.machine_price_per_hour, Decimal(tally.engine_nanoseconds)),
                _NANOSECONDS_AN_HOUR,
            ),
            _MILLIONTH,
        )
        receipt = structs.replace(receipt, currency=quote.currency, machine_price=machine_price)
    return receipt if quote.tokens is None else _priced(receipt, quote, quote.tokens)


def _priced(receipt: Receipt, quote: Quote, prices: TokenPrices) -> Receipt:
    """Put the prices of the tokens into a receipt."""
    items = tuple(_item(item, quote.batch_share, prices) for item in receipt.items)
    list_price = batch_price = Decimal(0)
    for item in items:
        assert item.list_price is not None, "priced"
        assert item.batch_price is not None, "priced"
        list_price = _EXACT.add(list_price, item.list_price)
        batch_price = _EXACT.add(batch_price, item.batch_price)
    return structs.replace(
        receipt,
        currency=quote.currency,
        items=items,
        list_price=list_price,
        batch_price=batch_price,
        saved=_EXACT.subtract(list_price, batch_price),
    )


def _item(item: Item, batch_share: Decimal, prices: TokenPrices) -> Item:
    price = {
        ItemKind.INPUT: prices.input,
        ItemKind.CACHED: prices.cached,
        ItemKind.OUTPUT: prices.output,
        ItemKind.THINKING: prices.output if prices.thinking is None else prices.thinking,
    }[item.kind]
    list_price = _EXACT.scaleb(_EXACT.multiply(price, Decimal(item.tokens)), -6)
    # Who names a cached content pays for it as in live use: there is nothing left to halve.
    share = Decimal(1) if item.kind is ItemKind.CACHED else batch_share
    return structs.replace(
        item,
        price_per_million=price,
        list_price=list_price,
        batch_price=_EXACT.multiply(list_price, share),
    )
