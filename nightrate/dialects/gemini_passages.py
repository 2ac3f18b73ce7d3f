"""From Gemini's request for an embedding to a passage: what is honoured, checked and refused."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from msgspec import structs

from nightrate import limits
from nightrate.dialects import gemini_options as options
from nightrate.dialects.bodies import Body
from nightrate.dialects.gemini_embedding_shapes import (
    EmbedContentConfig,
    EmbedContentRequest,
    EmbedContentsBody,
)
from nightrate.dialects.gemini_media import look_of
from nightrate.dialects.gemini_prompts import bare_model
from nightrate.dialects.gemini_shapes import Content, GenerateContentRequest, Part
from nightrate.dialects.refusals import within, wrong
from nightrate.dialects.spelling import Remedies, quoted
from nightrate.domain.embedding import EmbeddingTask, Passage
from nightrate.errors import BadRequest, Refused

_DATA: Final = (
    "inline_data",
    "file_data",
    "function_call",
    "function_response",
    "executable_code",
    "code_execution_result",
    "tool_call",
    "tool_response",
)
"""Members of a part that are not text."""

_data_of = attrgetter(*_DATA)
_NO_DATA: Final = (None,) * len(_DATA)
_WIRE_NAMES: Final = {member.name: member.encode_name for member in structs.fields(Part)}

_OF_GENERATION: Final = {
    member.encode_name: "It belongs to generateContent; leave it out."
    for member in structs.fields(GenerateContentRequest)
    if member.encode_name not in ("contents", "model")
}
_INTO_REQUEST = 'Move it up, beside "content".'
REMEDIES: Final[Remedies] = {
    EmbedContentRequest: {
        **_OF_GENERATION,
        **{
            member.encode_name: 'Move it inside "embedContentConfig".'
            for member in structs.fields(EmbedContentConfig)
        },
        "config": 'Put the settings beside "content", as "taskType" and the like.',
        "dimensions": 'Use "outputDimensionality".',
        "input": 'Use "content".',
        "text": 'Use "content": {"parts": [{"text": ...}]}.',
        "parts": 'Put it inside "content".',
    },
    EmbedContentConfig: {"content": _INTO_REQUEST, "contents": _INTO_REQUEST},
    EmbedContentsBody: dict.fromkeys(
        (member.encode_name for member in structs.fields(EmbedContentRequest)),
        'Send {"requests": [{"model": ..., "content": {...}}, ...]}.',
    ),
}
_REQUEST: Final = Body(EmbedContentRequest, REMEDIES)
_REQUESTS: Final = Body(EmbedContentsBody, REMEDIES)

_TASKS: Final = {task.name: task for task in EmbeddingTask}
_UNSPECIFIED = "TASK_TYPE_UNSPECIFIED"


def parse_passage(body: bytes, model: str) -> Passage:
    """Read the body of a live ``:embedContent``.

    Args:
        body: JSON in either spelling, read leniently.
        model: the model in the path, without ``models/``.

    Raises:
        BadRequest: it is malformed or a value is wrong.
        NotSupported: it asks for something this server does not do.
    """
    return _REQUEST.make(body, lambda request: passage_of(request, model))


def parse_passages(body: bytes, model: str) -> list[Passage]:
    """Read the body of a live ``:batchEmbedContents``; one bad request refuses the call.

    Raises:
        BadRequest: it is malformed, a value is wrong, or there are too many requests.
        NotSupported: it asks for something this server does not do.
    """
    return _REQUESTS.make(body, lambda requests: _passages(requests, model))


def _passages(body: EmbedContentsBody, model: str) -> list[Passage]:
    requests = body.requests
    if not requests:
        raise wrong("requests", "it is missing or empty.")
    if len(requests) > limits.EMBEDDINGS_AT_ONCE_MAX:
        most = limits.EMBEDDINGS_AT_ONCE_MAX
        why = f"it has {len(requests)} requests; a call takes {most}. Send a batch for more."
        raise wrong("requests", why)
    passages = []
    for index, request in enumerate(requests):
        try:
            passages.append(passage_of(request, model))
        except Refused as error:
            raise within(error, f"requests[{index}]") from error
    return passages


def passage_from_tree(tree: object, model: str, at: str = "") -> Passage:
    """Read a decoded request in either spelling; ``at`` is its path, for messages."""
    return _REQUEST.make_of_tree(tree, lambda request: passage_of(request, model), at)


def passage_of(request: EmbedContentRequest, model: str) -> Passage:
    """Make the passage of a typed request, or refuse with the camelCase path of the field."""
    if request.model and bare_model(request.model) != model:
        raise wrong("model", f'"{quoted(request.model)}" is not the model of this call, "{model}".')
    config = request.embed_content_config
    task, title, dimensions = _settings(request, "")
    truncate, dimensions_field = True, "outputDimensionality"
    if config is not None:
        truncate = config.auto_truncate is not False
        _refuse_media(config)
        nested = _settings(config, "embedContentConfig.")
        task = _one(task, nested[0], "taskType")
        title = _one(title, nested[1], "title")
        if dimensions is None and nested[2] is not None:
            dimensions_field = "embedContentConfig.outputDimensionality"
        dimensions = _one(dimensions, nested[2], "outputDimensionality")
    if title and task not in (None, EmbeddingTask.RETRIEVAL_DOCUMENT):
        raise wrong("title", 'only a "taskType" of "RETRIEVAL_DOCUMENT" has one.')
    return Passage(
        text=_text_of(request),
        task=task,
        title=title or None,
        dimensions=dimensions,
        dimensions_field=dimensions_field,
        truncate=truncate,
    )


def _settings(
    source: EmbedContentRequest | EmbedContentConfig, at: str
) -> tuple[EmbeddingTask | None, str | None, int | None]:
    """Check what may stand in the request itself or in its configuration."""
    task = None
    name = source.task_type or _UNSPECIFIED
    if name.upper() != _UNSPECIFIED:
        task = _TASKS.get(name.upper())
        if task is None:
            known = ", ".join(_TASKS)
            raise wrong(f"{at}taskType", f'"{quoted(name)}" is not one of {known}.')
    dimensions = source.output_dimensionality or None
    if dimensions is not None and not 1 <= dimensions <= limits.EMBEDDING_DIMENSIONS_MAX:
        most = limits.EMBEDDING_DIMENSIONS_MAX
        raise wrong(f"{at}outputDimensionality", f"it is not between 1 and {most}.")
    return task, source.title or None, dimensions


def _one(outer: Any, inner: Any, name: str) -> Any:
    """Take a setting from where it stands; in both places it must be the same."""
    if outer is not None and inner is not None and outer != inner:
        why = f'it differs from "{name}" beside "content"; send one of them.'
        raise wrong(f"embedContentConfig.{name}", why)
    return inner if outer is None else outer


def _refuse_media(config: EmbedContentConfig) -> None:
    for name, value in (
        ("documentOcr", config.document_ocr),
        ("audioTrackExtraction", config.audio_track_extraction),
    ):
        if value:
            path = f"embedContentConfig.{name}"
            raise options.refusal_of(path, path)


def _text_of(request: EmbedContentRequest) -> str:
    """Find the one content of a request and give its text; it has some."""
    name, found = "content", request.content
    if request.contents is not None:
        if found is not None:
            raise wrong("contents", 'it stands beside "content"; send one of them.')
        name, found = "contents", request.contents
    if isinstance(found, list):
        if len(found) > 1:
            why = f"it has {len(found)} contents; send a request for each, as each has its vector."
            raise wrong(name, why)
        name, found = f"{name}[0]", found[0] if found else None
    if found is None:
        raise wrong(name, "it is missing or empty.")
    try:
        text = found if isinstance(found, str) else _text_of_content(found)
    except Refused as error:
        raise within(error, name) from error
    if not text.strip():
        raise wrong(name, "it has no text.")
    return text


def _text_of_content(content: Content) -> str:
    """Join the texts of the parts, each on a line of its own: they are separate texts."""
    parts = content.parts
    if not isinstance(parts, list):
        if parts is None:
            raise wrong("parts", "it is missing or empty.")
        try:
            return _text_of_part(parts)
        except Refused as error:
            raise within(error, "parts") from error
    texts = []
    for index, part in enumerate(parts):
        try:
            texts.append(_text_of_part(part))
        except Refused as error:
            raise within(error, f"parts[{index}]") from error
    return "\n".join(text for text in texts if text)


def _text_of_part(part: Part | str) -> str:
    if isinstance(part, str):
        return part
    if _data_of(part) != _NO_DATA:
        name = _WIRE_NAMES[next(one for one in _DATA if getattr(part, one) is not None)]
        raise options.refusal_of(f"content.parts[].{name}", name)
    look_of(part)
    if part.thought:
        return ""
    if part.text is None:
        raise BadRequest("it has no data.")
    return part.text
