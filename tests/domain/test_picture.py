"""The sides of pictures."""

from __future__ import annotations

import pytest

from nightrate.domain.picture import GRAIN, sides_of


@pytest.mark.parametrize(
    ("ratio", "edge", "sides"),
    [
        ((1, 1), 1024, (1024, 1024)),
        ((1, 1), 512, (512, 512)),
        ((16, 9), 1024, (1360, 768)),
        ((9, 16), 2048, (1536, 2736)),
        ((1, 8), 4096, (1456, 11584)),
        ((1, 1000), 64, (16, 2016)),
    ],
)
def test_a_picture_has_the_area_of_its_square_and_sides_in_steps(
    ratio: tuple[int, int], edge: int, sides: tuple[int, int]
) -> None:
    assert sides_of(ratio, edge) == sides
    assert not any(side % GRAIN for side in sides)
