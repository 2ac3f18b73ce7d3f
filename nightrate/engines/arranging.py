"""Where things go in a picture: a block for the title, and cells that do not overlap."""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct

from nightrate.clock import Chance

_MARGIN: Final = 0.03
"""Of the shorter side, on each side."""
_SHAKEN: Final = 0.03
"""How far a cell's content may lie from its middle, as a share of the cell."""
_ROOM_FOR_LABEL: Final = 0.12
"""Of a cell, under its content."""
_LETTER_CELLS: Final = 2
_ALONG_MAX: Final = 20
"""Cells along the longer side, so that the thinnest picture has no hundreds of them."""
_SPECKS: Final = 60


class Box(Struct, frozen=True, gc=False):
    """A rectangle in pixels: its middle and its sides."""

    x: float
    y: float
    width: float
    height: float


class Place(Struct, frozen=True, gc=False):
    """A square in pixels, by its middle, and how it is turned, in degrees."""

    x: float
    y: float
    side: float
    turn: float


class Arrangement(Struct, frozen=True):
    """Where everything goes."""

    title: Box | None
    places: tuple[Place, ...]
    specks: tuple[Place, ...]
    """Small ornaments between them."""


def arrange(
    size: tuple[int, int], title: str, things: int, chance: Chance, *, labelled: bool
) -> Arrangement:
    """Find the places.

    Args:
        size: of the picture in pixels, width and height.
        title: the letters in the middle; empty when there are none.
        things: how many things there are; around a title, they come as often as there is room.
        labelled: whether each thing needs room for its name.
        chance: for the small irregularities.
    """
    if title and things:
        block, cells = _around(size, title)
    elif title:
        block, cells = Box(size[0] / 2, size[1] / 2, size[0] * 0.84, size[1] * 0.7), []
    else:
        block, cells = None, _rows(size, max(1, things))
    label = _ROOM_FOR_LABEL if labelled else 0.0
    places = tuple(_shaken(cell, label, chance) for cell in cells)
    return Arrangement(block, places, _specks(size, block, places, chance))


def _around(size: tuple[int, int], title: str) -> tuple[Box, list[Place]]:
    """Cut the picture into a grid, of which the title takes a block in the middle."""
    margin = _MARGIN * min(size)
    width, height = (side - 2 * margin for side in size)
    short, long = sorted((width, height))
    across = 4 if long < 2 * short else 3 if long < 3.5 * short else 2
    along = min(_ALONG_MAX, max(across, round(long * across / short)))
    columns, rows = (along, across) if width >= height else (across, along)
    side = min(width / columns, height / rows)
    wide, high = _block(title, columns, rows)
    first_column, first_row = (columns - wide) // 2, (rows - high) // 2
    step_x, step_y = width / columns, height / rows
    cells = [
        Place(margin + (column + 0.5) * step_x, margin + (row + 0.5) * step_y, side, 0)
        for row in range(rows)
        for column in range(columns)
        if not (
            first_column <= column < first_column + wide and first_row <= row < first_row + high
        )
    ]
    block = Box(size[0] / 2, size[1] / 2, wide * step_x, high * step_y)
    return block, cells


def _block(title: str, columns: int, rows: int) -> tuple[int, int]:
    """Give how many columns and rows the title takes, so that it is in the middle."""
    high = rows if rows <= 3 else _LETTER_CELLS + rows % 2  # noqa: PLR2004 - too few to share
    if columns <= 3:  # noqa: PLR2004 - likewise
        return columns, min(rows, max(high, len(title.split()) + rows % 2))
    wide = _LETTER_CELLS + columns % 2
    if len(title) > 3:  # noqa: PLR2004 - a word, no letters or number
        wide = columns if columns <= 6 else columns - 2  # noqa: PLR2004 - room at the sides
    return wide, high


def _rows(size: tuple[int, int], things: int) -> list[Place]:
    """Give that many places, as large as they can be; a last row that is short is centred."""
    margin = _MARGIN * min(size)
    width, height = (side - 2 * margin for side in size)

    def side_of(columns: int) -> float:
        return min(width / columns, height / math.ceil(things / columns))

    columns = max(range(1, things + 1), key=lambda count: (side_of(count), count))
    rows = math.ceil(things / columns)
    side, step = side_of(columns), height / rows
    places = []
    for row in range(rows):
        count = min(columns, things - row * columns)
        # What is left of the width goes between the things, but not so much that they fall apart.
        gap = min(width / count, side * 1.25)
        start = size[0] / 2 - gap * (count - 1) / 2
        gap_y = min(step, side * 1.25)
        y = size[1] / 2 + (row - (rows - 1) / 2) * gap_y
        places += [Place(start + column * gap, y, side, 0) for column in range(count)]
    return places


def _shaken(cell: Place, label: float, chance: Chance) -> Place:
    reach = _SHAKEN * cell.side
    return Place(
        cell.x + chance.uniform(-reach, reach),
        cell.y + chance.uniform(-reach, reach) - label * cell.side / 2,
        cell.side * (chance.uniform(0.9, 1.0) - label),
        chance.uniform(-9, 9),
    )


def _specks(
    size: tuple[int, int], title: Box | None, places: tuple[Place, ...], chance: Chance
) -> tuple[Place, ...]:
    """Strew small ornaments where nothing else is."""
    unit = min(size) / 100
    found: list[Place] = []
    for _ in range(_SPECKS * 4):
        side = unit * chance.choice((1.2, 1.6, 2.4, 3.2))
        x, y = chance.uniform(side, size[0] - side), chance.uniform(side, size[1] - side)
        near = [*places, *found]
        taken = any(
            math.hypot(one.x - x, one.y - y) < (one.side * 0.56 + side) for one in near
        ) or (
            title is not None
            and abs(title.x - x) < title.width / 2 + side
            and abs(title.y - y) < title.height / 2 + side
        )
        if not taken:
            found.append(Place(x, y, side, chance.uniform(0, 90)))
        if len(found) == _SPECKS:
            break
    return tuple(found)
