"""A receipt, printed for a person."""

from __future__ import annotations

import click

from nightrate.dialects.receipts import ReceiptDocument


def tell_receipt(receipt: ReceiptDocument, indent: str = "") -> None:
    """Print what was used and what it cost, an item a line; kinds without a token are left out."""
    priced = receipt.list_price is not None
    rows: list[tuple[str, ...]] = [
        ("", "tokens", "a million", "list", "batch") if priced else ("", "tokens")
    ]
    for item in receipt.items:
        if item.tokens:
            prices = (item.price_per_million, item.list_price, item.batch_price)
            rows.append((item.of, f"{item.tokens:,}", *(text or "" for text in prices if priced)))
    if priced:
        rows.append(("", "", "", receipt.list_price or "", receipt.batch_price or ""))
        rows = [rows[0], *zip(*map(_aligned, zip(*rows[1:], strict=True)), strict=True)]
    currency = f", in {receipt.currency}" if receipt.currency else ""
    click.echo(f"{indent}receipt of {receipt.lines:,} lines{currency}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if len(rows) > 1:
        for row in rows:
            first, *others = (
                text.ljust(width) if place == 0 else text.rjust(width)
                for place, (text, width) in enumerate(zip(row, widths, strict=True))
            )
            click.echo("  ".join((f"{indent}  {first}", *others)).rstrip())
    if receipt.saved is not None:
        click.echo(f"{indent}  saved {receipt.saved} {receipt.currency}")
    machine = f", for {receipt.machine_price} {receipt.currency}" if receipt.machine_price else ""
    click.echo(f"{indent}  engine {receipt.engine_seconds} s{machine}")


def _aligned(column: tuple[str, ...]) -> list[str]:
    """Give the numbers of a column as many decimals as the longest has, so that they align."""
    decimals = max(len(text.partition(".")[2]) for text in column)
    if not decimals:
        return list(column)
    parts = (text.partition(".") for text in column)
    return [f"{whole}.{rest:0<{decimals}}" if whole else "" for whole, _, rest in parts]
