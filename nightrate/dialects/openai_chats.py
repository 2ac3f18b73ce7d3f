"""From OpenAI's chat request to a prompt: what is honoured, checked and refused.

The rule is that of the Gemini dialect: what changes the meaning of a request is honoured or
refused, never dropped. What is not served yet stands in `UNSERVED`; what means nothing to a server
of this kind, and so is passed over, stands in `HINTS`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from msgspec import Struct

from nightrate import limits
from nightrate.dialects.gemini_prompts import bare_model, cache_id
from nightrate.dialects.gemini_ranges import thinking_of
from nightrate.dialects.json_schema import schema_of_client
from nightrate.dialects.openai_calls import calling_of
from nightrate.dialects.openai_reading import Reader
from nightrate.dialects.openai_shapes import (
    ChatBody,
    GoogleOptions,
    ResponseFormat,
)
from nightrate.dialects.openai_turns import turns_of
from nightrate.dialects.refusals import located, unserved, within, wrong
from nightrate.dialects.spelling import Shape, joined, quoted
from nightrate.domain.generation import DEFAULT_SAMPLING, LogprobsWish, Prompt, Sampling
from nightrate.domain.guidance import Thinking, ThinkingLevel
from nightrate.domain.schema import AnyValue, Form, JSONForm, Object, Schema
from nightrate.errors import Refused

_NO_TOOLS = "Leave it out: no tools are run."
_USE_TOOLS = 'Use "tools" and "tool_choice".'
_BESIDE_CACHE = "a request that continues a cached content has no system of its own."

UNSERVED: Final = {
    "functions": _USE_TOOLS,
    "web_search_options": _NO_TOOLS,
    "logit_bias": "Leave it out.",
    "audio": "Leave it out: answers are text.",
    "prediction": "Leave it out.",
    "moderation": "Leave it out.",
}
"""What to do instead. A member that is false or empty asks for nothing."""

HINTS: Final = {
    "user": "who asks, for the abuse checks of a service",
    "safety_identifier": "the same",
    "metadata": "notes to a stored completion; nothing is stored",
    "store": "whether the service keeps the completion; it never does",
    "service_tier": "how fast a service shall be, at what price",
    "prompt_cache_key": "which requests begin alike; this server finds out by itself",
    "prompt_cache_options": "the same",
    "prompt_cache_retention": "the same",
    "reasoning_effort": "how long a model that thinks may think; the engine `gemini` passes it on",
    "verbosity": "how long answers shall be, to models that were trained for it; it is checked",
}
"""Members that mean nothing here, and what they are elsewhere."""

REMEDIES: Final = {
    "contents": 'Use "messages".',
    "prompt": 'Use "messages".',
    "input": 'Use "messages".',
    "generationConfig": 'Put its members beside "messages", in OpenAI\'s spelling.',
    "max_output_tokens": 'Use "max_completion_tokens".',
    "thinking_config": 'Put it inside "extra_body", into "google".',
    "cached_content": 'Put it inside "extra_body", into "google".',
}

_RANGES: Final[tuple[tuple[str, float, float], ...]] = (
    ("temperature", 0, 2),
    ("top_p", 0, 1),
    ("max_tokens", 1, 2**31 - 1),
    ("max_completion_tokens", 1, 2**31 - 1),
    ("presence_penalty", -2, 2),
    ("frequency_penalty", -2, 2),
    ("n", 1, limits.CANDIDATES_MAX),
    ("top_logprobs", 0, limits.LOGPROBS_MAX),
    ("seed", -(2**63), 2**63 - 1),
)
"""Member, its smallest and its greatest value."""

_ANY_OBJECT: Final = Schema(Object(others=AnyValue()))
_SEEDS = 2**31
_EFFORTS = {
    "none": Thinking(budget_tokens=0),
    "minimal": Thinking(level=ThinkingLevel.MINIMAL),
    "low": Thinking(level=ThinkingLevel.LOW),
    "medium": Thinking(level=ThinkingLevel.MEDIUM),
    "high": Thinking(level=ThinkingLevel.HIGH),
    "xhigh": Thinking(level=ThinkingLevel.HIGH),
}
_VERBOSITIES = "low", "medium", "high"
_NO_CHOICE = None, "auto", "none"

_asked = attrgetter(*UNSERVED)
_NOTHING: Final = (None,) * len(UNSERVED)
_drawn = attrgetter("stop", *(name for name, _, _ in _RANGES))
_AS_IT_COMES: Final = (None,) * (1 + len(_RANGES))
_GOOGLE: Final = Shape(GoogleOptions)
_READER: Final = Reader(ChatBody, REMEDIES)


class ChatCall(Struct, frozen=True, kw_only=True):
    """A request, and how its answer shall come."""

    model: str
    """Without ``models/``."""
    prompt: Prompt
    streamed: bool
    usage_streamed: bool
    """Whether a stream ends with what it used."""


def parse_chat(body: bytes) -> ChatCall:
    """Read the body of a live ``chat/completions``.

    Raises:
        BadRequest: it is malformed or a value is wrong.
        NotSupported: it asks for something this server does not do.
    """
    return chat_call(read_chat(body))


def read_chat(body: bytes) -> ChatBody:
    """Read the shape of a body.

    Raises:
        BadRequest: it has not that shape.
    """
    return _READER.read(body)


def chat_call(body: ChatBody) -> ChatCall:
    """Make the call of a typed body, or refuse with the path of the member that is to blame."""
    if not body.model:
        raise wrong("model", "it is empty.")
    options = body.stream_options
    return ChatCall(
        model=bare_model(body.model),
        prompt=prompt_of_chat(body),
        streamed=bool(body.stream),
        usage_streamed=options is not None and bool(options.include_usage),
    )


def prompt_of_chat(body: ChatBody) -> Prompt:
    """Make the prompt of a typed body, or refuse with the path of the member that is to blame."""
    if body.stream_options is not None and not body.stream:
        raise wrong("stream_options", 'it is for streams only: set "stream".')
    asked = _asked(body)
    if asked != _NOTHING:
        for name, value in zip(UNSERVED, asked, strict=True):
            if value:
                raise unserved(name, UNSERVED[name])
    if body.function_call not in _NO_CHOICE:
        raise unserved("function_call", _USE_TOOLS)
    _check_answer(body)
    form = _form(body.response_format) if body.response_format is not None else None
    calling = calling_of(body) if body.tools or body.tool_choice is not None else None
    if calling is not None and form is not None:
        raise wrong(calling.field, "an answer that calls a function has no form.")
    cache, thinking = _google_options(body)
    sampling = _sampling(body)
    logprobs = _logprobs(body)
    if calling is not None and logprobs is not None:
        raise wrong(logprobs.field, "an answer that may call functions does not tell it.")
    system, messages, media = turns_of(body.messages)
    if cache is not None and system is not None:
        raise wrong("messages", _BESIDE_CACHE)
    return Prompt(
        messages=messages,
        system=system,
        sampling=sampling,
        form=form,
        calling=calling,
        logprobs=logprobs,
        candidates=body.n or 1,
        cache=cache,
        thinking=thinking,
        media=media,
    )


def _check_answer(body: ChatBody) -> None:
    """Answers are text."""
    for index, modality in enumerate(body.modalities or ()):
        if modality != "text":
            raise unserved(f"modalities[{index}]", 'Use ["text"].')
    if body.verbosity is not None and body.verbosity not in _VERBOSITIES:
        raise wrong("verbosity", f'"{quoted(body.verbosity)}" is not known.')


def _form(wanted: ResponseFormat) -> Form | None:
    """Find the form of the answer; None when it is free text."""
    field = "response_format.json_schema"
    if wanted.type == "json_schema":
        if wanted.json_schema is None:
            raise wrong(field, "it is missing.")
        tree = wanted.json_schema.schema
        if tree is None:
            return JSONForm(_ANY_OBJECT, field)
        try:
            return JSONForm(schema_of_client(tree), f"{field}.schema")
        except Refused as error:
            raise within(error, f"{field}.schema") from error
    if wanted.json_schema is not None:
        raise wrong(field, f'it is for the type "json_schema", not "{quoted(wanted.type)}".')
    if wanted.type == "json_object":
        return JSONForm(_ANY_OBJECT, "response_format.type")
    if wanted.type != "text":
        raise wrong("response_format.type", f'"{quoted(wanted.type)}" is not known.')
    return None


def _google_options(body: ChatBody) -> tuple[str | None, Thinking | None]:
    """Give the cached content to continue, if any, and how long the model may think."""
    effort = body.reasoning_effort
    if effort is not None and effort not in _EFFORTS:
        raise wrong("reasoning_effort", f'"{quoted(effort)}" is not known.')
    cache, found = None, _EFFORTS[effort] if effort is not None else None
    inner = body.extra_body.google if body.extra_body is not None else None
    for at, tree in (("google", body.google), ("extra_body.google", inner)):
        if tree is None:
            continue
        options = _GOOGLE.read(tree, at)
        if options.cached_content:
            cache = cache_id(options.cached_content, joined(at, "cached_content"))
        thinking = options.thinking_config
        if thinking is None:
            continue
        if effort is not None:
            raise wrong(joined(at, "thinking_config"), '"reasoning_effort" is set as well.')
        try:
            found = thinking_of(thinking) or found
        except Refused as error:
            raise located(error, tree, at) from error
    return cache, found


def _sampling(body: ChatBody) -> Sampling:
    if _drawn(body) == _AS_IT_COMES:
        return DEFAULT_SAMPLING
    for name, low, high in _RANGES:
        value = getattr(body, name)
        if value is not None and not low <= value <= high:
            raise wrong(name, f"{quoted(str(value))} is not between {low} and {high}.")
    most = body.max_completion_tokens
    if most is None:
        most = body.max_tokens
    elif body.max_tokens not in (None, most):
        raise wrong("max_tokens", '"max_completion_tokens" is set as well, to another number.')
    return Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        # Engines take 32 bits. Folding keeps what a seed promises: the same one, the same answer.
        seed=None if body.seed is None else body.seed % _SEEDS,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        max_output_tokens=most,
        stop=_stop(body.stop),
    )


def _logprobs(body: ChatBody) -> LogprobsWish | None:
    """Find out whether the answer shall say how likely its tokens were."""
    if body.logprobs:
        others = body.top_logprobs or 0
        return LogprobsWish(others, "top_logprobs" if others else "logprobs")
    if body.top_logprobs:
        raise wrong("top_logprobs", 'it needs "logprobs": true.')
    return None


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    sequences = [stop] if isinstance(stop, str) else stop or []
    most = limits.STOP_SEQUENCES_MAX
    if len(sequences) > most:
        raise wrong("stop", f"there are {len(sequences)}, and at most {most} are allowed.")
    if "" in sequences:
        raise wrong("stop", "it holds an empty text.")
    return tuple(sequences)
