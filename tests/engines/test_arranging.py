"""Things in a picture do not overlap, whatever its shape, and all of them have a place."""

from __future__ import annotations

from itertools import combinations

import pytest

from nightrate.clock import repeatable
from nightrate.engines.arranging import Arrangement, arrange

SHAPES = (
    *((1024, 1024), (1376, 768), (768, 1376), (1568, 672)),
    *((2048, 512), (512, 2048), (2896, 352), (352, 2896), (16, 16), (4096, 16)),
)


def arranged(
    size: tuple[int, int], title: str, things: int, *, labelled: bool = False
) -> Arrangement:
    return arrange(size, title, things, repeatable(7), labelled=labelled)


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("title", ["", "A", "HELLO", "Happy birthday to you, dear Anna"])
@pytest.mark.parametrize("things", [1, 2, 3, 7, 24])
def test_nothing_overlaps_or_leaves_the_picture(
    size: tuple[int, int], title: str, things: int
) -> None:
    arrangement = arranged(size, title, things)
    width, height = size
    for one in arrangement.places:
        assert one.side * 0.4 <= one.x <= width - one.side * 0.4
        assert one.side * 0.4 <= one.y <= height - one.side * 0.4
        if arrangement.title is not None:
            beside = abs(one.x - width / 2) >= (arrangement.title.width + one.side * 0.8) / 2
            above = abs(one.y - height / 2) >= (arrangement.title.height + one.side * 0.8) / 2
            assert beside or above
    for one, other in combinations(arrangement.places, 2):
        apart = max(abs(one.x - other.x), abs(one.y - other.y))
        assert apart >= (one.side + other.side) / 2 * 0.8


@pytest.mark.parametrize("size", SHAPES)
def test_without_a_title_each_thing_has_one_place(size: tuple[int, int]) -> None:
    for things in range(1, 25):
        assert len(arranged(size, "", things).places) == things


def test_around_a_title_there_are_as_many_places_as_there_is_room_for() -> None:
    assert len(arranged((1024, 1024), "A", 3).places) == 12
    assert len(arranged((1376, 768), "A", 3).places) == 22
    assert len(arranged((4096, 16), "A", 3).places) < 50


def test_a_title_alone_has_no_places_beside_it() -> None:
    arrangement = arranged((512, 512), "A", 0)
    assert arrangement.places == ()
    assert arrangement.title is not None


def test_ornaments_keep_off_everything_else() -> None:
    arrangement = arranged((1024, 1024), "A", 5)
    assert arrangement.specks
    for speck in arrangement.specks:
        for place in arrangement.places:
            assert max(abs(speck.x - place.x), abs(speck.y - place.y)) > place.side * 0.35


def test_a_label_has_room_under_its_thing() -> None:
    plain, labelled = (arranged((1024, 1024), "A", 5, labelled=one) for one in (False, True))
    for one, other in zip(plain.places, labelled.places, strict=True):
        assert other.y < one.y
        assert other.side < one.side


def test_the_same_chance_arranges_the_same() -> None:
    assert arranged((512, 512), "A", 5) == arranged((512, 512), "A", 5)
