"""What a dry run found."""

from __future__ import annotations

from typing import Final

from msgspec import Raw, Struct, json

from nightrate import limits
from nightrate.dialects.receipts import receipt_document
from nightrate.domain.batch import BatchForm
from nightrate.domain.inspection import Inspection, refusal
from nightrate.domain.outlook import Outlook
from nightrate.domain.quota import estimate_tokens
from nightrate.domain.receipt import reckoned
from nightrate.domain.shard import Tally
from nightrate.domain.tariff import Quote

_NOTES: Final = (
    f"promptTokenEstimate is one for {limits.BYTES_PER_TOKEN} bytes of text; nothing is counted.",
)

_NO_END_NOTE: Final = (
    "When the batch would end is not told: its engine has not shown yet how fast it is, or does not"
    " run."
)

_PRICE_NOTE: Final = (
    "promptPriceEstimate is for the tokens estimated above, none of them cached;"
    " answers are not in it."
)


class _Fault(Struct, omit_defaults=True):
    line: int | None = None
    request: int | None = None
    field: str | None = None
    code: int = 0
    status: str = ""
    message: str = ""


class _RepeatedKey(Struct, omit_defaults=True):
    key: Raw
    line: int | None = None
    request: int | None = None


class _Price(Struct, rename="camel"):
    """What the prompts would cost, live and in a batch."""

    currency: str
    list_price: str
    batch_price: str


class _Range(Struct):
    low: int
    high: int


class _Report(Struct, rename="camel", omit_defaults=True, kw_only=True):
    model: str
    dry_run: bool
    accepted: bool
    refusal: str | None = None
    complete: bool
    read_bytes: str
    request_count: str
    valid_request_count: str
    invalid_request_count: str
    faults: list[_Fault] = []
    repeated_key_count: str
    repeated_keys: list[_RepeatedKey] = []
    prompt_token_estimate: str
    prompt_price_estimate: _Price | None = None
    queue_position: int | None = None
    eta_seconds: _Range | None = None
    notes: list[str]


def render_inspection(
    found: Inspection,
    model: str,
    form: BatchForm,
    *,
    strict: bool,
    quote: Quote | None = None,
    outlook: Outlook | None = None,
) -> bytes:
    """Write what a dry run found.

    Args:
        found: by looking at the input.
        model: the model, without ``models/``.
        form: whether the numbers are those of lines or of requests.
        strict: whether one malformed request is enough to refuse the batch.
        quote: what the batch would be charged by.
        outlook: where it would stand.
    """
    number = "line" if form is BatchForm.FILE else "request"
    notes = list(_NOTES)
    if not found.complete:
        notes.insert(0, "Only the beginning of the input was read, as far as the time allowed.")
    why = refusal(found, strict=strict)
    tokens = estimate_tokens(found.text_bytes)
    price = _price(tokens, quote)
    if price is not None:
        notes.append(_PRICE_NOTE)
    eta_seconds = None if outlook is None else outlook.eta_seconds
    if eta_seconds is None:
        notes.append(_NO_END_NOTE)
    report = _Report(
        model=f"models/{model}",
        dry_run=True,
        accepted=why is None,
        refusal=why,
        complete=found.complete,
        read_bytes=str(found.read_bytes),
        request_count=str(found.request_count),
        valid_request_count=str(found.request_count - found.invalid_count),
        invalid_request_count=str(found.invalid_count),
        faults=[
            _Fault(
                **{number: one.number},
                field=one.field,
                code=int(one.code),
                status=one.code.name,
                message=one.message,
            )
            for one in found.faults
        ],
        repeated_key_count=str(found.repeated_count),
        repeated_keys=[
            _RepeatedKey(Raw(one.key.encode()), **{number: one.number})
            for one in found.repeated_keys
        ],
        prompt_token_estimate=str(tokens),
        prompt_price_estimate=price,
        queue_position=None if outlook is None else outlook.queue_position,
        eta_seconds=None if eta_seconds is None else _Range(*eta_seconds),
        notes=notes,
    )
    return json.format(json.encode(report), indent=2)


def _price(tokens: int, quote: Quote | None) -> _Price | None:
    """Reckon what so many tokens of prompts would cost; None without prices."""
    told = receipt_document(reckoned(Tally(prompt_tokens=tokens), quote))
    if told.currency is None or told.list_price is None or told.batch_price is None:
        return None
    return _Price(told.currency, told.list_price, told.batch_price)
