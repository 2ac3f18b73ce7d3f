"""The illustrator keeps the promises of engines, and its pictures show what their text says."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs
from PIL import Image

from nightrate.domain.generation import Capability, FinishReason, Message, Prompt, Sampling
from nightrate.domain.picture import PictureWish
from nightrate.engines import illustrating
from nightrate.engines.base import Capacity, Engine
from nightrate.engines.composing import ORIGIN, compose
from nightrate.engines.illustrating import COLOURS, PALETTES, Fonts, draw
from nightrate.engines.illustrator import MODEL_VERSION, IllustratorEngine
from nightrate.engines.pictograms import Index
from nightrate.engines.registry import create_engine
from nightrate.errors import EngineDown, SettingsFault
from nightrate.testing.engine_contract import EngineContract, EngineLifeContract, asked, text_of

LETTERS = "A big letter A surrounded by animals starting with the A letter"
COMMON_SHARE = 0.005
WAIT_SECONDS = 30.0


def wanted(
    text: str,
    width: int = 256,
    height: int = 256,
    *,
    with_text: bool = True,
    seed: int | None = None,
) -> Prompt:
    wish = PictureWish(width, height, with_text, "modalities")
    return structs.replace(asked(text, seed=seed), picture=wish)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


async def picture_of(engine: Engine, prompt: Prompt) -> bytes:
    ((picture,),) = [one.pictures for one in (await engine.generate(prompt)).candidates]
    assert picture.mime_type == "image/png"
    return picture.data


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = create_engine("illustrator", {})
    await engine.open()
    yield engine
    await engine.close()


@pytest.mark.embedded
class TestIllustrator(EngineContract):
    """The contract."""

    finished_first_max = 1

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        engine = create_engine("illustrator", {"requests": 1})
        await engine.open()
        yield engine
        await engine.close()

    def lasting(self, number: int) -> Prompt:
        return wanted(f"{number}. {LETTERS}", 4096, 4096)


@pytest.mark.embedded
class TestIllustratorLife(EngineLifeContract):
    """The contract about opening and closing."""

    @pytest.fixture
    def fresh(self) -> Engine:
        return create_engine("illustrator", {})

    def lasting(self, number: int) -> Prompt:
        return wanted(f"{number}. {LETTERS}", 4096, 4096)


# the engine -------------------------------------------------------------------------------------


def test_it_is_opened_on_demand_unless_the_settings_say_otherwise() -> None:
    assert create_engine("illustrator", {}).on_demand
    assert not create_engine("illustrator", {"at_start": True}).on_demand
    assert create_engine("illustrator", {}).capabilities == {Capability.TEXT, Capability.IMAGES}
    with pytest.raises(SettingsFault, match=r"engines\.illustrator\.requests"):
        create_engine("illustrator", {"requests": 0})


@pytest.mark.embedded
async def test_what_somebody_waits_for_is_drawn_next_whatever_else_waits() -> None:
    engine = IllustratorEngine.from_options({"requests": 1})
    await engine.open()
    assert engine.capacity == Capacity(5, live=1)
    assert engine._studio is not None
    begun, gate, widths = threading.Event(), threading.Semaphore(0), list[int]()

    def draw_when_let(_scene: object, size: tuple[int, int], *_: object) -> bytes:
        widths.append(size[0])
        begun.set()
        assert gate.acquire(timeout=WAIT_SECONDS)
        return b""

    engine._studio._draw = draw_when_let
    batch = [asyncio.create_task(engine.generate(wanted("a cat", width))) for width in (1, 2, 3, 4)]
    assert await asyncio.to_thread(begun.wait, WAIT_SECONDS)
    batch[1].cancel()
    live = [
        asyncio.create_task(engine.generate(structs.replace(wanted("a cat", width), live=True)))
        for width in (8, 9)
    ]
    await asyncio.wait(batch[1:2])
    gate.release(5)
    await asyncio.gather(*live, batch[0], *batch[2:])
    assert widths == [1, 8, 9, 3, 4]
    await engine.close()


@pytest.mark.embedded
@pytest.mark.parametrize("size", [(1024, 1024), (1376, 768), (352, 2896), (16, 16), (17, 33)])
async def test_a_picture_is_a_png_file_of_the_size_asked_for(
    engine: Engine, size: tuple[int, int]
) -> None:
    for text in (LETTERS, "a cat", "the word HELLO", "漢字"):
        image = opened(await picture_of(engine, wanted(text, *size)))
        assert (image.format, image.size, image.mode) == ("PNG", size, "RGB")


@pytest.mark.embedded
async def test_the_same_prompt_and_seed_give_the_same_bytes(engine: Engine) -> None:
    pictures = [
        await picture_of(engine, wanted(LETTERS, seed=seed)) for seed in (None, None, 1, 1, 2)
    ]
    assert pictures[0] == pictures[1]
    assert pictures[2] == pictures[3]
    assert len(set(pictures)) == 3


@pytest.mark.embedded
async def test_the_text_says_what_is_drawn_and_that_no_model_drew_it(engine: Engine) -> None:
    reply = await engine.generate(wanted("A red balloon over a castle"))
    assert text_of(reply) == f"Red balloon and castle. {ORIGIN}"
    assert reply.model_version == MODEL_VERSION == "nightrate-illustrator-1"
    assert reply.usage.prompt_tokens == 7
    assert reply.usage.output_tokens == -(-len(text_of(reply)) // 4)
    alone = await engine.generate(wanted("a cat", with_text=False))
    assert text_of(alone) == ""
    assert alone.usage.output_tokens == 0


@pytest.mark.embedded
async def test_who_asks_for_no_picture_is_told_how_to_get_one(engine: Engine) -> None:
    reply = await engine.generate(asked("a cat"))
    assert "responseModalities" in text_of(reply)
    assert "Cat." in text_of(reply)
    assert not reply.candidates[0].pictures


@pytest.mark.embedded
async def test_the_output_limit_cuts_the_text_and_not_the_picture(engine: Engine) -> None:
    prompt = structs.replace(wanted("a cat"), sampling=Sampling(max_output_tokens=1))
    (candidate,) = (await engine.generate(prompt)).candidates
    assert candidate.text == "Cat."
    assert candidate.finish_reason is FinishReason.LENGTH
    assert candidate.pictures


@pytest.mark.embedded
async def test_instructions_and_earlier_turns_add_things(engine: Engine) -> None:
    turns = (
        *(Message("user", "a dog"), Message("model", "a pig")),
        Message("user", "a cat"),
    )
    reply = await engine.generate(Prompt(messages=turns, system="Always with a tree."))
    assert "Cat, dog and tree." in text_of(reply)


@pytest.mark.embedded
async def test_the_check_finds_fonts_that_are_read_wrongly(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = await engine.self_check()
    assert finding.ok, finding
    assert "ant" in finding.found
    monkeypatch.setattr(Index, "beginning", lambda *_: [])
    (finding,) = await engine.self_check()
    assert not finding.ok
    assert "remove the cached files" in finding.remedy


@pytest.mark.embedded
async def test_an_abandoned_drawing_gives_its_thread_back_at_the_next_pictogram(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, finished = asyncio.Event(), list[bytes]()
    loop = asyncio.get_running_loop()

    def watched(*arguments: object) -> bytes:
        loop.call_soon_threadsafe(begun.set)
        finished.append(draw(*arguments))  # type: ignore[arg-type]
        return finished[-1]

    monkeypatch.setattr(illustrating, "draw", watched)
    engine = create_engine("illustrator", {"requests": 1})
    await engine.open()
    drawing = asyncio.create_task(engine.generate(wanted(LETTERS, 4096, 4096)))
    await begun.wait()
    drawing.cancel()
    assert await picture_of(engine, wanted("a cat"))
    await engine.close()
    assert finished[0] == b""
    assert drawing.cancelled()


@pytest.mark.embedded
async def test_fonts_that_vanish_take_the_engine_down(tmp_path: Path, fonts: Fonts) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for path in (fonts.pictograms, fonts.letters):
        for file in path.parent.glob(f"{path.name}*"):
            (cache / file.name).write_bytes(file.read_bytes())
    engine = IllustratorEngine.from_options({"cache_directory": str(cache)})
    await engine.open()
    for file in cache.iterdir():
        file.unlink()
    illustrating._font.cache_clear()
    with pytest.raises(EngineDown, match="fonts cannot be read"):
        await engine.generate(wanted("a cat and the word NEVERSEEN"))
    await engine.close()


# the pictures -----------------------------------------------------------------------------------


def share_of(image: Image.Image, colour: str, within: int = 12) -> float:
    """Give how much of a picture has about a colour."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    near: int = sum(
        count
        for count, (r, g, b) in image.getcolors(image.width * image.height)
        if max(abs(r - red), abs(g - green), abs(b - blue)) <= within
    )
    pixels: int = image.width * image.height
    return near / pixels


@pytest.mark.embedded
async def test_a_thing_has_the_colour_that_the_prompt_says(engine: Engine) -> None:
    for colour in ("red", "blue", "green"):
        image = opened(await picture_of(engine, wanted(f"a {colour} balloon", 512, 512)))
        assert share_of(image, COLOURS[colour]) > 0.05


@pytest.mark.embedded
def test_a_letter_is_in_the_middle_and_things_are_around_it(
    fonts: Fonts, index: Index, writable: frozenset[int]
) -> None:
    scene = compose(LETTERS, "", None, index, writable)
    image = opened(draw(scene, (512, 512), fonts))
    palette = next(one for one in PALETTES if share_of(image, one.title) > 0.03)
    middle = image.crop((128, 128, 384, 384))
    assert share_of(middle, palette.title) > 3 * share_of(image, palette.title)
    for corner in ((0, 0), (384, 0), (0, 384), (384, 384)):
        cell = image.crop((*corner, corner[0] + 128, corner[1] + 128))
        assert share_of(cell, palette.ink) > COMMON_SHARE
        assert share_of(cell, "#ffffff") > COMMON_SHARE, "a white rim"


@pytest.mark.embedded
def test_what_lines_enclose_is_filled_and_what_is_outside_is_not(fonts: Fonts) -> None:
    inside, rim = illustrating._silhouette(fonts.pictograms, "🎈")
    assert inside.getpixel((inside.width // 2, inside.height // 3)) == 255
    assert inside.getpixel((3, 3)) == rim.getpixel((3, 3)) == 0
    assert sum(rim.histogram()[200:]) > sum(inside.histogram()[200:])


@pytest.mark.parametrize("palette", PALETTES)
def test_lines_stand_out_from_every_colour_that_they_enclose(
    palette: illustrating.Palette,
) -> None:
    for fill in (*palette.fills, *COLOURS.values(), "#ffffff"):
        assert contrast(palette.ink, fill) > 2.4, fill
    assert contrast(palette.title, palette.glow) > 2.4


def contrast(one: str, other: str) -> float:
    """Give the ratio of two luminances, as WCAG defines it."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
