"""Which bound holds for which model."""

from __future__ import annotations

import pytest

from nightrate.service.quotas import TokenQuotas

RULES = {"gemini-*-flash": 1, "gemini-*": 2, "gemini-2.5-flash": 3, "other": 0}


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("gemini-2.5-flash", 3),
        ("gemini-3-flash", 1),
        ("gemini-3-pro", 2),
        ("other", 0),
        ("mine", None),
    ],
)
def test_an_exact_name_comes_first_then_the_earlier_pattern(model: str, most: int | None) -> None:
    assert TokenQuotas(RULES).of(model) == most


def test_without_rules_nothing_is_bounded() -> None:
    assert TokenQuotas({}).of("gemini-2.5-flash") is None
