"""What a batch used and cost: exactly, each token once, cached ones at their full price."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from nightrate.domain.batch import PartialResults
from nightrate.domain.receipt import ItemKind, Receipt, receipt_of, reckoned
from nightrate.domain.shard import Tally
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.domain.tariff import DIGITS_MAX, Quote, TokenPrices
from nightrate.testing.store_samples import make_batch

QUOTE = Quote(
    currency="USD",
    batch_share=Decimal("0.5"),
    tokens=TokenPrices(input=Decimal("0.30"), output=Decimal("2.50"), cached=Decimal("0.075")),
    machine_price_per_hour=Decimal("1.80"),
)

PRICES = st.decimals(
    min_value=0, max_value=10**DIGITS_MAX - 1, places=DIGITS_MAX, allow_nan=False
).map(Decimal.copy_abs)
SHARES = st.decimals(min_value=0, max_value=1, places=DIGITS_MAX, allow_nan=False).map(
    Decimal.copy_abs
)
COUNTS = st.integers(0, 10_000_000 * 2**32)
QUOTES = st.builds(
    Quote,
    currency=st.just("EUR"),
    batch_share=SHARES,
    tokens=st.builds(
        TokenPrices, input=PRICES, output=PRICES, cached=PRICES, thinking=st.none() | PRICES
    ),
    machine_price_per_hour=st.none() | PRICES,
)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    prompt, output = draw(COUNTS), draw(COUNTS)
    return Tally(
        *(draw(st.integers(0, 10**7)), draw(st.integers(0, 10**7)), prompt, output),
        *(draw(st.integers(0, prompt)), draw(st.integers(0, output)), draw(st.integers(0, 2**63))),
    )


def test_a_receipt_tells_tokens_prices_and_what_was_saved() -> None:
    receipt = reckoned(Tally(9, 1, 1_200_000, 400_000, 200_000, 100_000, 90_000_000_500), QUOTE)
    assert receipt.lines == 10
    assert [(item.kind, item.tokens) for item in receipt.items] == [
        (ItemKind.INPUT, 1_000_000),
        (ItemKind.CACHED, 200_000),
        (ItemKind.OUTPUT, 300_000),
        (ItemKind.THINKING, 100_000),
    ]
    assert [item.list_price for item in receipt.items] == [
        *(Decimal("0.30"), Decimal("0.015"), Decimal("0.75"), Decimal("0.25"))
    ]
    assert [item.batch_price for item in receipt.items] == [
        *(Decimal("0.15"), Decimal("0.015"), Decimal("0.375"), Decimal("0.125"))
    ]
    assert receipt.currency == "USD"
    assert (receipt.list_price, receipt.batch_price) == (Decimal("1.315"), Decimal("0.665"))
    assert receipt.saved == Decimal("0.65")
    assert str(receipt.engine_seconds) == "90.000000"
    assert receipt.machine_price == Decimal("0.045")


@given(tallies(), QUOTES)
def test_prices_are_exact_whatever_the_numbers(tally: Tally, quote: Quote) -> None:
    receipt = reckoned(tally, quote)
    prices = quote.tokens
    assert prices is not None
    million = 1_000_000
    fresh = (tally.prompt_tokens - tally.cached_tokens) * Fraction(prices.input) / million
    cached = tally.cached_tokens * Fraction(prices.cached) / million
    thinking = prices.output if prices.thinking is None else prices.thinking
    made = (tally.output_tokens - tally.thought_tokens) * Fraction(prices.output) / million
    thought = tally.thought_tokens * Fraction(thinking) / million
    share = Fraction(quote.batch_share)
    assert receipt.list_price is not None
    assert receipt.batch_price is not None
    assert receipt.saved is not None
    assert Fraction(receipt.list_price) == fresh + cached + made + thought
    assert Fraction(receipt.batch_price) == share * (fresh + made + thought) + cached
    saved = Fraction(receipt.list_price) - Fraction(receipt.batch_price)
    assert Fraction(receipt.saved) == saved >= 0


@given(tallies(), QUOTES)
def test_every_token_is_in_one_item(tally: Tally, quote: Quote) -> None:
    tokens = {item.kind: item.tokens for item in reckoned(tally, quote).items}
    assert tokens[ItemKind.INPUT] + tokens[ItemKind.CACHED] == tally.prompt_tokens
    assert tokens[ItemKind.OUTPUT] + tokens[ItemKind.THINKING] == tally.output_tokens


@given(tallies(), QUOTES)
def test_times_are_rounded_once_and_half_to_even(tally: Tally, quote: Quote) -> None:
    receipt = reckoned(tally, quote)
    millionths = round(Fraction(tally.engine_nanoseconds, 1_000))
    assert receipt.engine_seconds == Decimal(millionths).scaleb(-6)
    if quote.machine_price_per_hour is None:
        assert receipt.machine_price is None
    else:
        hours = Fraction(tally.engine_nanoseconds, 3_600 * 10**9)
        wanted = round(hours * Fraction(quote.machine_price_per_hour) * 1_000_000)
        assert receipt.machine_price is not None
        assert Fraction(receipt.machine_price) == Fraction(wanted, 1_000_000)


def test_without_a_tariff_there_are_tokens_and_times_only() -> None:
    receipt = reckoned(Tally(1, 0, 5, 6, 2, 1, 1_500), None)
    assert receipt == Receipt(
        lines=1, engine_seconds=Decimal("0.000002"), items=receipt.items
    )  # 1.5 millionths: to the even one
    assert [item.tokens for item in receipt.items] == [3, 2, 5, 1]
    assert {item.list_price for item in receipt.items} == {None}


def test_a_machine_may_have_a_price_where_tokens_have_none() -> None:
    receipt = reckoned(Tally(1, 0, 5, 6, 0, 0, 3_600 * 10**9), structs.replace(QUOTE, tokens=None))
    assert (receipt.currency, receipt.machine_price) == ("USD", Decimal("1.8"))
    assert (receipt.list_price, receipt.batch_price, receipt.saved) == (None, None, None)


@pytest.mark.parametrize("state", BatchState)
def test_a_batch_has_a_receipt_when_its_output_grows_no_more(state: BatchState) -> None:
    batch = structs.replace(make_batch(), state=state, tally=Tally(2, 1, 9, 6, 3), quote=QUOTE)
    receipt = receipt_of(batch)
    if state not in FINAL_STATES:
        assert receipt is None
    elif state is BatchState.SUCCEEDED:
        assert receipt == reckoned(batch.tally, QUOTE)
    else:  # it hands nothing out
        assert receipt == reckoned(Tally(), QUOTE)


@pytest.mark.parametrize("state", [BatchState.CANCELLED, BatchState.EXPIRED])
def test_partial_results_are_paid_for_when_they_are_complete(state: BatchState) -> None:
    tally = Tally(2, 1, 9, 6, 3)
    batch = structs.replace(
        make_batch(), state=state, tally=tally, quote=QUOTE, partial=PartialResults.DUE
    )
    assert receipt_of(batch) is None
    shown = structs.replace(batch, partial=PartialResults.SHOWN)
    assert receipt_of(shown) == reckoned(tally, QUOTE)
