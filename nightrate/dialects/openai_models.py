"""Models as OpenAI's clients see them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, json

from nightrate.domain.model import Model


class _Model(Struct):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["google"] = "google"


class _Models(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[_Model]


def render_model(model: Model) -> bytes:
    """Write one model. Names come from settings and have no date, so ``created`` is 0."""
    return json.encode(_document(model))


def render_models(models: Iterable[Model]) -> bytes:
    """Write all models."""
    return json.encode(_Models(data=[_document(model) for model in models]))


def _document(model: Model) -> _Model:
    return _Model(f"models/{model.name}")
