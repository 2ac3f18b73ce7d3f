"""What runs in the embedding engine's child process: one loop that reads, computes and answers.

Questions that are open together are computed together. The only place that touches OpenVINO's core
runtime, which reads the ONNX file as it is; its usage reports are switched off before it is
imported.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from nightrate.domain.embedding import Embedding, Passage
from nightrate.engines.frames import CANCEL, Answer, ParentLine, Question, lead_life, raw, troubled
from nightrate.engines.vectors import unit, written
from nightrate.engines.wordpiece import WordPieces
from nightrate.errors import Code, RequestFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SENTENCE_OUTPUT = 3
"""Which output is the mean over a sentence. The others look like vectors, too, but mean nothing."""

TOKENS_MAX = 512
"""Places that the model knows."""

STREAMS = 2
"""Batches that are computed side by side, each by its share of the threads. All threads on one
batch would wait for the slowest of them after each layer; measured an eighth faster than that."""

BATCHES_MAX = STREAMS + 1
"""Batches in the hands of the library: one waits for the first stream that is free."""

_LOOK_SECONDS = 0.005
"""How long this thread waits for a batch before it looks whether somebody asks for more."""

_BATCH_CELLS_MAX = 4096
"""Tokens of one computation, with those that only fill up: 8 long texts, or many short ones."""


class Setup(Struct, frozen=True, kw_only=True):
    """What the child is told."""

    weights: str
    vocabulary: str
    model_version: str
    threads: int | None
    requests: int


class Model:
    """The compiled model."""

    def __init__(self, setup: Setup) -> None:
        """Load.

        Raises:
            ImportError: OpenVINO is not installed, or not made for this machine.
            RuntimeError: the weights cannot be loaded.
        """
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        import openvino

        core = openvino.Core()
        read = core.read_model(setup.weights)
        sentence = read.outputs[SENTENCE_OUTPUT].get_node().input_value(0)
        network = openvino.Model([sentence], read.get_parameters())
        # In 32 bits, a vector depends on what is computed beside it in its last bit at most.
        properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if setup.threads is not None:
            properties["INFERENCE_NUM_THREADS"] = setup.threads
        whole = core.compile_model(network, "CPU", {**properties, "NUM_STREAMS": 1})
        shared = core.compile_model(network, "CPU", {**properties, "NUM_STREAMS": STREAMS})
        self._whole = whole.create_infer_request()
        self._idle = [shared.create_infer_request() for _ in range(BATCHES_MAX)]
        self.dimensions: int = whole.outputs[0].get_partial_shape()[-1].get_length()

    def begin(self, many: list[list[int]], *, whole: bool = False) -> Any:
        """Begin to compute the vector of each list of tokens, in threads of the library.

        No more than `BATCHES_MAX` may have begun and not ended, and beside them one with all
        threads, which waits for none of them.

        Args:
            many: the tokens of each text.
            whole: whether all threads compute it.

        Returns:
            what `ended` and `end` are asked with.
        """
        import numpy as np

        longest = max(map(len, many))
        tokens = np.zeros((len(many), longest), np.int64)
        mask = np.zeros_like(tokens)
        for row, ids in enumerate(many):
            tokens[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        request = self._whole if whole else self._idle.pop()
        request.start_async({0: tokens, 1: mask})
        return request

    def ended(self, request: Any, seconds: float) -> bool:
        """Wait for so long at most, and tell whether what was begun is computed."""
        return bool(request.wait_for(round(seconds * 1_000)))

    def end(self, request: Any) -> NDArray[np.float32]:
        """Wait for what was begun, and give the sentence vectors, one a row."""
        request.wait()
        result: NDArray[np.float32] = request.get_output_tensor(0).data.copy()
        if request is not self._whole:
            self._idle.append(request)
        return result


class Job(Struct):
    """One question on its way."""

    number: int
    ids: list[int]
    dimensions: int


class Worker:
    """Gathers questions, and answers as many at once as are worth it.

    While the library computes some batches, this thread writes the answers of the one before, and
    cuts the texts of the next one into tokens. What somebody waits for is computed at once, beside
    them, by all threads.
    """

    def __init__(self, model: Model, pieces: WordPieces, setup: Setup) -> None:
        self._model = model
        self._pieces = pieces
        self._model_version = setup.model_version
        self._batch_requests = setup.requests
        self._live: list[Job] = []
        self._waiting: list[Job] = []
        self._computed: deque[tuple[list[Job], Any]] = deque()
        """Batches that the model computes just now, each with what `Model.end` is asked with."""
        self._ready: list[Answer] = []
        self._passage = msgspec.msgpack.Decoder(Passage).decode

    @property
    def busy(self) -> bool:
        """Whether a turn would do anything."""
        return bool(self._live or self._waiting or self._computed or self._ready)

    def take(self, question: Question) -> None:
        """Begin with a question."""
        number, verb = question.number, question.verb
        if verb == CANCEL:
            self._live = [job for job in self._live if job.number != number]
            self._waiting = [job for job in self._waiting if job.number != number]
        elif verb == "embed":
            try:
                passage = self._passage(question.body)
                queue = self._live if passage.live else self._waiting
                queue.append(self._job(number, passage))
            except RequestFailed as failure:
                self._refuse(number, failure.message, failure.code)
        else:
            self._refuse(number, f"There is no {verb!r}.", Code.UNIMPLEMENTED)

    def turn(self) -> list[Answer]:
        """Begin what can be, wait a moment for what was begun first, and give what is answered."""
        answers, self._ready = self._ready, []
        self._begin()
        if self._live:
            jobs, self._live = self._cut(self._live)
            request = self._model.begin([job.ids for job in jobs], whole=True)
            answers += self._answers(jobs, self._model.end(request))
        elif self._computed and self._model.ended(self._computed[0][1], _LOOK_SECONDS):
            jobs, request = self._computed.popleft()
            vectors = self._model.end(request)
            self._begin()  # The model is not to wait until these are written.
            answers += self._answers(jobs, vectors)
        return answers

    def _begin(self) -> None:
        """Have every stream compute; beyond them, only what is a whole batch is worth beginning."""
        while self._waiting and len(self._computed) < BATCHES_MAX:
            if len(self._computed) >= STREAMS and len(self._waiting) < self._batch_requests:
                break
            jobs, self._waiting = self._cut(self._waiting)
            self._computed.append((jobs, self._model.begin([job.ids for job in jobs])))

    def _cut(self, waiting: list[Job]) -> tuple[list[Job], list[Job]]:
        """Take the job that waits longest, with others of about its length; give also the rest."""
        first = min(job.number for job in waiting)
        waiting.sort(key=lambda job: len(job.ids))
        place = next(at for at, job in enumerate(waiting) if job.number == first)
        count = min(self._batch_requests, max(1, _BATCH_CELLS_MAX // len(waiting[place].ids)))
        start, end = max(0, place + 1 - count), place + 1
        while end < len(waiting) and end - start < self._batch_requests:
            if (end - start + 1) * len(waiting[end].ids) > _BATCH_CELLS_MAX:
                break
            end += 1
        return waiting[start:end], waiting[:start] + waiting[end:]

    def _answers(self, jobs: list[Job], computed: NDArray[np.float32]) -> list[Answer]:
        rows: dict[int, bytes] = {}
        for length in {job.dimensions for job in jobs}:
            mine = [place for place, job in enumerate(jobs) if job.dimensions == length]
            rows.update(zip(mine, written(unit(computed[mine], length)), strict=True))
        return [
            Answer(job.number, raw(Embedding(rows[place], len(job.ids), self._model_version)))
            for place, job in enumerate(jobs)
        ]

    def _job(self, number: int, passage: Passage) -> Job:
        dimensions = passage.dimensions or self._model.dimensions
        if dimensions > self._model.dimensions:
            raise RequestFailed(
                f"The model's vectors have {self._model.dimensions} numbers; ask for no more than "
                f"that, not for {dimensions}.",
                code=Code.INVALID_ARGUMENT,
            )
        text = f"{passage.title}\n{passage.text}" if passage.title else passage.text
        ids = self._pieces.encode(text)
        if len(ids) > TOKENS_MAX:
            if not passage.truncate:
                raise RequestFailed(
                    f"The text has {len(ids):,} tokens; the model reads {TOKENS_MAX}. Shorten it, "
                    "or allow it to be cut.",
                    code=Code.INVALID_ARGUMENT,
                )
            ids = [*ids[: TOKENS_MAX - 1], self._pieces.end]
        return Job(number, ids, dimensions)

    def _refuse(self, number: int, message: str, code: Code) -> None:
        self._ready.append(troubled(number, message, code))


def serve(line: ParentLine, worker: Worker) -> None:
    """Answer questions until the parent is gone.

    An empty list would be a sign of life, and to look whether the model is ready is none: it may
    hang.
    """
    while True:
        for question in line.questions(wait=not worker.busy):
            worker.take(question)
        if answers := worker.turn():
            line.send(answers)


def _begin(setup: Setup) -> tuple[None, Callable[[ParentLine], None]]:
    pieces = WordPieces.from_file(Path(setup.vocabulary))
    return None, partial(serve, worker=Worker(Model(setup), pieces, setup))


def main() -> None:
    """Be the child of the engine."""
    lead_life(
        *(Setup, _begin),
        library="OpenVINO",
        loaded=lambda setup: setup.weights,
        troubles=(OSError, RuntimeError),
    )


if __name__ == "__main__":
    main()
