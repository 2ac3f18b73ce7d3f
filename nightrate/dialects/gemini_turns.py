"""The turns of Gemini's conversations: who spoke, what was said, and what was called."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final, Literal

from msgspec import Struct, structs

from nightrate.dialects.gemini_calls import calls_of
from nightrate.dialects.gemini_media import look_of, medium_of
from nightrate.dialects.gemini_options import refusal_of, refused_in
from nightrate.dialects.gemini_shapes import Content, Part
from nightrate.dialects.refusals import unserved, within, wrong
from nightrate.dialects.spelling import joined, quoted
from nightrate.domain.calling import Call, CallResult
from nightrate.domain.generation import Message
from nightrate.domain.medium import Medium
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

_CALLED: Final = (
    *("function_call", "function_response", "tool_call", "tool_response"),
    *("executable_code", "code_execution_result"),
)
_called = attrgetter(*_CALLED)
_NO_CALL: Final = (None,) * len(_CALLED)
_held = attrgetter(*_CALLED, "inline_data", "file_data")
_NOTHING: Final = (*_NO_CALL, None, None)
_NOT_TEXT: Final = refused_in(Part, "systemInstruction.parts[]")
_INSTRUCTIONS: Final = "Put it into a turn of the user: instructions are text."


class _Said(Struct):
    """What the parts of a turn hold; without a text, there is none, not an empty one."""

    pieces: list[str] = []
    calls: list[Call] = []
    results: list[CallResult] = []
    media: tuple[Medium, ...] = ()

    def text(self) -> str | None:
        return "".join(self.pieces) if self.pieces else None

    def add(self, part: Part | str) -> Medium | None:
        """Take a part in, or give the medium that it is.

        The text of a thought is no part of what was said; whatever else is marked as one is.
        """
        if isinstance(part, str):
            self.pieces.append(part)
            return None
        found: Call | CallResult | Medium | str | None
        if _held(part) == _NOTHING:
            look_of(part)
            if part.text is None and part.thought_signature is None and not part.thought:
                raise BadRequest("it has no data.")
            found = None if part.thought else part.text
        else:
            found = self._of_data(part)
            if part.text:
                raise wrong("text", "a part holds one thing: put the text into a part of its own.")
        if isinstance(found, Call):
            self.calls.append(found)
        elif isinstance(found, CallResult):
            self.results.append(found)
        elif isinstance(found, Medium):
            return found
        elif found is not None:
            self.pieces.append(found)
        return None

    def _of_data(self, part: Part) -> Call | CallResult | Medium | str:
        """Read a part that holds something else than text."""
        if part.inline_data is None and part.file_data is None:
            look_of(part)
            return calls_of(part)
        medium = medium_of(part, sum(map(len, self.pieces)))
        if _called(part) != _NO_CALL:
            raise wrong(medium.field, "a part holds one thing, and it is about a call, too.")
        return medium


def turns_of(
    contents: list[Content | str] | Content | str | None,
) -> tuple[str | None, tuple[Message, ...], tuple[Medium, ...]]:
    """Give the text of system turns, which old clients send, the conversation and its media.

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
    media: list[Medium] = []
    for index, content in enumerate(contents):
        try:
            role, said = _turn(content)
        except Refused as error:
            raise within(error, f"contents[{index}]" if places else "contents") from error
        for medium in said.media:
            at = f"contents[{index}]" if places else "contents"
            media.append(_placed(medium, at, len(messages)))
        text = said.text()
        if role is None:
            if text is not None:
                system = text if system is None else f"{system}\n{text}"
        elif text is not None or said.calls or said.results or said.media:
            messages.append(Message(role, text or "", tuple(said.calls), tuple(said.results)))
    if not messages:
        raise wrong("contents", "no turn of the user has any text.")
    return system, tuple(messages), tuple(media)


def _placed(medium: Medium, at: str, turn: int = 0) -> Medium:
    """Put a place in front of the path of a medium, and name its turn."""
    return structs.replace(medium, field=joined(at, medium.field), turn=turn)


def _turn(content: Content | str) -> tuple[Literal["user", "model"] | None, _Said]:
    """Give the role, None for the system's, and what was said."""
    if isinstance(content, str):
        return "user", _Said([content])
    role = _ROLES.get(content.role)
    if role is None and content.role != _SYSTEM_ROLE:
        raise wrong("role", f'"{quoted(content.role or "")}" is neither "user" nor "model".')
    if not content.parts and content.parts != "":
        raise wrong("parts", "it is missing or empty.")
    said = _said(content.parts)
    if role is None:
        if said.calls or said.results:
            raise wrong("role", "the system calls no functions.")
        _refuse_media(said)
    return role, said


def instruction_of(instruction: Content | str) -> str | None:
    """Give the text of an instruction to the model; None without any.

    Raises:
        BadRequest: it is malformed.
        NotSupported: a part of it is no text.
    """
    if isinstance(instruction, str):
        return instruction or None
    if not instruction.parts:
        return None
    try:
        _refuse_data(instruction.parts)
        said = _said(instruction.parts)
    except Refused as error:
        raise within(error, "systemInstruction") from error
    return said.text() or None


def _refuse_data(parts: Any) -> None:
    """Refuse parts of an instruction that are no text, by their places in it."""
    listed = parts if isinstance(parts, list) else [parts]
    for index, part in enumerate(listed):
        if isinstance(part, Part) and _held(part) != _NOTHING:
            names = _NOT_TEXT.items()
            held = next(wire for name, wire in names if getattr(part, name) is not None)
            at = "parts" if listed is not parts else f"parts[{index}]"
            raise refusal_of(f"systemInstruction.parts[].{held}", f"{at}.{held}")


def _refuse_media(said: _Said) -> None:
    if said.media:
        raise unserved(said.media[0].field, _INSTRUCTIONS)


def _said(parts: Any) -> _Said:
    """Put together what the parts of a turn hold."""
    said = _Said()
    if not isinstance(parts, list):
        try:
            medium = said.add(parts)
        except Refused as error:
            raise within(error, "parts") from error
        if medium is not None:
            said.media = (_placed(medium, "parts"),)
        return said
    for index, part in enumerate(parts):
        try:
            medium = said.add(part)
        except Refused as error:
            raise within(error, f"parts[{index}]") from error
        if medium is not None:
            said.media += (_placed(medium, f"parts[{index}]"),)
    return said
