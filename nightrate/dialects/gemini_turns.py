"""The turns of Gemini's conversations: who spoke, what was said, and what was called."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final, Literal

from msgspec import Struct

from nightrate.dialects.gemini_calls import calls_of
from nightrate.dialects.gemini_options import PART_GATE
from nightrate.dialects.gemini_shapes import Content, Part
from nightrate.dialects.refusals import within, wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.calling import Call, CallResult
from nightrate.domain.generation import Message
from nightrate.errors import BadRequest, Refused

_ROLES: Final[dict[str | None, Literal["user", "model"]]] = {
    None: "user",
    "": "user",
    "user": "user",
    "function": "user",
    "tool": "user",
    "model": "model",
}
_SYSTEM_ROLE = "system"

_called = attrgetter(
    *("function_call", "function_response", "tool_call", "tool_response"),
    *("executable_code", "code_execution_result"),
)
_NOTHING: Final = (None,) * 6


class _Said(Struct):
    """What the parts of a turn hold; without a text, there is none, not an empty one."""

    pieces: list[str] = []
    calls: list[Call] = []
    results: list[CallResult] = []

    def text(self) -> str | None:
        return "".join(self.pieces) if self.pieces else None

    def add(self, part: Part | str) -> None:
        """Take a part in; thoughts are no part of what was said."""
        if isinstance(part, str):
            self.pieces.append(part)
            return
        PART_GATE.check(part)
        if part.thought:
            return
        found: Call | CallResult | str | None
        if _called(part) == _NOTHING:
            if part.text is None and part.thought_signature is None:
                raise BadRequest("it has no data.")
            found = part.text
        else:
            found = calls_of(part)
            if part.text:
                raise wrong("text", "a part holds one thing: put the text into a part of its own.")
        if isinstance(found, Call):
            self.calls.append(found)
        elif isinstance(found, CallResult):
            self.results.append(found)
        elif found is not None:
            self.pieces.append(found)


def turns_of(
    contents: list[Content | str] | Content | str | None,
) -> tuple[str | None, tuple[Message, ...]]:
    """Give the text of system turns, which old clients send, and the conversation.

    Raises:
        BadRequest: a turn is malformed, or there is none.
        NotSupported: a part holds what no engine here reads.
    """
    if not contents:
        raise wrong("contents", "it is missing or empty.")
    if not isinstance(contents, list):
        contents = [contents]
        places = False
    else:
        places = True
    system: str | None = None
    messages: list[Message] = []
    for index, content in enumerate(contents):
        try:
            role, said = _turn(content)
            if role is None and (said.calls or said.results):
                raise wrong("role", "the system calls no functions.")
        except Refused as error:
            raise within(error, f"contents[{index}]" if places else "contents") from error
        text = said.text()
        if role is None:
            if text is not None:
                system = text if system is None else f"{system}\n{text}"
        elif text is not None or said.calls or said.results:
            messages.append(Message(role, text or "", tuple(said.calls), tuple(said.results)))
    if not messages:
        raise wrong("contents", "no turn of the user has any text.")
    return system, tuple(messages)


def _turn(content: Content | str) -> tuple[Literal["user", "model"] | None, _Said]:
    """Give the role, None for the system's, and what was said."""
    if isinstance(content, str):
        return "user", _Said([content])
    role = _ROLES.get(content.role)
    if role is None and content.role != _SYSTEM_ROLE:
        raise wrong("role", f'"{quoted(content.role or "")}" is neither "user" nor "model".')
    if not content.parts and content.parts != "":
        raise wrong("parts", "it is missing or empty.")
    return role, _said(content.parts)


def instruction_of(instruction: Content | str) -> str | None:
    """Give the text of an instruction to the model; None without any.

    Raises:
        BadRequest: it is malformed, or no text.
    """
    if isinstance(instruction, str):
        return instruction or None
    if not instruction.parts:
        return None
    try:
        said = _said(instruction.parts)
        if said.calls or said.results:
            raise wrong("parts", "an instruction is text.")
    except Refused as error:
        raise within(error, "systemInstruction") from error
    return said.text() or None


def _said(parts: Any) -> _Said:
    """Put together what the parts of a turn hold."""
    said = _Said()
    if not isinstance(parts, list):
        try:
            said.add(parts)
        except Refused as error:
            raise within(error, "parts") from error
        return said
    for index, part in enumerate(parts):
        try:
            said.add(part)
        except Refused as error:
            raise within(error, f"parts[{index}]") from error
    return said
