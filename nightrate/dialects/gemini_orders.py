"""The bodies that create and change a batch."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw, json, structs

from nightrate.dialects import tolerant
from nightrate.dialects.gemini_files import display_name, file_id
from nightrate.dialects.gemini_prompts import bare_model
from nightrate.dialects.gemini_shapes import BatchBody, CreateBody, InputConfig
from nightrate.dialects.gemini_webhooks import webhook_config
from nightrate.dialects.refusals import located, wrong
from nightrate.dialects.spelling import Shape, camel, quoted
from nightrate.domain.batch import Change, Method, Order
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
_CHANGE: Final = Shape(BatchBody[Any])
_CHANGEABLE: Final = "displayName", "priority"
_decode = json.Decoder(CreateBody[Raw]).decode


def parse_order(body: bytes, model: str, method: Method = Method.GENERATE) -> Order:
    """Read the body of ``:batchGenerateContent`` or ``:asyncBatchEmbedContent``.

    The inline items are kept as the client wrote them and are not looked into: what is wrong with
    one of them becomes its own failure.

    Args:
        body: JSON in either spelling, read leniently.
        model: the model in the path, without ``models/``.
        method: what the requests ask for.

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
            return _order(spelled, _encoded_items(spelled), model, method)
        except Refused as error:
            raise located(error, tree, "") from error
    return _order(raw, items, model, method)


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


def _order(
    body: CreateBody[Any], items: tuple[bytes, ...] | None, model: str, method: Method
) -> Order:
    batch = body.batch
    if batch is None:
        raise wrong("batch", f"it is missing. {_FORM}")
    if batch.model and bare_model(batch.model) != model:
        why = f'"{quoted(batch.model)}" is not the model of this call, "{model}".'
        raise wrong("batch.model", why)
    _check_priority(batch.priority, "batch.priority")
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
        method=method,
    )


def parse_change(body: bytes, mask: str | None) -> Change:
    """Read the body of ``:updateGenerateContentBatch`` or ``:updateEmbedContentBatch``.

    Args:
        body: a batch, in either spelling.
        mask: the names of the members to change, with commas between them; None for those that the
            body has.

    Raises:
        BadRequest: a value is wrong, or something is named that cannot be changed.
    """
    tree = tolerant.loads(body) if body.strip() else {}
    try:
        return _change(_CHANGE.read(tree), _named(mask))
    except Refused as error:
        raise located(error, tree, "") from error


def _named(mask: str | None) -> frozenset[str] | None:
    names = frozenset(camel(name.strip()) for name in (mask or "").split(",") if name.strip())
    for name in sorted(names - {*_CHANGEABLE, "*"}):
        raise wrong("updateMask", f'"{quoted(name)}" cannot be changed.')
    return None if not names or "*" in names else names


def _change(batch: BatchBody[Any], names: frozenset[str] | None) -> Change:
    if names is None:
        for field, value in (
            ("inputConfig", batch.input_config),
            ("webhookConfig", batch.webhook_config),
        ):
            if value:
                raise wrong(field, "it cannot be changed.")
        change = Change(display_name=batch.display_name, priority=batch.priority)
    else:
        change = Change(
            display_name=batch.display_name or "" if "displayName" in names else None,
            priority=batch.priority or 0 if "priority" in names else None,
        )
    if change == Change():
        raise wrong("updateMask", f"nothing is to be changed; name {' or '.join(_CHANGEABLE)}.")
    if change.display_name == "":
        raise wrong("displayName", "it is empty.")
    display_name(change.display_name, "displayName")
    _check_priority(change.priority, "priority")
    return change


def _check_priority(priority: int | None, path: str) -> None:
    if priority is not None and priority not in _INT64:
        raise wrong(path, "it does not fit into 64 bits.")
