"""Models as resources."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import json

from nightrate.dialects.gemini_shapes import ModelDocument, ModelsDocument
from nightrate.domain.batch import Method
from nightrate.domain.model import Model

_METHODS = {
    Method.GENERATE: (
        "generateContent",
        "streamGenerateContent",
        "countTokens",
        "batchGenerateContent",
        "createCachedContent",
    ),
    Method.EMBED: ("embedContent", "batchEmbedContents", "asyncBatchEmbedContent"),
}


def render_model(model: Model) -> bytes:
    """Write one model."""
    return json.format(json.encode(_document(model)), indent=2)


def render_models(models: Iterable[Model], next_token: str | None = None) -> bytes:
    """Write one page of models."""
    page = ModelsDocument([_document(model) for model in models], next_token)
    return json.format(json.encode(page), indent=2)


def _document(model: Model) -> ModelDocument:
    return ModelDocument(
        name=f"models/{model.name}",
        base_model_id=model.name,
        version=model.version,
        display_name=model.display_name,
        description=model.description,
        input_token_limit=model.input_token_limit,
        output_token_limit=model.output_token_limit,
        supported_generation_methods=tuple(
            verb for method, verbs in _METHODS.items() if method in model.methods for verb in verbs
        ),
    )
