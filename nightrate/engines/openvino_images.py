"""A user's own text-to-image model: OpenVINO GenAI's pipelines in a supervised child process.

The model is a folder that Optimum Intel converted: Stable Diffusion and its kin, Flux and others
that the library knows. Pictures are drawn one at a time, because several at once gain nothing on a
processor; what else is asked for waits in the child, and what somebody waits for goes first there.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from nightrate import clock
from nightrate.domain.drawing import held_to, one_text, prompt_tokens_of, tokens_of
from nightrate.domain.generation import Candidate, Capability, Prompt, Reply, Usage
from nightrate.domain.picture import GRAIN, Picture, PictureWish
from nightrate.engines.base import Capacity, Options, Progress, ignore_progress
from nightrate.engines.child import Patience
from nightrate.engines.child_engine import ChildEngine, unicode_demanded
from nightrate.engines.openvino_images_child import PainterSetup, PaintOrder
from nightrate.engines.options import options_of
from nightrate.errors import Code, EngineDown, RequestFailed

CHILD = (sys.executable, "-m", "nightrate.engines.openvino_images_child")

_AT_HAND = 2
"""One is drawn, and the next one waits in the child."""

_LIVE_AT_HAND = 2
"""So many more that somebody waits for are let in: the child knows of one as soon as it comes."""

_SEEDS = 2**32
"""The library takes seeds of 32 bits without a sign."""

Whole = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class OpenVINOImagesOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the engine for text-to-image models."""

    model: str
    """The folder of a converted model."""
    steps: Whole | None = None
    """How many steps a picture takes; by default what the model was made for."""
    guidance: Annotated[float, Meta(ge=0)] | None = None
    """How closely a picture follows its prompt; by default what the model was made for."""
    pixels_max: Whole = 2_097_152
    """The largest picture, in pixels: memory and time grow faster than it does."""
    threads: Whole | None = None
    """Processor threads; by default as many as there are cores."""
    start_seconds: Seconds = 600.0
    """How long the model may take to load."""
    silence_seconds: Seconds = 600.0
    """A child that takes longer than this for one step is killed and started again."""


class OpenVINOImagesEngine(ChildEngine):
    """Draws with a model on this machine's processor."""

    name = "openvino_images"

    def __init__(self, options: OpenVINOImagesOptions, child: Sequence[str] = CHILD) -> None:
        self._options = options
        self._folder = Path(options.model).expanduser()
        self._capacity = Capacity(_AT_HAND, live=_LIVE_AT_HAND)
        super().__init__(
            child,
            Patience(start_seconds=options.start_seconds, silence_seconds=options.silence_seconds),
        )

    @classmethod
    def from_options(cls, options: Options) -> OpenVINOImagesEngine:
        """Read the settings table."""
        return cls(options_of("openvino_images", options, OpenVINOImagesOptions))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Pictures, and nothing else."""
        return frozenset({Capability.IMAGES})

    @property
    def capacity(self) -> Capacity:
        """One that is drawn, and one that waits; and live ones, which are drawn before that."""
        return self._capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Look at the folder and start the child."""
        await asyncio.to_thread(check, self._folder)
        progress(f"Loading {self._folder.name}", None)
        options = self._options
        await self._child.open(
            PainterSetup(
                folder=str(self._folder),
                threads=options.threads,
                steps=options.steps,
                guidance=options.guidance,
            )
        )

    async def generate(self, prompt: Prompt) -> Reply:
        """Have the child draw."""
        wish = prompt.picture
        if wish is None:
            return await super().generate(prompt)
        order = self._order(prompt, wish)
        with unicode_demanded():
            data = await self._child.ask("paint", order, bytes)
        version = self._folder.name
        caption = f"A picture by {version}." if wish.with_text else ""
        said, finish = held_to(caption, prompt.sampling)
        candidate = Candidate(said, finish, (Picture("image/png", data),))
        return Reply((candidate,), Usage(prompt_tokens_of(prompt), tokens_of(said)), version)

    async def count_tokens(self, prompt: Prompt) -> int:
        """Four characters a token."""
        return prompt_tokens_of(prompt)

    def _order(self, prompt: Prompt, wish: PictureWish) -> PaintOrder:
        text = one_text(prompt, seeded=True)
        if wish.width % GRAIN or wish.height % GRAIN:
            message = f"size: both sides must be multiples of {GRAIN} pixels."
            raise RequestFailed(message, code=Code.INVALID_ARGUMENT)
        most = self._options.pixels_max
        if wish.width * wish.height > most:
            message = (
                f"imageConfig: {wish.width} by {wish.height} pixels are more than the {most:,} "
                'that this model may draw; ask for "1K", or raise `pixels_max`.'
            )
            raise RequestFailed(message, code=Code.INVALID_ARGUMENT)
        seed = prompt.sampling.seed
        if seed is None:
            seed = int.from_bytes(clock.secret_bytes(4), "big")
        return PaintOrder(
            text=text,
            width=wish.width,
            height=wish.height,
            seed=seed % _SEEDS,
            live=prompt.live,
        )


def check(folder: Path) -> None:
    """Look whether a folder can be a converted model. Blocks; call it in a thread.

    Raises:
        EngineDown: it cannot; the message says what to do.
    """
    if not folder.is_dir():
        raise EngineDown(f"{folder} is no folder: set `model` to that of a converted model.")
    if not (folder / "model_index.json").is_file():
        raise EngineDown(f"{folder} has no model_index.json, so it is no text-to-image model.")
    if not (folder / "vae_decoder" / "openvino_model.xml").is_file():
        raise EngineDown(
            f"{folder} has no vae_decoder/openvino_model.xml: convert the model with Optimum Intel "
            "(`optimum-cli export openvino --model NAME FOLDER`)."
        )
