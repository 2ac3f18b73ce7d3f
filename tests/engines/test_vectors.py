"""Vectors are cut to length, and written as shortly as their 32 bits allow."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from nightrate.domain.embedding import Embedding
from nightrate.engines.vectors import unit, written


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20))
def test_the_shortest_decimals_mean_the_same_number(numbers: list[float]) -> None:
    row = np.array([numbers], np.float32)
    (text,) = written(row)
    read = json.decode(text, type=list[float])
    assert np.array_equal(np.array([read], np.float32), row)
    for value, meant in zip(read, row[0], strict=True):
        wanted = np.format_float_scientific(meant, unique=True)
        assert np.format_float_scientific(np.float64(value), unique=True) == wanted


def test_what_is_no_number_is_written_as_null() -> None:
    (text,) = written(np.array([[0.5, np.nan, np.inf]], np.float32))
    assert text == b"[0.5,null,null]"
    assert not Embedding(text, 1, "m").finite


def test_a_unit_vector_reaches_one_whatever_is_cut_off() -> None:
    rows = np.array([[3.0, 4.0, 12.0], [0.0, 0.0, 1.0]])
    assert np.allclose(np.linalg.norm(unit(rows), axis=1), 1)
    short = unit(rows, 2)
    assert np.allclose(short, [[0.6, 0.8], [0.0, 0.0]])
    assert short.dtype == np.float32
