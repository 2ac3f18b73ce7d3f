"""What tokens cost: which prices fit a model, and what is no price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from nightrate.domain.tariff import CURRENCY_CHARACTERS_MAX, DIGITS_MAX, Tariff, TokenPrices


def prices(of_input: str = "1") -> TokenPrices:
    return TokenPrices(input=Decimal(of_input), output=Decimal(2), cached=Decimal("0.1"))


def tariff(**changes: Any) -> Tariff:
    return Tariff(**({"currency": "USD", "models": {"m": prices()}} | changes))


def test_an_exact_name_comes_before_every_pattern_and_an_earlier_pattern_before_a_later() -> None:
    models = {"a*": prices("1"), "ab*": prices("2"), "abc": prices("3")}
    made = tariff(models=models)
    found = {name: made.quote(name) for name in ("abc", "abd", "ax", "x")}
    assert found.pop("x") is None
    assert {name: quote and quote.tokens for name, quote in found.items()} == {
        "abc": models["abc"],
        "abd": models["a*"],
        "ax": models["a*"],
    }


def test_a_model_without_prices_is_charged_for_the_machine_alone_if_that_costs() -> None:
    assert tariff(machine_price_per_hour=None).quote("other") is None
    quote = tariff(machine_price_per_hour=Decimal("1.5")).quote("other")
    assert quote is not None
    assert (quote.tokens, quote.machine_price_per_hour) == (None, Decimal("1.5"))


def test_a_batch_pays_half_unless_the_tariff_says_otherwise() -> None:
    for share in (Decimal("0.5"), Decimal(0), Decimal(1), Decimal("0.25")):
        quote = tariff(batch_share=share).quote("m")
        assert quote is not None
        assert quote.batch_share == share
    quote = tariff().quote("m")
    assert quote is not None
    assert str(quote.batch_share) == "0.5"


@pytest.mark.parametrize(
    ("price", "why"),
    [
        ("-1", "not a number from 0 on"),
        ("-0", "not a number from 0 on"),
        ("NaN", "not a number from 0 on"),
        ("Infinity", "not a number from 0 on"),
        ("0." + "1" * (DIGITS_MAX + 1), "more than 12 digits"),
        ("1" + "0" * DIGITS_MAX, "more than 12 digits"),
        ("1e12", "more than 12 digits"),
        ("1e-13", "more than 12 digits"),
    ],
)
@pytest.mark.parametrize("name", ["input", "output", "cached", "thinking"])
def test_what_is_no_price_is_refused_by_its_name(price: str, why: str, name: str) -> None:
    given = {"input": Decimal(1), "output": Decimal(1), "cached": Decimal(0)}
    with pytest.raises(ValueError, match=f"`{name}` (is|has) .*{why}|`{name}` has {why}"):
        TokenPrices(**(given | {name: Decimal(price)}))


def test_the_largest_and_the_smallest_price_are_prices() -> None:
    for text in ("9" * DIGITS_MAX + "." + "9" * DIGITS_MAX, "1e-12", "0", "0.000"):
        assert prices(text).input == Decimal(text)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"batch_share": Decimal("1.01")}, "`batch_share` is 1.01, not a number from 0 to 1"),
        ({"batch_share": Decimal("-0.5")}, "`batch_share` is -0.5"),
        ({"machine_price_per_hour": Decimal(-1)}, "`machine_price_per_hour` is -1"),
        ({"currency": ""}, "`currency` has not 1 to 16"),
        ({"currency": "x" * (CURRENCY_CHARACTERS_MAX + 1)}, "`currency` has not 1 to 16"),
        ({"currency": "a\nb"}, "`currency` has not 1 to 16"),
    ],
)
def test_a_tariff_that_cannot_be_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        tariff(**changes)
