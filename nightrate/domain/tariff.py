"""What tokens cost, by model, in exact decimals.

A batch keeps what was true of its model when it was made (`Quote`); a tariff that changes later
changes no receipt.
"""

from __future__ import annotations

from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct

HALF: Final = Decimal("0.5")
"""What a batch pays of the list price, unless the tariff says otherwise."""

DIGITS_MAX: Final = 12
"""Digits of a price before its point, and behind it: more is a slip of the pen, and would be shown
in every receipt, which is exact."""

CURRENCY_CHARACTERS_MAX: Final = 16
"""Characters of a currency's name; codes have three."""


def require_decimal(name: str, value: Decimal | None) -> None:
    """Demand that a number of a tariff is one that can be multiplied exactly.

    Raises:
        ValueError: it is negative, no number, or has too many digits.
    """
    if value is None:
        return
    if not value.is_finite() or value.is_signed():
        raise ValueError(f"`{name}` is {value}, not a number from 0 on")
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "finite"
    if -exponent > DIGITS_MAX or value.adjusted() >= DIGITS_MAX:
        raise ValueError(f"`{name}` has more than {DIGITS_MAX} digits before or behind its point")


class TokenPrices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """List prices of a million tokens of one model, in live use."""

    input: Decimal
    output: Decimal
    cached: Decimal
    """Of an input token that was in a cached content; a batch pays as much."""
    thinking: Decimal | None = None
    """Of an output token that was only thought; None: as of any other."""

    def __post_init__(self) -> None:
        """Refuse what is no price."""
        for name in self.__struct_fields__:
            require_decimal(name, getattr(self, name))


class Quote(Struct, frozen=True, kw_only=True):
    """What one batch is charged by."""

    currency: str
    batch_share: Decimal
    """Of the list price, where it is not for cached tokens."""
    tokens: TokenPrices | None
    """None for a model that the tariff does not name."""
    machine_price_per_hour: Decimal | None


class Tariff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prices of all models."""

    currency: str
    batch_share: Decimal = HALF
    machine_price_per_hour: Decimal | None = None
    """What the machine costs while its engine works."""
    models: dict[str, TokenPrices] = {}
    """By name, or by a pattern with ``*``: an exact name comes before every pattern, an earlier
    pattern before a later one."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        require_decimal("batch_share", self.batch_share)
        require_decimal("machine_price_per_hour", self.machine_price_per_hour)
        if self.batch_share > 1:
            raise ValueError(f"`batch_share` is {self.batch_share}, not a number from 0 to 1")
        if not (self.currency.isprintable() and 0 < len(self.currency) <= CURRENCY_CHARACTERS_MAX):
            raise ValueError(
                f"`currency` has not 1 to {CURRENCY_CHARACTERS_MAX} printable characters"
            )

    def quote(self, model: str) -> Quote | None:
        """Give what a new batch of a model is charged by; None if there is no price at all."""
        tokens = self.models.get(model) or next(
            (prices for name, prices in self.models.items() if fnmatchcase(model, name)), None
        )
        if tokens is None and self.machine_price_per_hour is None:
            return None
        return Quote(
            currency=self.currency,
            batch_share=self.batch_share,
            tokens=tokens,
            machine_price_per_hour=self.machine_price_per_hour,
        )
