"""OpenAI's protocol from the other side: what is asked of a server that speaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from nightrate.dialects.call_ids import CallIds
from nightrate.dialects.openai_media import content_of
from nightrate.dialects.other_servers import encoded
from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Message, Prompt, Sampling
from nightrate.domain.guidance import Thinking
from nightrate.domain.schema import (
    AnyValue,
    ChoiceForm,
    Form,
    Node,
    Object,
    Schema,
    json_schema_of,
    parts_of,
)
from nightrate.errors import Code, RequestFailed

CHOICE: Final = "choice"
"""The member that holds one of some texts: most servers want an object at the top of a form."""

_ROLES: Final = {"user": "user", "model": "assistant"}
_ANY_OBJECT: Final = Schema(Object(others=AnyValue()))
_EFFORTS_TOKENS_MAX: Final = ("low", 1024), ("medium", 8192)
"""How many tokens stand for an effort in Gemini's own answers to this protocol; more is high.
Source: the page on compatibility with OpenAI's libraries of the Gemini API."""


class _Called(Struct, gc=False):
    name: str
    arguments: str


class _ToolCall(Struct, gc=False):
    id: str
    function: _Called
    type: str = "function"


class _Turn(Struct, gc=False, omit_defaults=True):
    role: str
    content: str | list[dict[str, Any]] | None
    tool_calls: list[_ToolCall] = []
    tool_call_id: str | None = None


class _Ask(Struct, kw_only=True, omit_defaults=True):
    model: str
    messages: list[_Turn]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    stream: bool = False
    stream_options: dict[str, bool] | None = None


class _TokenAsk(Struct):
    model: str
    messages: list[_Turn]
    add_generation_prompt: bool = True
    tools: list[dict[str, Any]] | UnsetType = UNSET


class _VectorAsk(Struct, kw_only=True, omit_defaults=True):
    model: str
    input: str
    encoding_format: str | None = None
    dimensions: int | None = None
    truncate_prompt_tokens: int | None = None


class Customs(Struct, frozen=True, kw_only=True):
    """What a server takes beyond the protocol, and how it calls things."""

    top_k: bool = False
    """Whether it draws from the likeliest few."""
    cuts: bool = False
    """Whether it cuts a text for a vector where its model ends."""
    tokens_max: str = "max_tokens"
    """What it calls the output limit."""
    thinks: bool = False
    """Whether its model thinks as hard as it is told to. One that does not keeps any wish."""


def render_prompt(prompt: Prompt, model: str, customs: Customs, *, streamed: bool) -> bytes:
    """Write the body of ``chat/completions``.

    Raises:
        RequestFailed: the prompt asks for what this server cannot do.
    """
    ask = _Ask(model=model, messages=_turns(prompt))
    _draw(ask, prompt.sampling, customs)
    if prompt.form is not None:
        ask.response_format = _format(prompt.form)
    if prompt.calling is not None:
        ask.tools = _tools(prompt.calling)
        ask.tool_choice = "required" if prompt.calling.mode is CallMode.ANY else "auto"
        ask.parallel_tool_calls = False if prompt.calling.single else None
    if prompt.logprobs is not None:
        ask.logprobs = True
        ask.top_logprobs = prompt.logprobs.others or None
    if prompt.thinking is not None and customs.thinks:
        ask.reasoning_effort = _effort(prompt.thinking)
    if streamed:
        ask.stream = True
        ask.stream_options = {"include_usage": True}
    return encoded(ask)


def render_count(prompt: Prompt, model: str) -> bytes:
    """Write the body of ``/tokenize``.

    Raises:
        RequestFailed: the prompt has media, whose tokens are not counted there.
    """
    if prompt.media:
        message = f"{prompt.media[0].field}: the server behind this model counts texts alone."
        raise RequestFailed(message, code=Code.UNIMPLEMENTED)
    tools = UNSET if prompt.calling is None else _tools(prompt.calling)
    return encoded(_TokenAsk(model, _turns(prompt), tools=tools))


def render_passage(passage: Passage, model: str, customs: Customs) -> bytes:
    """Write the body of ``embeddings``."""
    text = f"{passage.title}\n{passage.text}" if passage.title else passage.text
    ask = _VectorAsk(model=model, input=text, encoding_format="float")
    ask.dimensions = passage.dimensions
    if passage.truncate and customs.cuts:
        ask.truncate_prompt_tokens = -1
    return encoded(ask)


def _tools(calling: Calling) -> list[dict[str, Any]]:
    return [_tool(function) for function in calling.functions]


def _tool(function: Function) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": function.name}
    if function.description:
        declared["description"] = function.description
    declared["parameters"] = json_schema_of(function.parameters)
    if function.strict:
        declared["strict"] = True
    return {"type": "function", "function": declared}


def _turns(prompt: Prompt) -> list[_Turn]:
    turns = [_Turn("system", prompt.system)] if prompt.system is not None else []
    calls = _Calls()
    for turn, message in enumerate(prompt.messages):
        content = content_of(message, prompt, turn) if prompt.media else message.text
        if message.calls or message.results:
            turns += calls.turns_of(message, content)
        else:
            turns.append(_Turn(_ROLES[message.role], content))
    return turns


class _Calls:
    """The calls of a conversation: each has an id here, by which its result is found."""

    def __init__(self) -> None:
        self._ids = CallIds(lambda call, number: call.call_id or f"call_{number}")

    def turns_of(self, message: Message, content: str | list[dict[str, Any]]) -> list[_Turn]:
        """Write a turn of calls or results, and what it says; a result of no call is text."""
        turns = [self._answered(result) for result in message.results]
        if message.calls:
            calls = [self._called(call) for call in message.calls]
            turns.append(_Turn("assistant", content or None, calls))
        elif content:
            turns.append(_Turn(_ROLES[message.role], content))
        return turns

    def _called(self, call: Call) -> _ToolCall:
        return _ToolCall(self._ids.of_call(call), _Called(call.name, call.arguments))

    def _answered(self, result: CallResult) -> _Turn:
        call_id = self._ids.of_result(result)
        if call_id is None:
            return _Turn("user", result.words)
        return _Turn("tool", result.response, tool_call_id=call_id)


def _draw(ask: _Ask, sampling: Sampling, customs: Customs) -> None:
    if sampling.top_k is not None:
        if not customs.top_k:
            message = "topK: the server behind this model cannot draw from the likeliest few."
            raise RequestFailed(message, code=Code.UNIMPLEMENTED)
        ask.top_k = sampling.top_k
    if customs.tokens_max == "max_tokens":
        ask.max_tokens = sampling.max_output_tokens
    else:
        ask.max_completion_tokens = sampling.max_output_tokens
    ask.temperature = sampling.temperature
    ask.top_p = sampling.top_p
    ask.seed = sampling.seed
    ask.presence_penalty = sampling.presence_penalty
    ask.frequency_penalty = sampling.frequency_penalty
    ask.stop = sampling.stop


def _effort(thinking: Thinking) -> str | None:
    """Say in this protocol how long a model may think; None for as it sees fit."""
    if thinking.level is not None:
        return thinking.level.value
    budget = thinking.budget_tokens
    if not budget:
        return None if budget is None else "none"
    if budget < 0:
        return None
    return next((effort for effort, most in _EFFORTS_TOKENS_MAX if budget <= most), "high")


def _format(form: Form) -> dict[str, Any]:
    if isinstance(form, ChoiceForm):
        choice = {"type": "string", "enum": list(form.choices)}
        schema: Mapping[str, Any] = {
            "type": "object",
            "properties": {CHOICE: choice},
            "required": [CHOICE],
            "additionalProperties": False,
        }
    elif form.schema == _ANY_OBJECT:
        return {"type": "json_object"}
    else:
        schema = json_schema_of(form.schema)
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": _is_closed(form)},
    }


def _is_closed(form: Form) -> bool:
    """Tell whether each object has all of its members and no others.

    The hosted service holds an answer to such a schema only, and refuses to be strict with others.
    """
    if isinstance(form, ChoiceForm):
        return True
    return all(map(_has_closed_objects, (form.schema.root, *form.schema.definitions.values())))


def _has_closed_objects(node: Node) -> bool:
    if isinstance(node, AnyValue):
        return False
    if isinstance(node, Object) and (
        node.others is not None or not all(member.required for member in node.members)
    ):
        return False
    return all(_has_closed_objects(part) for _, part in parts_of(node))
