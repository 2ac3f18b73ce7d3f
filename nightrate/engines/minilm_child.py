"""What runs in the embedding engine's child process: one loop that reads, computes and answers.

Questions that are open together are computed together. The only place that touches OpenVINO's core
runtime, which reads the ONNX file as it is; its usage reports are switched off before it is
imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from nightrate.domain.embedding import Embedding, Passage
from nightrate.engines.frames import CANCEL, Answer, ParentLine, Question, lead_life, raw, troubled
from nightrate.engines.vectors import shortest, unit
from nightrate.engines.wordpiece import WordPieces
from nightrate.errors import Code, RequestFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SENTENCE_OUTPUT = 3
"""Which output is the mean over a sentence. The others look like vectors, too, but mean nothing."""

TOKENS_MAX = 512
"""Places that the model knows."""

_BATCH_CELLS_MAX = 8192
"""Tokens of one computation, with those that only fill up: 16 long texts, or many short ones."""


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
        # In 32 bits, a vector does not depend on what is computed beside it.
        properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if setup.threads is not None:
            properties["INFERENCE_NUM_THREADS"] = setup.threads
        compiled = core.compile_model(
            openvino.Model([sentence], read.get_parameters()), "CPU", properties
        )
        self._request = compiled.create_infer_request()
        self.dimensions: int = compiled.outputs[0].get_partial_shape()[-1].get_length()

    def vectors(self, many: list[list[int]]) -> NDArray[np.float32]:
        """Compute the sentence vector of each list of tokens, one a row."""
        self.begin(many)
        return self.end()

    def begin(self, many: list[list[int]]) -> None:
        """Begin to compute, in threads of the library; `end` gives what comes of it."""
        import numpy as np

        longest = max(map(len, many))
        tokens = np.zeros((len(many), longest), np.int64)
        mask = np.zeros_like(tokens)
        for row, ids in enumerate(many):
            tokens[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        self._request.start_async({0: tokens, 1: mask})

    def end(self) -> NDArray[np.float32]:
        """Wait for what was begun, and give the sentence vectors, one a row."""
        self._request.wait()
        result: NDArray[np.float32] = self._request.get_output_tensor(0).data.copy()
        return result


class Job(Struct):
    """One question on its way."""

    number: int
    ids: list[int]
    dimensions: int


class Worker:
    """Gathers questions, and answers as many at once as are worth it.

    While the library computes one batch, this thread writes the answers of the one before, and cuts
    the texts of the next one into tokens.
    """

    def __init__(self, model: Model, pieces: WordPieces, setup: Setup) -> None:
        self._model = model
        self._pieces = pieces
        self._model_version = setup.model_version
        self._batch_requests = setup.requests
        self._waiting: list[Job] = []
        self._computed: list[Job] = []
        """What the model computes just now."""
        self._ready: list[Answer] = []
        self._passage = msgspec.msgpack.Decoder(Passage).decode

    @property
    def busy(self) -> bool:
        """Whether a turn would do anything."""
        return bool(self._waiting or self._computed or self._ready)

    def take(self, question: Question) -> None:
        """Begin with a question."""
        number, verb = question.number, question.verb
        if verb == CANCEL:
            self._waiting = [job for job in self._waiting if job.number != number]
        elif verb == "embed":
            try:
                self._waiting.append(self._job(number, self._passage(question.body)))
            except RequestFailed as failure:
                self._refuse(number, failure.message, failure.code)
        else:
            self._refuse(number, f"There is no {verb!r}.", Code.UNIMPLEMENTED)

    def turn(self) -> list[Answer]:
        """Wait for the batch that is computed, begin the next one, and give what is answered.

        Texts of like length are computed together.
        """
        answers, self._ready = self._ready, []
        done, self._computed = self._computed, []
        vectors = self._model.end() if done else None
        if self._waiting:
            self._waiting.sort(key=lambda job: len(job.ids))
            self._computed, self._waiting = self._cut()
            self._model.begin([job.ids for job in self._computed])
        if vectors is not None:
            answers += self._answers(done, vectors)
        return answers

    def _cut(self) -> tuple[list[Job], list[Job]]:
        count = 1
        while count < min(len(self._waiting), self._batch_requests):
            if (count + 1) * len(self._waiting[count].ids) > _BATCH_CELLS_MAX:
                break
            count += 1
        return self._waiting[:count], self._waiting[count:]

    def _answers(self, jobs: list[Job], computed: NDArray[np.float32]) -> list[Answer]:
        rows: dict[int, tuple[float, ...]] = {}
        for length in {job.dimensions for job in jobs}:
            mine = [place for place, job in enumerate(jobs) if job.dimensions == length]
            rows.update(zip(mine, shortest(unit(computed[mine], length)), strict=True))
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
    """Answer questions until the parent is gone."""
    while True:
        for question in line.questions(wait=not worker.busy):
            worker.take(question)
        line.send(worker.turn())


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
