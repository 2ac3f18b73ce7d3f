"""What runs in the child process of the engine for text-to-image models: one picture at a time.

Between two steps of a picture it looks for questions, so that one nobody waits for any more is
given up, and shows that it is alive. The only place that touches OpenVINO GenAI's image pipelines,
whose usage reports are switched off before the library is imported.
"""

from __future__ import annotations

import io
import os
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from nightrate.engines.frames import (
    CANCEL,
    Answer,
    ParentGone,
    ParentLine,
    Question,
    lead_life,
    raw,
    troubled,
)
from nightrate.errors import Code

_COMPRESSION = 4


class PainterSetup(Struct, frozen=True, kw_only=True):
    """What the child is told."""

    folder: str
    threads: int | None
    steps: int | None
    """How many a picture takes; None leaves it to the model."""
    guidance: float | None
    """How closely it follows the prompt; None leaves it to the model."""


class PaintOrder(Struct, frozen=True, kw_only=True):
    """A picture to be drawn, its sides in pixels; ``live`` where somebody waits for it."""

    text: str
    width: int
    height: int
    seed: int
    live: bool = False


GoOn = Callable[[], bool]
"""Asked after each step whether the picture is still wanted."""


class Painter:
    """The loaded pipeline."""

    def __init__(self, setup: PainterSetup) -> None:
        """Load.

        Raises:
            ImportError: OpenVINO GenAI is not installed, or not made for this machine.
            RuntimeError: the model cannot be loaded.
        """
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        import openvino_genai

        properties = {} if setup.threads is None else {"INFERENCE_NUM_THREADS": setup.threads}
        self._pipeline: Any = openvino_genai.Text2ImagePipeline(setup.folder, "CPU", **properties)
        self._settings: dict[str, Any] = {}
        if setup.steps is not None:
            self._settings["num_inference_steps"] = setup.steps
        if setup.guidance is not None:
            self._settings["guidance_scale"] = setup.guidance

    def paint(self, order: PaintOrder, go_on: GoOn) -> bytes | None:
        """Draw, as a PNG file; None when it was given up.

        Raises:
            RuntimeError: the pipeline cannot draw this.
        """
        from PIL import Image

        given_up = False

        def between(_step: int, _steps: int, _latent: Any) -> bool:
            nonlocal given_up
            given_up = given_up or not go_on()
            return given_up

        drawn = self._pipeline.generate(
            order.text,
            width=order.width,
            height=order.height,
            rng_seed=order.seed,
            num_images_per_prompt=1,
            callback=between,
            **self._settings,
        )
        if given_up:
            return None  # What the pipeline gives then is nothing that could be looked at.
        file = io.BytesIO()
        Image.fromarray(drawn.data[0]).save(file, "PNG", compress_level=_COMPRESSION)
        return file.getvalue()


class Worker:
    """Draws what is asked for: first what somebody waits for, each in the order of asking."""

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._live: deque[tuple[int, PaintOrder]] = deque()
        self._batch: deque[tuple[int, PaintOrder]] = deque()
        self._ready: list[Answer] = []
        self._current = 0
        """The number of what is drawn now; 0 when it is nobody's any more."""

    @property
    def busy(self) -> bool:
        """Whether a turn would do anything."""
        return bool(self._live or self._batch or self._ready)

    def take(self, question: Question) -> None:
        """Put a question to the others, or take one back."""
        number = question.number
        if question.verb == CANCEL:
            self._live = deque(one for one in self._live if one[0] != number)
            self._batch = deque(one for one in self._batch if one[0] != number)
            if number == self._current:
                self._current = 0
        elif question.verb == "paint":
            order = msgspec.msgpack.decode(question.body, type=PaintOrder)
            (self._live if order.live else self._batch).append((number, order))
        else:
            self._refuse(number, f"There is no {question.verb!r}.", Code.UNIMPLEMENTED)

    def turn(self, listen: Callable[[], None]) -> list[Answer]:
        """Draw the next picture, and give what is answered.

        Args:
            listen: called after each step; it may call `take`.
        """
        if waiting := self._live or self._batch:
            self._current, order = waiting.popleft()

            def go_on() -> bool:
                listen()
                return self._current != 0

            try:
                data = self._painter.paint(order, go_on)
            except RuntimeError as error:
                message = f"The model cannot draw this: {str(error).strip().splitlines()[-1]}"
                self._refuse(self._current, message, Code.INTERNAL)
            else:
                if data is not None:
                    self._ready.append(Answer(self._current, raw(data)))
            self._current = 0
        answers, self._ready = self._ready, []
        return answers

    def _refuse(self, number: int, message: str, code: Code) -> None:
        self._ready.append(troubled(number, message, code))


def serve(line: ParentLine, worker: Worker) -> None:
    """Answer questions until the parent is gone."""

    def listen() -> None:
        try:
            line.send([])
            for question in line.questions(wait=False):
                worker.take(question)
        except ParentGone:
            os._exit(0)  # The library calls this, and lets no exception through.

    while True:
        for question in line.questions(wait=not worker.busy):
            worker.take(question)
        line.send(worker.turn(listen))


def _begin(setup: PainterSetup) -> tuple[None, Callable[[ParentLine], None]]:
    return None, partial(serve, worker=Worker(Painter(setup)))


def main() -> None:
    """Be the child of the engine."""
    lead_life(PainterSetup, _begin, library="OpenVINO GenAI", loaded=lambda setup: setup.folder)


if __name__ == "__main__":
    main()
