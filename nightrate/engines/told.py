"""A conversation as the chat template of a model is told it: turns, functions, and earlier calls.

Templates of models that were trained to call functions take functions and calls as OpenAI's
protocol has them. Others know neither; they are told in words what was called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct, json

from nightrate.dialects.call_ids import CallIds
from nightrate.dialects.tolerant import check_depth_of
from nightrate.domain.calling import Call, CallMode, Function
from nightrate.domain.generation import Message, Prompt
from nightrate.domain.schema import json_schema_of
from nightrate.engines.call_syntaxes import CallSyntax
from nightrate.engines.chat_templates import alternating
from nightrate.engines.control_words import all_defused, defused, mark_for, texts_in
from nightrate.engines.instructions import turns_behind, turns_of
from nightrate.errors import BadRequest

_ROLES: Final = {"user": "user", "model": "assistant"}

_Turn = tuple[str, dict[str, Any]]
"""A role, and the other members of what a template is told of a turn."""


class Told(Struct, frozen=True):
    """What a template is told."""

    turns: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    """The functions that the model may call as it sees fit; None without any."""
    mark: str
    """Where the rendered text is cut before it is made into tokens, so that no control word of a
    client's stays whole; empty for nowhere."""
    said: list[str]
    """Words beside calls, which some templates pass over."""

    def kept_in(self, rendered: str) -> bool:
        """Tell whether the template has passed nothing over."""
        return all(text in rendered for text in self.said)

    def pieces(self, rendered: str) -> list[str]:
        """Cut what the template made of it."""
        return rendered.split(self.mark) if self.mark else [rendered]


def decides(prompt: Prompt) -> bool:
    """Tell whether the model decides by itself if it calls a function."""
    return prompt.calling is not None and prompt.calling.mode is CallMode.AUTO


def ways_to_tell(
    prompt: Prompt,
    words: Sequence[str],
    syntax: CallSyntax | None,
    *,
    alternate: bool = False,
) -> Iterator[Told]:
    """Give the ways in which a conversation can be told, the best first.

    A template may refuse one, or pass a part of it over (`Told.kept_in`): many take a single call
    in a turn only, and no words beside it.

    Args:
        prompt: the conversation.
        words: those that steer the model, which are kept plain in the texts of a client.
        syntax: how the model writes calls by itself; None of one that was not trained to.
        alternate: whether it can be told at last without a system, and with roles taking turns.
    """
    tools = None
    if syntax is not None and prompt.calling is not None and decides(prompt):
        tools = [_declared(function) for function in prompt.calling.functions]
    # Who decides is not told the instruction for those who must call.
    worded = turns_of(prompt) if tools is None else turns_behind(prompt.system, prompt)
    if syntax is not None and syntax.tells_calls:
        for apart in (False, True):
            if native := _native(prompt, worded, apart=apart):
                yield _told(native, tools, words)
    yield _told(_as_turns(worded), tools, words)
    if alternate:
        yield _told(_as_turns(alternating(worded)), tools, words)
    if tools is not None and not prompt.messages:
        # It is a beginning, to be counted; some templates write functions with the first turn.
        yield _told(_as_turns(worded), None, words)


def _told(turns: list[_Turn], tools: list[dict[str, Any]] | None, words: Sequence[str]) -> Told:
    mark = mark_for(texts_in([[rest for _, rest in turns], tools]), words)
    return Told(
        [{"role": role, **all_defused(rest, mark, words)} for role, rest in turns],
        all_defused(tools, mark, words),
        mark,
        [
            defused(rest["content"].strip(), mark, words)
            for _, rest in turns
            if "tool_calls" in rest
        ],
    )


def _as_turns(worded: list[tuple[str, str]]) -> list[_Turn]:
    return [(role, {"content": text}) for role, text in worded]


def _native(prompt: Prompt, worded: list[tuple[str, str]], *, apart: bool) -> list[_Turn]:
    """Give a conversation with its calls as such; nothing if it has none, or they nest too deep.

    Args:
        prompt: the conversation.
        worded: the same in words.
        apart: whether words beside calls have a turn of their own; nothing, if there are none.
    """
    if not any(message.calls or message.results for message in prompt.messages):
        return []
    if apart and not any(message.calls and message.text for message in prompt.messages):
        return []
    turns = _as_turns(worded[: -len(prompt.messages)])
    ids = CallIds(lambda _call, number: f"call{number:05}")
    try:
        for message in prompt.messages:
            turns += _turns_of(message, ids, apart=apart)
    except BadRequest:
        return []
    return turns


def _turns_of(message: Message, ids: CallIds, *, apart: bool) -> Iterator[_Turn]:
    """Give a turn of words, of calls or of results; a result of no call is told in words."""
    for result in message.results:
        call_id = ids.of_result(result)
        if call_id is None:
            yield "user", {"content": result.words}
        else:
            answered = {"name": result.name, "content": result.response}
            yield "tool", {**answered, "tool_call_id": call_id}
    if message.calls:
        calls = [_called(call, ids) for call in message.calls]
        if apart and message.text:
            yield "assistant", {"content": message.text}
        yield "assistant", {"content": "" if apart else message.text, "tool_calls": calls}
    elif message.text or not message.results:
        yield _ROLES[message.role], {"content": message.text}


def _called(call: Call, ids: CallIds) -> dict[str, Any]:
    """Tell of a call. Templates write its arguments as JSON, and some want ids of nine characters.

    Raises:
        BadRequest: its arguments nest too deep.
    """
    check_depth_of(call.arguments.encode())
    function = {"name": call.name, "arguments": json.decode(call.arguments)}
    return {"id": ids.of_call(call), "type": "function", "function": function}


def _declared(function: Function) -> dict[str, Any]:
    """Tell of a function; some templates do not ask whether it has a description."""
    return {
        "type": "function",
        "function": {
            "name": function.name,
            "description": function.description,
            "parameters": json_schema_of(function.parameters),
        },
    }
