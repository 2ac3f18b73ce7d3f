"""Draws a scene: pictograms as stickers around large letters, on a quiet ground.

A pictogram is a drawing in lines. What its lines enclose is filled with a colour, and a white rim
goes around it, so that it stands out from any ground.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from nightrate.clock import Chance, repeatable
from nightrate.engines.arranging import Arrangement, Box, Place, arrange
from nightrate.engines.composing import Scene, Thing
from nightrate.engines.pictogram_words import NATURAL_COLOURS

_MASK_PIXELS: Final = 192
"""The side at which the outline of a pictogram is found; it is stretched to any size then."""
_RIM: Final = 0.035
"""Width of the white rim, as a share of the sticker."""
_GLYPH: Final = 0.8
"""The longer side of a pictogram, as a share of its sticker: there is room to turn it."""
_TRIED_PIXELS: Final = 100
_LABEL: Final = 0.13
_LABEL_PIXELS_MIN: Final = 9
_PICTOGRAM_WEIGHT: Final = 450
_TITLE_WEIGHT: Final = 700
_LABEL_WEIGHT: Final = 600
_LINES_MAX: Final = 5
_NOTHING: Final = "\N{ARTIST PALETTE}"
_COMPRESSION: Final = 4
"""Of the PNG files: from here on it takes longer, and hardly makes a flat picture smaller."""

RGB = tuple[int, int, int]


class Palette(Struct, frozen=True):
    """Colours that go together."""

    top: str
    bottom: str
    glow: str
    ink: str
    title: str
    fills: tuple[str, ...]


PALETTES: Final = (
    Palette(
        *("#fdf3d8", "#f9d9a8", "#fff9ea", "#2f2a3c", "#d8433b"),
        ("#f6b73c", "#ef7b5a", "#7cc4a4", "#7fb2e5", "#f3a6b8", "#c9d66b"),
    ),
    Palette(
        *("#dff3fb", "#a9d8ee", "#f4fcff", "#1d3550", "#1f6fb5"),
        ("#ffd166", "#ff8c69", "#8fd694", "#f7a8c4", "#b9a4e8", "#6fc3df"),
    ),
    Palette(
        *("#e7f5e1", "#b7dfb3", "#f8fdf3", "#23402f", "#2f8f4e"),
        ("#ffcf5c", "#f28b6d", "#8cc7e6", "#f4b0c7", "#a8d672", "#c8a3e0"),
    ),
    Palette(
        *("#f8e6f2", "#e6b9d8", "#fff6fb", "#43214a", "#b13a86"),
        ("#ffcb69", "#f58f7c", "#86cfc1", "#9db7f0", "#f49ac1", "#cfdc74"),
    ),
    Palette(
        *("#2b2f5b", "#4a3f7d", "#3d4380", "#1b1d3a", "#ffd86b"),
        ("#ffd166", "#ff9a76", "#7ddfc3", "#8ec5ff", "#f7a1c4", "#d6e37a"),
    ),
    Palette(
        *("#12414d", "#1c6a6c", "#1a5660", "#0d2b33", "#ffe08a"),
        ("#ffc857", "#ff8a5b", "#9be564", "#7fd1f0", "#f6a5c0", "#c5b3f2"),
    ),
)

COLOURS: Final = {
    "red": "#e8483f",
    "orange": "#f58a2c",
    "yellow": "#fbd43c",
    "golden": "#f0bd3a",
    "green": "#63b65a",
    "turquoise": "#3fc1b8",
    "blue": "#4a90d9",
    "purple": "#9362c4",
    "violet": "#9362c4",
    "pink": "#f48fb5",
    "brown": "#a9744b",
    "black": "#7d7d88",
    "grey": "#a7a9b3",
    "gray": "#a7a9b3",
    "white": "#fbfbfb",
}
"""Black is grey, so that its lines are seen."""

_NATURAL: Final = {
    character: colour for colour, characters in NATURAL_COLOURS.items() for character in characters
}


class Fonts(Struct, frozen=True):
    """Where the fonts are."""

    pictograms: Path
    letters: Path


def draw(
    scene: Scene, size: tuple[int, int], fonts: Fonts, stopped: Callable[[], bool] = bool
) -> bytes:
    """Draw a scene as a PNG file. Blocks for up to some seconds; call it in a thread.

    Args:
        scene: what it shows.
        size: width and height in pixels.
        fonts: with what.
        stopped: asked now and then whether nobody wants the picture any more; the file is empty
            then.
    """
    chance = repeatable(scene.seed)
    palette = chance.choice(PALETTES)
    things = len(scene.things)
    arrangement = arrange(size, scene.title, things, chance, labelled=scene.labelled)
    image = _ground(size, palette, arrangement)
    brush = _Brush(image, palette, fonts)
    for speck in arrangement.specks:
        brush.speck(speck, chance.choice(palette.fills))
    dealt = _dealt(scene.things, len(arrangement.places), chance)
    fills = _dealt_fills(palette.fills, len(dealt), chance)
    for place, thing, fill in zip(arrangement.places, dealt, fills, strict=True):
        if stopped():
            return b""
        character = thing.pictogram.character if thing else _NOTHING
        colour = (thing and thing.colour) or _NATURAL.get(character)
        brush.sticker(place, character, COLOURS[colour] if colour else fill)
        if thing and scene.labelled:
            brush.label(place, thing.pictogram.name)
    if arrangement.title is not None:
        brush.title(arrangement.title, scene.title)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue()


def _dealt(things: tuple[Thing, ...], count: int, chance: Chance) -> list[Thing | None]:
    """Give each place a thing; when there are more places, all come equally often."""
    if not things:
        return [None] * count
    dealt: list[Thing | None] = []
    while len(dealt) < count:
        more = list(things)
        if count > len(things):
            chance.shuffle(more)
            if dealt and dealt[-1] == more[0] and more[1:]:
                more = more[1:] + more[:1]
        dealt += more
    return dealt[:count]


def _dealt_fills(fills: tuple[str, ...], count: int, chance: Chance) -> list[str]:
    start, step = chance.randrange(len(fills)), chance.choice((1, 5))
    return [fills[(start + step * index) % len(fills)] for index in range(count)]


def _ground(size: tuple[int, int], palette: Palette, arrangement: Arrangement) -> Image.Image:
    """Paint the ground: from one tone to another, with a glow behind the middle."""
    shade = Image.linear_gradient("L")
    ground = ImageOps.colorize(shade, palette.top, palette.bottom)
    image = ground.resize(size, Image.Resampling.BILINEAR)
    box = arrangement.title
    side = round(min(max(size), 1.25 * max(box.width, box.height)) if box else 0)
    side = side or round(0.92 * min(size))
    glow = _disc(min(side, 512)).resize((side, side), Image.Resampling.BICUBIC)
    image.paste(palette.glow, ((size[0] - side) // 2, (size[1] - side) // 2), glow)
    return image


@lru_cache(maxsize=64)
def _disc(side: int) -> Image.Image:
    large = Image.new("L", (4 * side, 4 * side))
    ImageDraw.Draw(large).ellipse((0, 0, 4 * side - 1, 4 * side - 1), fill=255)
    return large.reduce(4)


class _Brush:
    """Paints on a picture."""

    def __init__(self, image: Image.Image, palette: Palette, fonts: Fonts) -> None:
        self._image = image
        self._palette = palette
        self._fonts = fonts

    def speck(self, place: Place, colour: str) -> None:
        """Paint a small disc."""
        side = max(1, round(place.side))
        self._image.paste(colour, _corner(place, side), _disc(side))

    def sticker(self, place: Place, character: str, colour: str) -> None:
        """Paint a pictogram with its shadow, its rim, its colour and its lines."""
        side = max(4, round(place.side))
        lines = _turned(_glyph(self._fonts.pictograms, character, side), place.turn)
        inside, rim = _silhouette(self._fonts.pictograms, character)
        inside = _stretched(_turned(inside, place.turn), side)
        rim = _stretched(_turned(rim, place.turn), side)
        left, top = _corner(place, side)
        shadow = rim.point([value * 70 // 255 for value in range(256)])
        drop = max(1, side // 40)
        self._image.paste(self._palette.ink, (left + drop, top + drop), shadow)
        self._image.paste("white", (left, top), rim)
        self._image.paste(colour, (left, top), inside)
        self._image.paste(self._palette.ink, (left, top), lines)

    def label(self, place: Place, name: str) -> None:
        """Write the name of a thing under it, if that can be read."""
        pixels = round(_LABEL * place.side)
        if pixels < _LABEL_PIXELS_MIN:
            return
        font = _font(self._fonts.letters, pixels, _LABEL_WEIGHT)
        width = font.getlength(name)
        if width > place.side:
            font = _font(self._fonts.letters, int(pixels * place.side / width), _LABEL_WEIGHT)
        ImageDraw.Draw(self._image).text(
            (place.x, place.y + place.side * 0.5),
            name,
            fill=self._palette.ink,
            font=font,
            anchor="mm",
            stroke_width=max(1, pixels // 6),
            stroke_fill="white",
        )

    def title(self, box: Box, text: str) -> None:
        """Write large letters, in as many lines as make them largest."""
        lines, pixels = _fitted(text, box, self._fonts.letters)
        font = _font(self._fonts.letters, pixels, _TITLE_WEIGHT)
        brush = ImageDraw.Draw(self._image)
        step = pixels * 1.05
        drop, rim = max(1, pixels // 30), max(1, pixels // 24)
        for fill, stroke, offset in (
            (self._palette.ink, self._palette.ink, drop),
            (self._palette.title, "white", 0),
        ):
            for number, line in enumerate(lines):
                left, top, right, bottom = font.getbbox(line, anchor="ls")
                capital = font.getbbox("H", anchor="ls")
                middle = (capital[1] + capital[3]) / 2 if lines[1:] else (top + bottom) / 2
                x = box.x - (left + right) / 2 + offset
                y = box.y + (number - (len(lines) - 1) / 2) * step - middle + offset
                brush.text(
                    *((x, y), line, fill),
                    font=font,
                    anchor="ls",
                    stroke_width=rim,
                    stroke_fill=stroke,
                )


def _corner(place: Place, side: int) -> tuple[int, int]:
    return round(place.x - side / 2), round(place.y - side / 2)


def _turned(mask: Image.Image, degrees: float) -> Image.Image:
    return mask.rotate(degrees, Image.Resampling.BICUBIC)


def _stretched(mask: Image.Image, side: int) -> Image.Image:
    """Give a mask another size, with an edge that is one pixel wide again."""
    large = mask.resize((side, side), Image.Resampling.BICUBIC)
    steepness = max(1.0, side / _MASK_PIXELS)
    return large.point(
        [round(min(255, max(0, 127.5 + (value - 127.5) * steepness))) for value in range(256)]
    )


@lru_cache(maxsize=32)
def _font(path: Path, pixels: int, weight: int) -> ImageFont.FreeTypeFont:
    # The plain layout is the same whatever Pillow was built with.
    font = ImageFont.truetype(path, max(1, pixels), layout_engine=ImageFont.Layout.BASIC)
    font.set_variation_by_axes([weight])
    return font


def _glyph(path: Path, character: str, side: int) -> Image.Image:
    """Draw the lines of a pictogram into the middle of a square mask."""
    mask = Image.new("L", (side, side))
    left, top, right, bottom = _font(path, _TRIED_PIXELS, _PICTOGRAM_WEIGHT).getbbox(character)
    pixels = _TRIED_PIXELS * _GLYPH * side / max(1, right - left, bottom - top)
    font = _font(path, round(pixels), _PICTOGRAM_WEIGHT)
    left, top, right, bottom = font.getbbox(character)
    corner = ((side - left - right) / 2, (side - top - bottom) / 2)
    ImageDraw.Draw(mask).text(corner, character, fill=255, font=font)
    return mask


@lru_cache(maxsize=256)
def _silhouette(path: Path, character: str) -> tuple[Image.Image, Image.Image]:
    """Give what the lines of a pictogram enclose, and that with a rim around it."""
    lines = np.asarray(_glyph(path, character, _MASK_PIXELS))
    inside = Image.fromarray(np.where(_outside(lines > 100), 0, 255).astype(np.uint8))  # noqa: PLR2004 - of 255: most of a pixel
    radius = _RIM * _MASK_PIXELS
    wider = inside.filter(ImageFilter.GaussianBlur(radius))
    # Where the blurred edge has fallen to a tenth, it is a little over a radius away.
    rim = wider.point([min(255, max(0, (value - 18) * 12)) for value in range(256)])
    return inside.filter(ImageFilter.GaussianBlur(1)), rim


def _outside(lines: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find what can be reached from the edge without crossing a line."""
    free = ~lines
    outside = np.zeros_like(free)
    outside[[0, -1], :] = outside[:, [0, -1]] = True
    outside &= free
    while True:
        before = np.count_nonzero(outside)
        for across in (outside, outside.T):
            passable = free if across is outside else free.T
            for order in (range(1, len(across)), range(len(across) - 2, -1, -1)):
                step = 1 if order.step > 0 else -1
                for row in order:
                    across[row] |= across[row - step] & passable[row]
        if np.count_nonzero(outside) == before:
            return outside


def _fitted(text: str, box: Box, path: Path) -> tuple[list[str], int]:
    """Cut a text into lines, so that it can be written as large as possible."""
    words = text.split()
    best: tuple[int, list[str]] = (0, [text])
    unit = _TRIED_PIXELS
    font = _font(path, unit, _TITLE_WEIGHT)
    for count in range(1, min(_LINES_MAX, len(words)) + 1):
        lines = _lines(words, count)
        widest = max(font.getlength(line) for line in lines)
        high = len(lines) * 1.05 * unit if lines[1:] else 0.75 * unit
        pixels = int(unit * min(0.92 * box.width / widest, 0.9 * box.height / high))
        best = max(best, (pixels, lines))
    return best[1], max(1, best[0])


def _lines(words: list[str], count: int) -> list[str]:
    """Spread words over lines of about the same length."""
    target = sum(map(len, words)) / count
    lines: list[list[str]] = [[]]
    for word in words:
        full = sum(map(len, lines[-1])) + len(word) / 2 > target
        if lines[-1] and full and len(lines) < count:
            lines.append([])
        lines[-1].append(word)
    return [" ".join(line) for line in lines]
