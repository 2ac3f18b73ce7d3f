"""The body that creates a batch."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw, json, structs

from nightrate.dialects import tolerant
from nightrate.dialects.gemini_files import display_name, file_id
from nightrate.dialects.gemini_prompts import bare_model
from nightrate.dialects.gemini_shapes import BatchBody, CreateBody, InputConfig
from nightrate.dialects.gemini_webhooks import webhook_config
from nightrate.dialects.refusals import located, wrong
from nightrate.dialects.spelling import Shape, quoted
from nightrate.domain.batch import Order
from nightrate.errors import Refused

_INT64 = range(-(2**63), 2**63)
_INTO_BATCH = 'Put it inside "batch".'
_INTO_INPUT = 'Put it inside "inputConfig".'
_FORM = 'Send {"batch": {"inputConfig": {...}, "displayName": ...}}.'

_BODY: Final = Shape(
    CreateBody[Any],
    {
        CreateBody: {
            **{member.encode_name: _INTO_BATCH for member in structs.fields(BatchBody)},
            **{member.encode_name: _FORM for member in structs.fields(InputConfig)},
            "src": _FORM,
            "config": _FORM,
        },
        BatchBody: {
            **{member.encode_name: _INTO_INPUT for member in structs.fields(InputConfig)},
            "src": 'Use "inputConfig".',
            "config": 'Put "displayName" and the rest directly into "batch".',
        },
        InputConfig: {"inlinedRequests": 'Use "requests": {"requests": [...]}.'},
    },
)
_decode = json.Decoder(CreateBody[Raw]).decode


def parse_order(body: bytes, model: str) -> Order:
    """Read the body of ``:batchGenerateContent``.

    The inline items are kept as the client wrote them and are not looked into: what is wrong with
    one of them becomes its own failure.

    Args:
        body: JSON in either spelling, read leniently.
        model: the model in the path, without ``models/``.

    Raises:
        BadRequest: it is malformed or a value is wrong.
        NotSupported: it asks for something this server does not do.
    """
    try:
        raw = _decode(body)
        items = _raw_items(raw)
    except (ValueError, RecursionError):
        tree = tolerant.loads(body)
        spelled = _BODY.read(tree)
        try:
            return _order(spelled, _encoded_items(spelled), model)
        except Refused as error:
            raise located(error, tree, "") from error
    return _order(raw, items, model)


def _raw_items(body: CreateBody[Raw]) -> tuple[bytes, ...] | None:
    """Take the items out as they are; each must fit on one line."""
    items = _items(body)
    return None if items is None else tuple(tolerant.on_one_line(bytes(item)) for item in items)


def _encoded_items(body: CreateBody[Any]) -> tuple[bytes, ...] | None:
    items = _items(body)
    return None if items is None else tuple(json.encode(item) for item in items)


def _items(body: CreateBody[Any]) -> list[Any] | None:
    if body.batch is None or body.batch.input_config is None:
        return None
    requests = body.batch.input_config.requests
    return None if requests is None else requests.requests


def _order(body: CreateBody[Any], items: tuple[bytes, ...] | None, model: str) -> Order:
    batch = body.batch
    if batch is None:
        raise wrong("batch", f"it is missing. {_FORM}")
    if batch.model and bare_model(batch.model) != model:
        why = f'"{quoted(batch.model)}" is not the model of this call, "{model}".'
        raise wrong("batch.model", why)
    if batch.priority is not None and batch.priority not in _INT64:
        raise wrong("batch.priority", "it does not fit into 64 bits.")
    name = batch.input_config.file_name if batch.input_config else None
    if name and items is not None:
        raise wrong("batch.inputConfig", 'it has both "fileName" and "requests"; send one.')
    if not name and items is None:
        raise wrong("batch.inputConfig", 'it has neither "fileName" nor "requests".')
    if items is not None and not items:
        raise wrong("batch.inputConfig.requests", "there are no requests.")
    return Order(
        display_name=display_name(batch.display_name, "batch.displayName"),
        priority=batch.priority or 0,
        file_name=file_id(name, "batch.inputConfig.fileName") if name else None,
        inline=items,
        webhook=webhook_config(batch.webhook_config, "batch.webhookConfig"),
    )
