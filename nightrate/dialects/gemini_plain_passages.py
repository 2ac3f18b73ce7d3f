"""Requests for embeddings in their plainest form, which almost all have; as `gemini_plain`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, json

from nightrate import limits
from nightrate.domain.batch import BatchForm
from nightrate.domain.embedding import EmbeddingTask, Passage

_TASKS: Final = {task.name: task for task in EmbeddingTask}


class PlainText(Struct, forbid_unknown_fields=True, gc=False):
    """A text that is not blank."""

    text: Annotated[str, Meta(pattern=r"\S")]


class PlainContent(Struct, forbid_unknown_fields=True, gc=False):
    """The pieces of a text."""

    parts: Annotated[list[PlainText], Meta(min_length=1)]
    role: Literal["user", "model"] | None = None


class PlainPassageRequest(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """A text, and what its vector is to be like; a title is read in full, as not all have one."""

    content: PlainContent
    task_type: (
        Literal[
            "RETRIEVAL_QUERY",
            "RETRIEVAL_DOCUMENT",
            "SEMANTIC_SIMILARITY",
            "CLASSIFICATION",
            "CLUSTERING",
            "QUESTION_ANSWERING",
            "FACT_VERIFICATION",
            "CODE_RETRIEVAL_QUERY",
        ]
        | None
    ) = None
    output_dimensionality: Annotated[int, Meta(ge=1, le=limits.EMBEDDING_DIMENSIONS_MAX)] | None = (
        None
    )


class PlainPassageItem(Struct, forbid_unknown_fields=True, gc=False):
    """An inline item that is sound to the last byte: nothing in it stays raw."""

    request: PlainPassageRequest
    metadata: dict[str, str] | None = None


class PlainPassageLine(PlainPassageItem, gc=False):
    """A line of a file of which the same holds."""

    key: str | None = None


SOUND_PASSAGES: Final[dict[BatchForm, Callable[[bytes], PlainPassageItem]]] = {
    BatchForm.FILE: json.Decoder(PlainPassageLine).decode,
    BatchForm.INLINE: json.Decoder(PlainPassageItem).decode,
}
"""Readers that take only what is a request without a fault, and refuse much else that is."""


def plain_passage(request: PlainPassageRequest, _model: str) -> Passage:
    """Make the passage of a plain request; nothing in it can be refused."""
    parts, task = request.content.parts, request.task_type
    return Passage(
        text=parts[0].text if len(parts) == 1 else "\n".join([part.text for part in parts]),
        task=None if task is None else _TASKS[task],
        dimensions=request.output_dimensionality,
    )
