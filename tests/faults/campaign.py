"""Campaigns: many tries to break one promise, with a count of those that succeeded.

A campaign is a function of how many points to try (None for all that it has) and a seed. The quick
ones run among the tests with few points; `make faults` runs all of them with many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct


class Figures(Struct, kw_only=True):
    """What a campaign found."""

    tried: int = 0
    """Points tried: each a fault that took effect."""
    violations: list[str]
    """Each a promise that was broken, with what repeats it; empty is what we want."""
    notes: dict[str, str]
    """Figures beside the count: a name, and a number with its unit."""

    @classmethod
    def none(cls) -> Figures:
        """Begin to count."""
        return cls(violations=[], notes={})


class Campaign(Struct, frozen=True, kw_only=True):
    """One kind of fault."""

    name: str
    what: str
    """One line: which fault, and where."""
    run: Callable[[int | None, int], Figures]
    """Tries so many points with a seed."""
    points: int | None = None
    """How many points `make faults` asks for; None for all there are."""


def told(campaign: Campaign, figures: Figures, seconds: float) -> Sequence[str]:
    """Write what a campaign found, for a person."""
    notes = "".join(f"; {name} {value}" for name, value in figures.notes.items())
    head = f"{campaign.name}: {figures.tried} points tried, {len(figures.violations)} violations"
    return [f"{head}, {seconds:.0f} s{notes}", *(f"  {line}" for line in figures.violations)]
