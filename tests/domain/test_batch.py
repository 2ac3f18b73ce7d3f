"""What the dialect of a batch means for its rows and its results."""

from __future__ import annotations

from nightrate.domain.batch import Dialect, Kind


def test_in_openais_dialect_keys_must_differ_and_failures_stand_apart() -> None:
    kind = Kind(dialect=Dialect.OPENAI)
    assert (kind.parts_failures, kind.unique_keys, kind.always_partial) == (True, True, True)


def test_in_geminis_dialect_they_need_not() -> None:
    kind = Kind()
    assert (kind.parts_failures, kind.unique_keys, kind.always_partial) == (False, False, False)
