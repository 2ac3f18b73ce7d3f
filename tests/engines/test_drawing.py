"""Pictures that are drawn without a model open, have their size, and depend on the words only."""

from __future__ import annotations

import io
import zlib

import pytest
from PIL import Image

from nightrate.engines.drawing import draw

PHOTOGRAPH_BYTES = range(1_400_000, 1_800_000)


def opened(data: bytes) -> Image.Image:
    Image.open(io.BytesIO(data)).verify()
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("size", [(16, 16), (512, 512), (1360, 768), (176, 1456), (4096, 4096)])
def test_a_picture_opens_and_has_its_size(size: tuple[int, int]) -> None:
    picture = opened(draw("A big letter A", *size))
    assert picture.format == "PNG"
    assert picture.size == size
    assert len(picture.convert("RGB").getcolors() or []) == 2


def test_equal_words_make_equal_pictures_and_others_do_not() -> None:
    assert draw("a", 256, 256) == draw("a", 256, 256)
    assert len({draw(words, 256, 256) for words in ("a", "b", "", "\ud800", "漢" * 9999)}) == 5


def test_the_halves_of_a_picture_mirror_each_other() -> None:
    picture = opened(draw("symmetry", 256, 256)).convert("RGB")
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert picture.tobytes() == mirrored.tobytes()


def test_a_usual_picture_is_small_and_a_large_one_cannot_be_pressed() -> None:
    assert len(draw("a", 1024, 1024)) < 5_000
    large = draw("a", 4096, 4096)
    assert len(large) in PHOTOGRAPH_BYTES
    assert len(zlib.compress(large)) > 0.98 * len(large)
