"""Tallies, and which journal bytes count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.domain.file import ResultPart
from nightrate.domain.shard import JournalPart, Segment, Tally, sum_of, taken_over

COUNTS = st.integers(0, 10**9)
TALLIES = st.builds(Tally, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)


@st.composite
def histories(draw: st.DrawFn) -> tuple[tuple[JournalPart, ...], int]:
    """Give the parts of a shard, oldest first, and a later epoch."""
    epochs = sorted(draw(st.sets(st.integers(1, 50), max_size=6)))
    parts = tuple(JournalPart(epoch, draw(st.integers(0, 1_000))) for epoch in epochs)
    return parts, (epochs[-1] if epochs else 0) + draw(st.integers(1, 5))


def test_tallies_add_up_member_by_member() -> None:
    one, other = Tally(1, 2, 3, 4, 5, 6, 7), Tally(10, 20, 30, 40, 50, 60, 70)
    assert sum_of(one, other) == Tally(11, 22, 33, 44, 55, 66, 77)


@given(TALLIES, TALLIES, TALLIES)
def test_tallies_add_up_in_any_order(one: Tally, two: Tally, three: Tally) -> None:
    assert sum_of(one, two) == sum_of(two, one)
    assert sum_of(sum_of(one, two), three) == sum_of(one, two, three)
    assert sum_of(one, Tally()) == one


def test_the_first_owner_begins_with_nothing() -> None:
    assert taken_over((), 1, 700) == (JournalPart(1, 0),)


def test_the_last_part_grows_to_what_can_be_read() -> None:
    parts = (JournalPart(1, 10), JournalPart(3, 20))
    assert taken_over(parts, 4, 50) == (
        JournalPart(1, 10),
        JournalPart(3, 50),
        JournalPart(4, 0),
    )


def test_what_was_recorded_never_shrinks() -> None:
    assert taken_over((JournalPart(1, 10),), 2, 5)[0] == JournalPart(1, 10)


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_epoch_is_claimed_once(epoch: int) -> None:
    with pytest.raises(AssertionError, match="claimed once"):
        taken_over((JournalPart(3, 0),), epoch, 0)


@given(histories(), st.integers(0, 2_000))
def test_taking_over_changes_only_the_last_part_and_only_upwards(
    history: tuple[tuple[JournalPart, ...], int], readable: int
) -> None:
    parts, epoch = history
    after = taken_over(parts, epoch, readable)
    assert after[-1] == JournalPart(epoch, 0)
    expected = list(parts)
    if parts:
        longer = max(parts[-1].byte_length, readable)
        expected[-1] = JournalPart(parts[-1].epoch, longer)
    assert list(after[:-1]) == [part for part in expected if part.byte_length]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=8))
def test_bytes_that_counted_once_count_for_ever(lives: list[tuple[int, int]]) -> None:
    parts: tuple[JournalPart, ...] = ()
    for epoch, (recorded, late) in enumerate(lives, start=1):
        readable = parts[-1].byte_length + late if parts else late
        before = {part.epoch: part.byte_length for part in parts}
        parts = taken_over(parts, epoch, readable)
        for part in parts:
            assert part.byte_length >= before.get(part.epoch, 0)
        frozen = {part.epoch: part.byte_length for part in parts[:-2]}
        assert frozen == {epoch: before[epoch] for epoch in frozen}
        parts = (*parts[:-1], JournalPart(epoch, recorded))


def test_a_segment_is_one_part_or_two() -> None:
    whole, parted = Segment("s", 10, 7), Segment("s", 10, 7, 4)
    assert (whole.span(ResultPart.OUTPUT), whole.span(ResultPart.ERRORS)) == ((0, 10), (10, 10))
    assert (parted.span(ResultPart.OUTPUT), parted.span(ResultPart.ERRORS)) == ((0, 4), (4, 10))
