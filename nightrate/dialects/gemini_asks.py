"""Gemini's protocol from the other side: what is asked of a server that speaks it."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, json, structs

from nightrate.dialects.gemini_answer_shapes import FunctionCall, TextPart
from nightrate.dialects.gemini_calls import called_in
from nightrate.dialects.gemini_media import MediumPart, level_of, part_of
from nightrate.dialects.gemini_pictures import settings_of
from nightrate.dialects.gemini_ranges import safety_settings_of, settings_of_thinking
from nightrate.dialects.gemini_shapes import SafetySetting
from nightrate.dialects.other_servers import encoded
from nightrate.domain.calling import Calling, CallMode, CallResult, Function
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import LogprobsWish, Message, Prompt, Sampling
from nightrate.domain.medium import Medium, media_of_turn, pieces_of
from nightrate.domain.schema import AnyValue, ChoiceForm, Form, Object, json_schema_of

_UNSIGNED: Final = "skip_thought_signature_validator"
"""Stands where the signature of a thought belongs, by the protocol, in calls that come from
elsewhere: a model that thinks wants one at the first call of each turn, and ours are not kept."""

_OBJECT: Final = json.Decoder(dict)


class _CallPart(Struct, rename="camel", omit_defaults=True):
    function_call: FunctionCall
    thought_signature: str | None = None


class _Response(Struct, omit_defaults=True):
    name: str
    response: Raw
    id: str | None = None


class _ResultPart(Struct, rename="camel"):
    function_response: _Response


_Part = TextPart | _CallPart | _ResultPart | MediumPart


class _Turn(Struct, omit_defaults=True):
    parts: list[_Part]
    role: str | None = None


class _Config(Struct, rename="camel", kw_only=True, omit_defaults=True):
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_output_tokens: int | None = None
    stop_sequences: tuple[str, ...] = ()
    response_logprobs: bool = False
    logprobs: int | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | None = None
    response_modalities: tuple[str, ...] = ()
    image_config: dict[str, str] | None = None
    thinking_config: dict[str, int | str] | None = None
    media_resolution: str | None = None


_NO_SETTINGS: Final = _Config()


class _Ask(Struct, rename="camel", kw_only=True, omit_defaults=True):
    contents: list[_Turn]
    system_instruction: _Turn | None = None
    generation_config: _Config | None = None
    tools: list[dict[str, Any]] = []
    tool_config: dict[str, Any] | None = None
    safety_settings: list[SafetySetting] = []
    model: str | None = None


class _CountAsk(Struct, rename="camel"):
    generate_content_request: _Ask


class _VectorAsk(Struct, rename="camel", kw_only=True, omit_defaults=True):
    content: _Turn
    task_type: str | None = None
    title: str | None = None
    output_dimensionality: int | None = None
    embed_content_config: dict[str, bool] | UnsetType = UNSET


def render_prompt(prompt: Prompt) -> bytes:
    """Write the body of ``:generateContent``, which is that of ``:streamGenerateContent`` too.

    Raises:
        RequestFailed: the prompt asks for what the protocol has no words for.
    """
    return encoded(_ask(prompt))


def render_count(prompt: Prompt, model: str) -> bytes:
    """Write the body of ``:countTokens`` for a model, by its full name.

    The protocol demands a turn; instructions that have none yet are counted as one.
    """
    if not prompt.messages:
        turn = Message("user", prompt.system or " ")
        prompt = structs.replace(prompt, messages=(turn,), system=None)
    ask = _ask(prompt)
    ask.model = model
    return encoded(_CountAsk(ask))


def render_passage(passage: Passage) -> bytes:
    """Write the body of ``:embedContent``."""
    ask = _VectorAsk(content=_Turn([TextPart(passage.text)]))
    ask.task_type = None if passage.task is None else passage.task.name
    ask.title = passage.title
    ask.output_dimensionality = passage.dimensions
    if not passage.truncate:
        ask.embed_content_config = {"autoTruncate": False}
    return encoded(ask)


def _ask(prompt: Prompt) -> _Ask:
    ask = _Ask(contents=[_turn(message) for message in prompt.messages])
    for turn in dict.fromkeys(medium.turn for medium in prompt.media):
        ask.contents[turn] = _turn(prompt.messages[turn], media_of_turn(prompt.media, turn))
    if prompt.system is not None:
        ask.system_instruction = _Turn([TextPart(prompt.system)])
    config = _config(prompt.sampling)
    if prompt.form is not None:
        _shape(config, prompt.form)
    if prompt.logprobs is not None:
        _tell(config, prompt.logprobs)
    if prompt.picture is not None:
        config.image_config = settings_of(prompt.picture)
        config.response_modalities = ("TEXT", "IMAGE") if prompt.picture.with_text else ("IMAGE",)
    if prompt.thinking is not None or prompt.thoughts:
        config.thinking_config = settings_of_thinking(prompt.thinking, shown=prompt.thoughts)
    if prompt.resolution is not None and prompt.media:
        config.media_resolution = level_of(prompt.resolution)
    if config != _NO_SETTINGS:
        ask.generation_config = config
    ask.safety_settings = safety_settings_of(prompt.filters)
    if prompt.calling is not None:
        functions = [_declaration(function) for function in prompt.calling.functions]
        ask.tools = [{"functionDeclarations": functions}]
        ask.tool_config = {"functionCallingConfig": {"mode": _mode(prompt.calling)}}
    return ask


def _turn(message: Message, media: tuple[Medium, ...] = ()) -> _Turn:
    parts: list[_Part] = [_ResultPart(_response(result)) for result in message.results]
    if media:
        pieces = pieces_of(message.text, media)
        parts += (TextPart(one) if isinstance(one, str) else part_of(one) for one in pieces)
    elif message.text or not (message.calls or message.results):
        parts.append(TextPart(message.text))
    for index, call in enumerate(message.calls):
        parts.append(_CallPart(called_in(call), None if index else _UNSIGNED))
    return _Turn(parts, message.role)


def _response(result: CallResult) -> _Response:
    """Write what a function answered: an object as it is, words inside one."""
    response = result.response.encode("utf-8", "surrogatepass")
    try:
        _OBJECT.decode(response)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        response = json.encode({"result": result.response})
    return _Response(result.name, Raw(response), result.call_id)


def _config(sampling: Sampling) -> _Config:
    return _Config(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        seed=sampling.seed,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        max_output_tokens=sampling.max_output_tokens,
        stop_sequences=sampling.stop,
    )


def _shape(config: _Config, form: Form) -> None:
    if isinstance(form, ChoiceForm):
        config.response_mime_type = "text/x.enum"
        config.response_schema = {"type": "STRING", "enum": list(form.choices)}
        return
    config.response_mime_type = "application/json"
    if not isinstance(form.schema.root, AnyValue):
        config.response_json_schema = json_schema_of(form.schema)


def _tell(config: _Config, wish: LogprobsWish) -> None:
    config.response_logprobs = True
    config.logprobs = wish.others or None


def _mode(calling: Calling) -> str:
    """Name who decides; calls that must fit what was declared are asked for as such."""
    if calling.mode is CallMode.ANY:
        return "ANY"
    held = calling.held or any(function.strict for function in calling.functions)
    return "VALIDATED" if held else "AUTO"


def _declaration(function: Function) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": function.name}
    if function.description:
        declared["description"] = function.description
    if function.parameters.root != Object():
        declared["parametersJsonSchema"] = json_schema_of(function.parameters)
    return declared
