"""What the protocols of other servers have in common, for whoever asks one of these.

Answers are read leniently where servers differ and strictly where one could be misunderstood.
Nothing of a body reaches an error text but words of ours; see `Blamed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from msgspec import DecodeError, Raw, Struct, json, structs

from nightrate import limits
from nightrate.dialects.calls import with_calls
from nightrate.domain.calling import Call, Calling, CallMode
from nightrate.domain.embedding import Passage
from nightrate.domain.fitting import fits
from nightrate.domain.generation import Candidate, FinishReason, Prompt, Reply, Usage
from nightrate.domain.guidance import Withheld
from nightrate.domain.medium import estimated_tokens
from nightrate.domain.ordering import ordered
from nightrate.domain.schema import ChoiceForm, JSONForm
from nightrate.errors import Code, RequestFailed

_TOKENS_MAX: Final = 2**32 - 1
"""What a record of an answer has room for. A server that tells of more, or of less than none, is
not believed."""

_ENCODER: Final = json.Encoder()
_ITEMS: Final = json.Decoder(list[Raw])

Shape = TypeVar("Shape")


class Blamed(Struct, frozen=True, kw_only=True):
    """What the body of a refusal says, in words of ours: its own may repeat the prompt."""

    words: str = ""
    """What is wrong with the request, such as ``: member temperature``."""
    code: Code | None = None
    """Which kind of refusal it is, where the body says that."""
    after_seconds: float | None = None
    """How long to wait before another try, where the body says that."""
    refuses_all: str = ""
    """Why no other request would escape, and what to do; empty where others may."""


class Speech(Struct, frozen=True, kw_only=True):
    """How a server speaks, apart from what it is asked and answers."""

    ending: bytes | None
    """The event that ends a stream; None where the stream just ends."""
    read_models: Callable[[bytes], list[str] | None]
    """Reads the names in its list of models; None when it is no such list."""
    blamed: Callable[[bytes], Blamed]
    """Reads the body of a refusal, whatever it is."""


def encoded(ask: Struct) -> bytes:
    """Write a body.

    Raises:
        RequestFailed: it holds what is no Unicode.
    """
    try:
        return _ENCODER.encode(ask)
    except UnicodeEncodeError as error:
        message = f"The text is not valid Unicode: {error.reason}."
        raise RequestFailed(message, code=Code.INVALID_ARGUMENT) from error


def is_told(said: Raw) -> bool:
    """Tell whether a member is there, and has a value."""
    return bool(said) and bytes(said) != b"null"


def understood(decoder: json.Decoder[Shape], said: Raw) -> Shape | None:
    """Read what nobody has asked for; None where it is not there, or cannot be read."""
    if not said:
        return None
    try:
        return decoder.decode(said)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None


def all_understood(decoder: json.Decoder[Shape], said: Raw) -> list[Shape]:
    """Read those items of a list that can be read."""
    items = (understood(decoder, item) for item in understood(_ITEMS, said) or ())
    return [item for item in items if item is not None]


def told(tokens: int | None) -> int | None:
    """Give a number of tokens that a server tells; None for one that cannot be."""
    return tokens if tokens is not None and 0 <= tokens <= _TOKENS_MAX else None


def reckoned(text: str) -> int:
    """Reckon the tokens of a text, where a server does not tell them."""
    return _reckoned(len(text))


def _reckoned(characters: int) -> int:
    return -(-characters // limits.BYTES_PER_TOKEN) or 1


def reckoned_usage(prompt: Prompt, text: str) -> Usage:
    """Reckon from lengths what an answer used, where a server does not tell it."""
    asked = sum(len(turn.words) for turn in prompt.messages) + len(prompt.system or "")
    tokens = _reckoned(asked) + estimated_tokens(prompt.media)
    media_tokens = None if prompt.media else ()
    return Usage(tokens, _reckoned(len(text)) if text else 0, media_tokens=media_tokens)


def called(candidate: Candidate, written: Sequence[Call], calling: Calling) -> Candidate:
    """Add what is called; calls that are cut off, or are none of those that may be, never go on.

    Raises:
        RequestFailed: a call was demanded, and there is none.
    """
    if candidate.finish_reason is FinishReason.LENGTH:
        return candidate
    if not written and calling.mode is CallMode.ANY:
        raise without("the call")
    return with_calls(candidate, written, calling)


def check_form(text: str, form: JSONForm, stops: tuple[str, ...]) -> None:
    """Check that an answer which has come to its end is a value of the form.

    One that a stop sequence has cut is no value any more, and is what was asked for.

    Raises:
        RequestFailed: it is none. The server may know no such setting and have passed it over, or
            hold to a part of the schema only.
    """
    try:
        kept = fits(json.decode(text), form.schema)
    except (ValueError, RecursionError) as error:
        if stops:
            return
        raise without("the form") from error
    if not kept:
        raise without("the form")


def in_order(reply: Reply, prompt: Prompt) -> Reply:
    """Put the members of objects in the order of the schema that a whole answer was held against.

    A server that passes the order over gives the same value otherwise. Where it said how likely the
    tokens were, these are of the text as it is. For streams there is `streamed_order`.
    """
    if not isinstance(prompt.form, JSONForm) or prompt.logprobs is not None:
        return reply
    (candidate,) = reply.candidates
    if candidate.finish_reason is not FinishReason.STOP:
        return reply
    try:
        text = ordered(candidate.text, prompt.form.schema)
    except DecodeError:  # A stop sequence has cut it.
        return reply
    return structs.replace(reply, candidates=(structs.replace(candidate, text=text),))


def check_length(values: Sequence[float], passage: Passage) -> None:
    """Check that a vector is as long as was asked.

    Raises:
        RequestFailed: it is not; the server's model has vectors of one length.
    """
    if passage.dimensions not in (None, len(values)):
        message = (
            f"{passage.dimensions_field}: the vectors of this model have {len(values)} numbers; "
            f"they cannot be made {passage.dimensions} long."
        )
        raise RequestFailed(message, code=Code.INVALID_ARGUMENT)


def too_long() -> RequestFailed:
    """Say that an answer is beyond what is held."""
    most = limits.LINE_BYTES_MAX
    return RequestFailed(f"The answer is longer than {most} bytes.", code=Code.OUT_OF_RANGE)


def unreadable(size_bytes: int) -> RequestFailed:
    """Say that an answer is none."""
    message = f"The endpoint gave an answer of {size_bytes} bytes that is not of the protocol."
    return RequestFailed(message, code=Code.INTERNAL, retriable=True)


def unfinished(why: str = "") -> RequestFailed:
    """Say that an answer's end is not known; ``why`` is a word of the protocol's."""
    reason = f" ({why})" if why else ""
    message = f"The endpoint gave an answer that did not come to its end{reason}."
    return RequestFailed(message, code=Code.INTERNAL, retriable=True)


def withheld(text: str, prompt: Prompt, found: Withheld) -> Candidate:
    """Give what came of an answer before a filter of the server's ended it."""
    if isinstance(prompt.form, ChoiceForm):
        text = ""  # A beginning of a choice is none.
    return Candidate(text, FinishReason.WITHHELD, withheld=found)


def broken_off() -> RequestFailed:
    """Say that a stream ended with an error."""
    message = "The endpoint broke the answer off with an error."
    return RequestFailed(message, code=Code.INTERNAL, retriable=True)


def without(what: str) -> RequestFailed:
    """Say that an answer lacks what was asked for."""
    message = f"The endpoint gave an answer without {what} that was asked for."
    return RequestFailed(message, code=Code.INTERNAL, retriable=True)
