"""The turns of OpenAI's conversations: who spoke, what was said, and what was called."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import structs

from nightrate.dialects.openai_calls import History
from nightrate.dialects.openai_media import PARTS, medium_of
from nightrate.dialects.openai_shapes import ChatMessage, ContentPart
from nightrate.dialects.refusals import unserved, within, wrong
from nightrate.dialects.spelling import joined, quoted
from nightrate.domain.calling import CallResult
from nightrate.domain.generation import Message
from nightrate.domain.medium import Medium
from nightrate.errors import Refused

_ROLES: Final[dict[str, Literal["system", "user", "model"]]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "model",
}
_TOOL = "tool"
_USER = "user"
_TEXT_ONLY = "Send text only."


def turns_of(
    turns: list[ChatMessage],
) -> tuple[str | None, tuple[Message, ...], tuple[Medium, ...]]:
    """Give what the system says, the conversation and its media.

    Raises:
        BadRequest: a turn is malformed, or there is none.
        NotSupported: a turn holds what no engine here reads.
    """
    if not turns:
        raise wrong("messages", "it is empty.")
    system: list[str] = []
    messages: list[Message] = []
    history = History()
    results: list[CallResult] = []
    media: list[Medium] = []
    shown: list[Medium] = []
    for index, turn in enumerate(turns):
        try:
            if turn.role == _TOOL:
                results.append(history.result_of(turn, _content(turn)))
                continue
            calls = history.calls_of(turn) if turn.role == "assistant" and turn.tool_calls else ()
            role, text = read_turn(turn, silent=bool(calls), media=shown)
        except Refused as error:
            raise within(error, f"messages[{index}]") from error
        if results:
            messages.append(Message("user", "", results=tuple(results)))
            results.clear()
        if role == "system":
            system.append(text)
        else:
            if shown:
                media += _placed(shown, f"messages[{index}]", len(messages))
                shown.clear()
            messages.append(Message(role, text, calls))
    if results:
        messages.append(Message("user", "", results=tuple(results)))
    if not messages:
        raise wrong("messages", "no turn of the user or the assistant is there.")
    return "\n".join(system) or None, tuple(messages), tuple(media)


def _placed(shown: list[Medium], at: str, turn: int) -> list[Medium]:
    """Put a place in front of the paths of media, and name their turn."""
    return [structs.replace(one, field=joined(at, one.field), turn=turn) for one in shown]


def read_turn(
    turn: ChatMessage, *, silent: bool = False, media: list[Medium] | None = None
) -> tuple[Literal["system", "user", "model"], str]:
    """Give who speaks in a turn, and the text, or refuse with the path of the member to blame.

    Args:
        turn: what came; one of the role ``tool`` is none of these.
        silent: whether it is a turn without a text too, because it calls functions.
        media: takes the media of a turn of the user; without it, they are refused.
    """
    if turn.role == "function":
        raise unserved("role", f'Use the role "{_TOOL}".')
    role = _ROLES.get(turn.role)
    if role is None:
        raise wrong("role", f'"{quoted(turn.role)}" is none of {", ".join(_ROLES)}.')
    if turn.tool_calls and not silent:
        raise wrong("tool_calls", "the assistant alone calls functions, in a conversation.")
    if turn.tool_call_id:
        raise wrong("tool_call_id", f'it is for the role "{_TOOL}".')
    for name in ("function_call", "audio"):
        if getattr(turn, name):
            raise unserved(name, _TEXT_ONLY)
    if turn.name:
        raise unserved("name", "Say in the text who speaks.")
    if turn.content is None and role == "model" and (silent or turn.refusal is not None):
        return role, turn.refusal or ""
    return role, _content(turn, media if role == _USER else None)


def _content(turn: ChatMessage, media: list[Medium] | None = None) -> str:
    content = turn.content
    if isinstance(content, str):
        return content
    if content is None:
        raise wrong("content", "it is missing.")
    if not content:
        raise wrong("content", "it is empty.")
    pieces: list[str] = []
    for index, part in enumerate(content):
        at = f"content[{index}]"
        if part.type not in PARTS:
            pieces.append(_piece(part, at))
        elif media is None:
            raise unserved(f"{at}.type", _TEXT_ONLY)
        else:
            media.append(medium_of(part, at, sum(map(len, pieces))))
    return "".join(pieces)


def _piece(part: ContentPart, at: str) -> str:
    if part.type not in ("text", "refusal"):
        raise wrong(f"{at}.type", f'"{quoted(part.type)}" is not known.')
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise wrong(f"{at}.{part.type}", "it is missing.")
    return text
