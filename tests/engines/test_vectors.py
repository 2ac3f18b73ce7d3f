"""Vectors are cut to length, and written as shortly as their 32 bits allow."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nightrate.engines.vectors import shortest, unit


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20))
def test_the_shortest_decimals_mean_the_same_number(numbers: list[float]) -> None:
    row = np.array([numbers], np.float32)
    (written,) = shortest(row)
    assert np.array_equal(np.array([written], np.float32), row)
    for value, text in zip(written, row[0], strict=True):
        wanted = np.format_float_scientific(text, unique=True)
        digits = np.format_float_scientific(np.float64(value), unique=True)
        assert len(digits) <= max(len(wanted), len("-1.23457e-01"))


def test_a_unit_vector_reaches_one_whatever_is_cut_off() -> None:
    rows = np.array([[3.0, 4.0, 12.0], [0.0, 0.0, 1.0]])
    assert np.allclose(np.linalg.norm(unit(rows), axis=1), 1)
    short = unit(rows, 2)
    assert np.allclose(short, [[0.6, 0.8], [0.0, 0.0]])
    assert short.dtype == np.float32
