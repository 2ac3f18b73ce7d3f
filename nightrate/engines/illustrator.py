"""The embedded engine for pictures: it composes them of the pictograms of a font.

No generative model: the words of a prompt name things, and those of them that the font has a
pictogram for are in the picture (`composing`), drawn as `illustrating` does. The same prompt and
seed give the same picture. Threads draw, because fonts and files let the interpreter go meanwhile;
what somebody waits for is drawn next.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from nightrate.domain.drawing import held_to, prompt_tokens_of, tokens_of
from nightrate.domain.generation import Candidate, Capability, Prompt, Reply, Usage
from nightrate.domain.picture import Picture
from nightrate.engines.base import (
    Capacity,
    Engine,
    Finding,
    Options,
    Progress,
    ignore_progress,
    told_from_threads,
)
from nightrate.engines.composing import compose, told
from nightrate.engines.font_files import characters_of
from nightrate.engines.options import options_of
from nightrate.engines.packages import Packaged, cache_directory, kept, lent
from nightrate.engines.pictograms import Index
from nightrate.errors import EngineDown

if TYPE_CHECKING:
    from nightrate.engines.composing import Scene
    from nightrate.engines.illustrating import Fonts

MODEL_VERSION = "nightrate-illustrator-1"

_PACKAGE = "manimgx-fonts"
_VERSION = "2026.9.26.post1"

PICTOGRAMS = Packaged(
    package=_PACKAGE,
    version=_VERSION,
    file="manimgx_fonts/NotoEmoji[wght].ttf",
    sha256="de6c18832938afc99caf132b39d6a30a19bac7f2e812e28db2535b4608d27551",
    what=f"the pictograms of the illustrator ({_PACKAGE} {_VERSION}, 3.5 MB)",
)
LETTERS = Packaged(
    package=_PACKAGE,
    version=_VERSION,
    file="manimgx_fonts/NotoSans[wght].ttf",
    sha256="fb53504de62e767a54695416123d68d67f71c9b69722175184ad56e7dd13547b",
    what=f"the letters of the illustrator ({_PACKAGE} {_VERSION}, 3.5 MB)",
)

_NO_PICTURE = 'This model draws: ask for a picture with responseModalities ["TEXT", "IMAGE"]. '
_AT_HAND = 4
"""Prompts that wait while as many as `requests` are drawn, so that nobody waits for the next."""

_CHECKED = "A letter A surrounded by animals starting with the letter A"

Whole = Annotated[int, Meta(ge=1)]


class IllustratorOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the illustrator."""

    cache_directory: str | None = None
    """Where the fonts are kept; the user's cache directory by default."""
    requests: Whole = 2
    """How many pictures are drawn at once; one of 4K takes about 150 MB meanwhile."""
    at_start: bool = False
    """Whether it is opened when the server starts, not when it is first asked for."""


class IllustratorEngine(Engine):
    """Draws what the words of a prompt name."""

    name = "illustrator"

    def __init__(self, options: IllustratorOptions) -> None:
        self._options = options
        self.on_demand = not options.at_start
        # As many more that somebody waits for as are drawn at once: they pass those that wait.
        self._capacity = Capacity(options.requests + _AT_HAND, live=options.requests)
        self._studio: _Studio | None = None

    @classmethod
    def from_options(cls, options: Options) -> IllustratorEngine:
        """Read the settings table."""
        return cls(options_of("illustrator", options, IllustratorOptions))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Pictures, and a text that says what they show."""
        return frozenset({Capability.TEXT, Capability.IMAGES})

    @property
    def capacity(self) -> Capacity:
        """A few more than are drawn at once, and live ones, which are drawn before these."""
        return self._capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Prepare the fonts (once: fetched) and look what is in them."""
        cache = cache_directory(self._options.cache_directory)
        paths = await asyncio.to_thread(prepare, cache, told_from_threads(progress))
        self._studio = await asyncio.to_thread(_Studio, *paths, self._options.requests)

    async def close(self) -> None:
        """Stop drawing."""
        studio, self._studio = self._studio, None
        if studio is not None:
            studio.close()

    async def ready(self) -> None:
        """Ready while open."""
        self._opened()

    async def generate(self, prompt: Prompt) -> Reply:
        """Draw, and say what is drawn; without the wish for a picture, only say it."""
        return await self._opened().reply(prompt)

    async def count_tokens(self, prompt: Prompt) -> int:
        """Four characters a token."""
        return prompt_tokens_of(prompt)

    async def self_check(self) -> list[Finding]:
        """Compose a scene whose things are known."""
        scene = self._opened().scene(_CHECKED, "", None)
        names = {thing.pictogram.name for thing in scene.things}
        ok = scene.title == "A" and "ant" in names
        found = f"{scene.title}, with {', '.join(sorted(names)) or 'nothing'}"
        remedy = "" if ok else "the fonts are not read rightly: remove the cached files"
        return [Finding(f"{self.name}: picture", ok, found, remedy)]

    def _opened(self) -> _Studio:
        if self._studio is None:
            raise EngineDown("The illustrator is closed.")
        return self._studio


_Drawing = tuple["Future[Reply]", Callable[[], Reply]]
"""What is told of a drawing, and what makes it."""


class _Studio:
    """The fonts, and the threads that draw with them."""

    def __init__(self, pictograms: Path, letters: Path, threads: int) -> None:
        """Look what is in the fonts, which takes a tenth of a second.

        Raises:
            EngineDown: they cannot be read, or pictures cannot be drawn on this machine.
        """
        try:
            from nightrate.engines.illustrating import Fonts, draw

            self._index = Index(characters_of(pictograms))
            self._writable = characters_of(letters)
        except (ImportError, OSError, ValueError) as error:
            raise EngineDown(f"The illustrator cannot draw: {error}.") from error
        self._draw: Callable[[Scene, tuple[int, int], Fonts, Callable[[], bool]], bytes] = draw
        self._fonts = Fonts(pictograms, letters)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="illustrator")
        self._live: deque[_Drawing] = deque()
        self._batch: deque[_Drawing] = deque()
        self._choosing = threading.Lock()
        self._stops: dict[asyncio.Future[Reply], threading.Event] = {}

    def close(self) -> None:
        """Stop drawing; what is being drawn is not finished."""
        for drawing, stop in self._stops.items():
            stop.set()
            drawing.cancel()
        self._pool.shutdown(wait=False)

    async def reply(self, prompt: Prompt) -> Reply:
        """Answer in a thread.

        A drawing that nobody waits for any more stops at its next pictogram, and until then keeps
        its thread: so no more are in memory than there are threads.
        """
        stop = threading.Event()
        told: Future[Reply] = Future()
        waiting = self._live if prompt.live else self._batch
        waiting.append((told, partial(self._answer, prompt, stop.is_set)))
        self._pool.submit(self._draw_next)
        drawing = asyncio.wrap_future(told)
        self._stops[drawing] = stop
        try:
            await asyncio.wait([drawing])  # so that a cancelled caller and a closed studio differ
        finally:
            del self._stops[drawing]
            stop.set()
            drawing.cancel()
        if drawing.cancelled():
            raise EngineDown("The illustrator was closed.", in_flight=True)
        try:
            return drawing.result()
        except OSError as error:
            raise EngineDown(f"The fonts cannot be read: {error.strerror}.") from error

    def _draw_next(self) -> None:
        """Draw what has waited longest of what somebody waits for, or else of the rest.

        It is submitted once for each drawing that waits, so there always is one.
        """
        with self._choosing:
            drawing, answer = (self._live or self._batch).popleft()
        if not drawing.set_running_or_notify_cancel():
            return
        try:
            reply = answer()
        except BaseException as error:  # noqa: BLE001 - whoever asked is told
            drawing.set_exception(error)
        else:
            drawing.set_result(reply)

    def scene(self, text: str, more: str, seed: int | None) -> Scene:
        """Decide what a picture shows."""
        return compose(text, more, seed, self._index, self._writable)

    def _answer(self, prompt: Prompt, stopped: Callable[[], bool]) -> Reply:
        text = prompt.messages[-1].words
        turns = [message.words for message in prompt.messages[:-1] if message.role == "user"]
        scene = self.scene(text, "\n".join([*turns, prompt.system or ""]), prompt.sampling.seed)
        wish, pictures = prompt.picture, tuple[Picture, ...]()
        said = told(scene)
        if wish is not None:
            size = (wish.width, wish.height)
            pictures = (Picture("image/png", self._draw(scene, size, self._fonts, stopped)),)
            said = said if wish.with_text else ""
        else:
            said = _NO_PICTURE + said
        said, finish = held_to(said, prompt.sampling)
        usage = Usage(prompt_tokens_of(prompt), tokens_of(said))
        return Reply((Candidate(said, finish, pictures),), usage, MODEL_VERSION)


def prepare(cache: Path, progress: Progress = ignore_progress) -> tuple[Path, Path]:
    """Give the font of pictograms and that of letters. Blocks; call it in a thread.

    Raises:
        EngineDown: they cannot be had; the message says what to do.
    """
    pictograms, letters = (
        kept(
            cache / f"{MODEL_VERSION}.{name}.ttf",
            *(packaged.sha256, partial(lent, packaged), _copy, progress),
        )
        for packaged, name in ((PICTOGRAMS, "pictograms"), (LETTERS, "letters"))
    )
    return pictograms, letters


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
