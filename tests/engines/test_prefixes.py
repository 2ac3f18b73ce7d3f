"""Shared beginnings: who waits for whom."""

from __future__ import annotations

import numpy as np
import pytest

from nightrate.engines.prefixes import BLOCK_TOKENS, WORTH_TOKENS, Prefixes, beginnings_of

WORTH_BLOCKS = WORTH_TOKENS // BLOCK_TOKENS


def beginnings(*pieces: int, blocks: int = WORTH_BLOCKS) -> list[int]:
    """Give the beginnings of a prompt made of pieces that are just worth waiting for.

    Each is one token, repeated.
    """
    tokens = np.repeat(np.array(pieces, dtype=np.int64), blocks * BLOCK_TOKENS)
    return beginnings_of(tokens.tobytes(), tokens.itemsize)


def test_a_prompt_has_one_beginning_for_each_whole_block() -> None:
    tokens = np.arange(BLOCK_TOKENS * 3 - 1, dtype=np.int64)
    assert len(beginnings_of(tokens.tobytes(), tokens.itemsize)) == 2


def test_beginnings_are_equal_as_far_as_prompts_are() -> None:
    one, other = beginnings(1, 2, 3), beginnings(1, 2, 4)
    shared = 2 * WORTH_BLOCKS
    assert one[:shared] == other[:shared]
    assert set(one[shared:]).isdisjoint(other)
    assert set(beginnings(2, 1)).isdisjoint(one)


def test_a_prompt_waits_while_another_reads_its_beginning() -> None:
    prefixes = Prefixes(100)
    prefixes.begin(beginnings(1, 2, 3))
    assert prefixes.worth_waiting(beginnings(1, 2, 4))
    assert not prefixes.worth_waiting(beginnings(4, 2, 1))


@pytest.mark.parametrize(
    ("blocks", "worth"), [(WORTH_BLOCKS - 1, False), (WORTH_BLOCKS, True), (WORTH_BLOCKS + 1, True)]
)
def test_a_short_beginning_is_not_waited_for(blocks: int, *, worth: bool) -> None:
    prefixes = Prefixes(100)
    prefixes.begin(beginnings(1, blocks=blocks))
    assert prefixes.worth_waiting(beginnings(1, blocks=50)) is worth


def test_what_was_read_is_known_from_the_start_as_far_as_prompts_are_equal() -> None:
    prefixes = Prefixes(100)
    assert prefixes.read_blocks(beginnings(1, 2)) == 0
    prefixes.begin(beginnings(1, 2, 3))
    assert prefixes.read_blocks(beginnings(1, 2)) == 0  # not read yet
    assert prefixes.is_reading(beginnings(1, 2)[-1])
    prefixes.done(beginnings(1, 2, 3))
    assert prefixes.read_blocks(beginnings(1, 2, 4)) == 2 * WORTH_BLOCKS
    assert prefixes.read_blocks(beginnings(2, 1)) == 0
    assert not prefixes.is_reading(beginnings(1, 2)[-1])


def test_what_there_is_no_room_for_is_not_known() -> None:
    prefixes = Prefixes(100)
    for one in (beginnings(1, 2), beginnings(3, 4)):
        prefixes.begin(one)
        prefixes.done(one)
    prefixes.make_room(2 * WORTH_BLOCKS)
    assert prefixes.read_blocks(beginnings(1, 2)) == 0
    assert prefixes.read_blocks(beginnings(3, 4)) == 2 * WORTH_BLOCKS
    prefixes.make_room(-5)
    assert prefixes.read_blocks(beginnings(3, 4)) == 0


def test_nobody_waits_for_what_has_been_read() -> None:
    prefixes = Prefixes(100)
    prefixes.begin(beginnings(1, 2))
    prefixes.done(beginnings(1, 2))
    prefixes.begin(beginnings(1, 2, 3))
    assert not prefixes.worth_waiting(beginnings(1, 2, 4))
    assert prefixes.worth_waiting(beginnings(1, 2, 3, 4))


def test_nobody_waits_for_a_reader_that_left() -> None:
    prefixes = Prefixes(100)
    prefixes.begin(beginnings(1, 2))
    prefixes.begin(beginnings(1, 3))
    prefixes.drop(beginnings(1, 2))
    assert prefixes.worth_waiting(beginnings(1, 5))
    prefixes.drop(beginnings(1, 3))
    assert not prefixes.worth_waiting(beginnings(1, 5))


def test_a_short_prompt_never_waits() -> None:
    prefixes = Prefixes(100)
    prefixes.begin(beginnings(1))
    assert not prefixes.worth_waiting([])


def test_the_oldest_beginnings_are_forgotten() -> None:
    prefixes = Prefixes(2 * WORTH_BLOCKS)
    for number in (1, 2, 3):
        prefixes.begin(beginnings(number))
        prefixes.done(beginnings(number))
    for number in (1, 2, 3):
        prefixes.begin(beginnings(number))
    assert prefixes.worth_waiting(beginnings(1, 9))
    assert not prefixes.worth_waiting(beginnings(3))
