"""How answers are drawn, within which bounds, and how long they may get."""

from __future__ import annotations

import pytest

from nightrate.domain.generation import Sampling
from nightrate.engines.child_engine import check_length
from nightrate.engines.sampling import check_sampling, either, output_tokens_max
from nightrate.errors import Code, RequestFailed
from nightrate.testing.engine_contract import asked


def test_what_was_said_counts_even_when_it_is_nothing() -> None:
    assert either(0.0, 1.0) == 0.0
    assert either(None, 1.0) == 1.0


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_value_out_of_its_range_is_named_with_the_range(value: float) -> None:
    with pytest.raises(RequestFailed, match=r"top p is .*\[0\.0, 1\.0\]") as refused:
        check_sampling(Sampling(top_p=value))
    assert refused.value.code is Code.INVALID_ARGUMENT


def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers() -> None:
    with pytest.raises(RequestFailed, match=r"1,024 tokens.*1,024 tokens"):
        output_tokens_max(Sampling(), 1024, 1024)


def test_only_what_could_never_fit_is_refused_uncounted() -> None:
    check_length(asked("x" * 12_800), 100)
    check_length(asked("x" * 12_801), 0)
    with pytest.raises(RequestFailed, match="12,801 characters"):
        check_length(asked("x" * 12_801), 100)
