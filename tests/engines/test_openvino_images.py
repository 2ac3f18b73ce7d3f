"""The engine for text-to-image models: its child over a puppet, and all over a tiny real model."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from msgspec import structs
from PIL import Image

from nightrate.domain.generation import Capability, FinishReason, Message, Prompt
from nightrate.domain.picture import PictureWish
from nightrate.engines.base import Capacity, Engine
from nightrate.engines.frames import CANCEL, Answer, Question, raw
from nightrate.engines.openvino_images import OpenVINOImagesEngine, check
from nightrate.engines.openvino_images_child import Painter, PainterSetup, PaintOrder, Worker
from nightrate.engines.registry import create_engine
from nightrate.errors import Code, EngineDown, RequestFailed, SettingsFault
from nightrate.testing.engine_contract import EngineLifeContract, asked, text_of
from nightrate.testing.engine_wishes import PicturePromises
from tests.engines.tiny_painter import write_painter

STEPS_THAT_LAST = 1000


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_painter(tmp_path_factory.mktemp("models") / "tiny-painter")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def painter(folder: Path) -> AsyncIterator[Engine]:
    engine = made(folder)
    await engine.open()
    yield engine
    await engine.close()


def made(folder: Path, **options: Any) -> OpenVINOImagesEngine:
    options = {"model": str(folder), "steps": 2, "threads": 1, **options}
    return OpenVINOImagesEngine.from_options(options)


def wanted(text: str, width: int = 64, height: int = 128, **sampling: Any) -> Prompt:
    wish = PictureWish(width, height, with_text=True, field="modalities")
    return structs.replace(asked(text, **sampling), picture=wish)


async def picture_of(engine: Engine, prompt: Prompt) -> bytes:
    (candidate,) = (await engine.generate(prompt)).candidates
    (picture,) = candidate.pictures
    assert picture.mime_type == "image/png"
    return picture.data


@pytest.mark.asyncio(loop_scope="session")
class TestPictures(PicturePromises):
    """The contract about pictures."""

    @pytest_asyncio.fixture(loop_scope="session")
    async def engine(self, painter: Engine) -> Engine:
        return painter


class TestLife(EngineLifeContract):
    """The contract about opening and closing."""

    @pytest.fixture
    def fresh(self, folder: Path) -> Engine:
        return made(folder, steps=STEPS_THAT_LAST)

    def lasting(self, number: int) -> Prompt:
        return wanted(f"{number}. A cat", 1024, 1024)

    def answerable(self) -> Prompt:
        return wanted("A cat")


# what is drawn ----------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="session")
async def test_a_picture_has_the_size_that_is_asked_for_and_a_caption(painter: Engine) -> None:
    reply = await painter.generate(wanted("a cat", 384, 688, max_output_tokens=3))
    (candidate,) = reply.candidates
    image = Image.open(io.BytesIO(candidate.pictures[0].data))
    image.load()
    assert (image.format, image.size) == ("PNG", (384, 688))
    assert (candidate.text, candidate.finish_reason) == ("A picture by", FinishReason.LENGTH)
    assert reply.model_version == "tiny-painter"
    assert (reply.usage.prompt_tokens, reply.usage.output_tokens) == (2, 3)


@pytest.mark.asyncio(loop_scope="session")
async def test_a_picture_follows_from_its_prompt_and_its_seed(painter: Engine) -> None:
    cat = wanted("a cat", seed=1)
    drawn = await picture_of(painter, cat)
    among = await asyncio.gather(*(picture_of(painter, one) for one in (wanted("dogs"), cat)))
    assert drawn == among[1]
    others = [
        wanted("a dog", seed=1),
        wanted("a cat", seed=-1),
        structs.replace(cat, system="In blue."),
        wanted("a cat"),
        wanted("a cat"),
    ]
    pictures = {drawn, *[await picture_of(painter, other) for other in others]}
    assert len(pictures) == 1 + len(others)


async def test_steps_and_guidance_are_those_of_the_options(folder: Path) -> None:
    pictures = set()
    for options in ({}, {"steps": 3}, {"guidance": 1.5}):
        engine = made(folder, **options)
        await engine.open()
        pictures.add(await picture_of(engine, wanted("a cat", seed=1)))
        await engine.close()
    assert len(pictures) == 3


@pytest.mark.parametrize(
    ("prompt", "complaint", "code"),
    [
        (wanted("a", temperature=0.5), "^temperature: ", Code.UNIMPLEMENTED),
        (wanted("a", 64, 100), "^size: .*16", Code.INVALID_ARGUMENT),
        (wanted("a", 2048, 2048), "^imageConfig: .*1K", Code.INVALID_ARGUMENT),
        (wanted("\ud800"), "Unicode", Code.INVALID_ARGUMENT),
        (asked("a"), "no text", Code.UNIMPLEMENTED),
        (
            structs.replace(wanted("a"), messages=(Message("user", "a"), Message("user", "b"))),
            "^contents: ",
            Code.UNIMPLEMENTED,
        ),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_what_it_cannot_draw_is_refused_by_its_field(
    painter: Engine, prompt: Prompt, complaint: str, code: Code
) -> None:
    with pytest.raises(RequestFailed, match=complaint) as refused:
        await painter.generate(prompt)
    assert refused.value.code is code


async def test_a_child_that_is_killed_is_started_again(folder: Path) -> None:
    engine = made(folder, steps=STEPS_THAT_LAST)
    await engine.open()
    try:
        lasting = asyncio.create_task(engine.generate(wanted("a cat", 1024, 1024)))
        await asyncio.sleep(0)
        assert engine.child_pid is not None
        os.kill(engine.child_pid, signal.SIGKILL)
        with pytest.raises(EngineDown) as down:
            await lasting
        assert down.value.in_flight
        await engine.ready()
        assert await picture_of(engine, wanted("a cat", 16, 16))
    finally:
        await engine.close()


# opening ----------------------------------------------------------------------------------------


def test_the_options_name_a_folder() -> None:
    with pytest.raises(SettingsFault) as fault:
        create_engine("openvino_images", {"steps": 0, "colour": "red"})
    wrong = sorted(problem.split(":")[0] for problem in fault.value.problems)
    assert wrong == [f"engines.openvino_images.{name}" for name in ("colour", "model", "steps")]
    engine = create_engine("openvino_images", {"model": "anywhere"})
    assert engine.capabilities == {Capability.IMAGES}
    assert not engine.on_demand


async def test_a_folder_that_is_no_model_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(EngineDown, match="is no folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(EngineDown, match=r"no model_index\.json"):
        check(tmp_path)
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(EngineDown, match="optimum-cli export openvino"):
        await made(tmp_path).open()
    (tmp_path / "vae_decoder").mkdir()
    (tmp_path / "vae_decoder" / "openvino_model.xml").write_text("rubbish")
    engine = made(tmp_path)
    with pytest.raises(EngineDown, match="cannot load"):
        await engine.open()
    await engine.close()


# the child --------------------------------------------------------------------------------------


class Puppet:
    """Draws the text; asks after each step whether to go on."""

    def __init__(self) -> None:
        self.drawn: list[str] = []
        self.steps = 2

    def paint(self, order: PaintOrder, go_on: Callable[[], bool]) -> bytes | None:
        if order.text == "broken":
            raise RuntimeError("Check failed at somewhere:\nthe reason\n")
        for _ in range(self.steps):
            if not go_on():
                return None
        self.drawn.append(order.text)
        return order.text.encode()


def ask(worker: Worker, number: int, text: str, *, live: bool = False) -> None:
    order = PaintOrder(text=text, width=16, height=16, seed=1, live=live)
    worker.take(Question(number, "paint", raw(order)))


def drained(worker: Worker, listen: Callable[[], None] = lambda: None) -> list[Answer]:
    answers = []
    while worker.busy:
        answers += worker.turn(listen)
    return answers


def test_pictures_are_drawn_one_by_one_in_their_order() -> None:
    worker = Worker(Puppet())  # type: ignore[arg-type]
    for number, text in enumerate("abc", 1):
        ask(worker, number, text)
    answers = drained(worker)
    assert [(one.number, msgspec.msgpack.decode(one.body)) for one in answers] == [
        *((1, b"a"), (2, b"b"), (3, b"c"))
    ]
    assert not worker.busy
    assert worker.turn(lambda: None) == []


def test_what_somebody_waits_for_is_drawn_next_whatever_else_waits() -> None:
    puppet = Puppet()
    worker = Worker(puppet)  # type: ignore[arg-type]
    for number, text in enumerate("abc", 1):
        ask(worker, number, text)
    coming = [(4, "y"), (5, "z"), (6, "never")]

    def listen() -> None:
        while coming:
            number, text = coming.pop(0)
            ask(worker, number, text, live=True)
            if text == "never":
                worker.take(Question(number, CANCEL))

    drained(worker, listen)
    assert puppet.drawn == ["a", "y", "z", "b", "c"]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_live_picture_comes_before_those_of_a_batch_that_wait(painter: Engine) -> None:
    assert painter.capacity == Capacity(2, live=2)
    order: list[str] = []

    async def draw(prompt: Prompt) -> None:
        await picture_of(painter, prompt)
        order.append(prompt.messages[0].text)

    batch = [asyncio.create_task(draw(wanted(f"row {number}"))) for number in range(2)]
    await asyncio.gather(*batch, draw(structs.replace(wanted("live"), live=True)))
    assert order.index("live") < order.index("row 1")


def test_what_is_withdrawn_is_not_drawn_or_given_up_at_its_next_step() -> None:
    puppet = Puppet()
    worker = Worker(puppet)  # type: ignore[arg-type]
    for number, text in enumerate("abc", 1):
        ask(worker, number, text)
    worker.take(Question(2, CANCEL))

    def listen() -> None:
        worker.take(Question(1, CANCEL))

    assert [one.number for one in drained(worker, listen)] == [3]
    assert puppet.drawn == ["c"]


def test_what_cannot_be_drawn_fails_alone() -> None:
    worker = Worker(Puppet())  # type: ignore[arg-type]
    for number, text in enumerate(("broken", "a"), 1):
        ask(worker, number, text)
    worker.take(Question(3, "sing"))
    troubles = {one.number: one.trouble for one in drained(worker)}
    assert troubles[2] is None
    assert troubles[1] is not None
    assert troubles[1].message == "The model cannot draw this: the reason"
    assert troubles[3] is not None
    assert troubles[3].code == Code.UNIMPLEMENTED


def test_a_real_drawing_can_be_given_up(folder: Path) -> None:
    painter = Painter(PainterSetup(folder=str(folder), threads=1, steps=50, guidance=None))
    order = PaintOrder(text="a cat", width=64, height=64, seed=1)
    steps = 0

    def go_on() -> bool:
        nonlocal steps
        steps += 1
        return steps < 3

    assert painter.paint(order, go_on) is None
    assert steps == 3
    drawn = painter.paint(order, lambda: True)
    assert drawn is not None
    assert drawn == painter.paint(order, lambda: True)


@pytest.mark.asyncio(loop_scope="session")
async def test_a_reply_has_the_caption_only_if_a_text_was_asked_for(painter: Engine) -> None:
    prompt = structs.replace(wanted("a cat"), picture=PictureWish(64, 64, False, "modalities"))  # noqa: FBT003
    assert text_of(await painter.generate(prompt)) == ""
    assert await painter.count_tokens(asked("12345")) == 2
