"""From Gemini's request to a prompt: what is honoured, checked and refused.

Rule of thumb: what changes the meaning of a request is honoured or refused, never dropped; hints to
the sampler or the scheduler that mean nothing here are checked and passed over. What is not served
yet stands in one table, `UNSERVED`; deleting a line opens the field to the code that honours it.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import Any, Final, Literal

from msgspec import structs

from nightrate.dialects.bodies import Body
from nightrate.dialects.gemini_forms import form_of
from nightrate.dialects.gemini_pictures import picture_of
from nightrate.dialects.gemini_ranges import check_safety, sampling_of
from nightrate.dialects.gemini_shapes import (
    Content,
    GenerateContentRequest,
    GenerationConfig,
    Part,
)
from nightrate.dialects.gemini_tools import search_of
from nightrate.dialects.refusals import unserved, within, wrong
from nightrate.dialects.spelling import Remedies, quoted
from nightrate.domain.generation import DEFAULT_SAMPLING, Message, Prompt, Sampling
from nightrate.domain.picture import PictureWish
from nightrate.domain.schema import Form
from nightrate.errors import BadRequest, Refused

_TEXT_ONLY = "Send text parts only."
_NO_TOOLS = "Leave it out: no tools are run."
_NO_MEDIA = "Leave it out: answers are text."

UNSERVED: Final[dict[type, dict[str, str]]] = {
    GenerateContentRequest: {"tool_config": _NO_TOOLS},
    Part: {
        "inline_data": _TEXT_ONLY,
        "file_data": _TEXT_ONLY,
        "function_call": _TEXT_ONLY,
        "function_response": _TEXT_ONLY,
        "executable_code": _TEXT_ONLY,
        "code_execution_result": _TEXT_ONLY,
        "tool_call": _TEXT_ONLY,
        "tool_response": _TEXT_ONLY,
    },
    GenerationConfig: {
        "response_logprobs": "Leave it out: no log probabilities are given.",
        "logprobs": "Leave it out: no log probabilities are given.",
        "speech_config": _NO_MEDIA,
        "enable_enhanced_civic_answers": "Leave it out.",
        "enable_affective_dialog": _NO_MEDIA,
        "translation_config": _NO_MEDIA,
        "audio_transcription_config": _NO_MEDIA,
    },
}
"""By shape and member: what to do instead. A member that is false or empty asks for nothing."""

_Kind = GenerateContentRequest | GenerationConfig | Part


class _Gate:
    """Lets a value pass that asks for nothing unserved, in one comparison."""

    def __init__(self, kind: type[_Kind]) -> None:
        wire = {member.name: member.encode_name for member in structs.fields(kind)}
        self._remedies = {name: (wire[name], text) for name, text in UNSERVED[kind].items()}
        self._members = attrgetter(*self._remedies)
        # A getter of one member gives that alone.
        self._nothing = (None,) * len(self._remedies) if len(self._remedies) > 1 else None

    def check(self, value: _Kind) -> None:
        """Refuse a value that asks for something in the table."""
        if self._members(value) != self._nothing:
            for name, (wire_name, remedy) in self._remedies.items():
                if getattr(value, name):
                    raise unserved(wire_name, remedy)


_REQUEST_GATE = _Gate(GenerateContentRequest)
_CONFIG_GATE = _Gate(GenerationConfig)
_PART_GATE = _Gate(Part)


def _remedies() -> Remedies:
    into_config = {
        member.encode_name: 'Move it inside "generationConfig".'
        for member in structs.fields(GenerationConfig)
    }
    out_of_config = {
        member.encode_name: 'Move it up, beside "contents".'
        for member in structs.fields(GenerateContentRequest)
    }
    use_contents = 'Use "contents".'
    return {
        GenerateContentRequest: {
            **into_config,
            "config": 'Use "generationConfig".',
            "systemInstructions": 'Use "systemInstruction".',
            "systemPrompt": 'Use "systemInstruction".',
            "content": use_contents,
            "messages": use_contents,
            "prompt": use_contents,
        },
        GenerationConfig: {
            **out_of_config,
            "maxTokens": 'Use "maxOutputTokens".',
            "stop": 'Use "stopSequences".',
        },
    }


REMEDIES: Final = _remedies()
_REQUEST: Final = Body(GenerateContentRequest, REMEDIES)

_ROLES: Final[dict[str | None, Literal["user", "model"]]] = {
    None: "user",
    "": "user",
    "user": "user",
    "function": "user",
    "model": "model",
}
_SYSTEM_ROLE = "system"
_CACHE = re.compile(r"(?:cachedContents/)?([A-Za-z0-9._~@-]{1,128})")
_BESIDE_CACHE = (
    "CachedContent can not be used with GenerateContent request setting system_instruction, tools"
    " or tool_config. Move these into the cached content."
)


def parse_prompt(body: bytes, model: str) -> Prompt:
    """Read the body of a live ``:generateContent``.

    Args:
        body: JSON in either spelling, read leniently.
        model: the model in the path, without ``models/``.

    Raises:
        BadRequest: it is malformed or a value is wrong.
        NotSupported: it asks for something this server does not do.
    """
    return _REQUEST.make(body, lambda request: prompt_of(request, model))


def prompt_from_tree(tree: object, model: str, at: str = "", *, whole: bool = True) -> Prompt:
    """Read a decoded request in either spelling; ``at`` is its path, for messages."""
    return _REQUEST.make_of_tree(tree, lambda request: prompt_of(request, model, whole=whole), at)


def prompt_of(request: GenerateContentRequest, model: str, *, whole: bool = True) -> Prompt:
    """Make the prompt of a typed request, or refuse with the camelCase path of the field.

    Args:
        request: the request.
        model: the model of the call, without ``models/``.
        whole: whether it must have turns; the beginning of other requests need not. One that
            continues a cached content need not have any either: those of that one may do.
    """
    cache = _cache_of(request) if request.cached_content else None
    _REQUEST_GATE.check(request)
    if request.model and bare_model(request.model) != model:
        raise wrong("model", f'"{quoted(request.model)}" is not the model of this call, "{model}".')
    if request.safety_settings:
        check_safety(request.safety_settings)
    sampling, form, candidates = DEFAULT_SAMPLING, None, 1
    if request.generation_config is not None:
        sampling, form = _settings(request.generation_config)
        candidates = request.generation_config.candidate_count or 1
    needs_turns = whole and cache is None
    system, messages = _turns(request.contents) if request.contents or needs_turns else (None, ())
    instruction = request.system_instruction
    if instruction is not None:
        first = _instruction(instruction)
        system = f"{first}\n{system}" if first and system else first or system
    if cache is not None and system:
        raise wrong("contents" if instruction is None else "systemInstruction", _BESIDE_CACHE)
    return Prompt(
        messages=messages,
        system=system,
        sampling=sampling,
        form=form,
        picture=_picture(request.generation_config, model, form),
        candidates=candidates,
        search=search_of(request.tools) if request.tools else None,
        cache=cache,
    )


def bare_model(name: str) -> str:
    """Strip the collection from a model's name."""
    return name.removeprefix("models/").removeprefix("tunedModels/")


def _cache_of(request: GenerateContentRequest) -> str:
    """Give the id of the cached content that a request continues."""
    found = cache_id(request.cached_content or "", "cachedContent")
    if request.tools:
        raise wrong("tools", _BESIDE_CACHE)
    if request.tool_config:
        raise wrong("toolConfig", _BESIDE_CACHE)
    return found


def cache_id(reference: str, path: str) -> str:
    """Read a reference to a cached content.

    Raises:
        BadRequest: it is none.
    """
    found = _CACHE.fullmatch(reference)
    if found is None:
        why = f'"{quoted(reference)}" is no name such as "cachedContents/abc123".'
        raise wrong(path, why)
    return found[1]


def _settings(config: GenerationConfig) -> tuple[Sampling, Form | None]:
    try:
        _CONFIG_GATE.check(config)
        return sampling_of(config), form_of(config)
    except Refused as error:
        raise within(error, "generationConfig") from error


def _picture(config: GenerationConfig | None, model: str, form: Form | None) -> PictureWish | None:
    try:
        picture = picture_of(config, model)
    except Refused as error:
        raise within(error, "generationConfig") from error
    if picture is not None and form is not None:
        raise wrong(form.field, "an answer with a picture has no form.")
    return picture


def _turns(
    contents: list[Content | str] | Content | str | None,
) -> tuple[str | None, tuple[Message, ...]]:
    """Give the text of system turns, which old clients send, and the conversation."""
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
            role, text = _turn(content)
        except Refused as error:
            raise within(error, f"contents[{index}]" if places else "contents") from error
        if text is None:
            continue
        if role is None:
            system = text if system is None else f"{system}\n{text}"
        else:
            messages.append(Message(role, text))
    if not messages:
        raise wrong("contents", "no turn of the user has any text.")
    return system, tuple(messages)


def _turn(content: Content | str) -> tuple[Literal["user", "model"] | None, str | None]:
    """Give the role, None for the system's, and the text, None when there are only thoughts."""
    if isinstance(content, str):
        return "user", content
    role = _ROLES.get(content.role)
    if role is None and content.role != _SYSTEM_ROLE:
        raise wrong("role", f'"{quoted(content.role or "")}" is neither "user" nor "model".')
    if not content.parts and content.parts != "":
        raise wrong("parts", "it is missing or empty.")
    return role, _text(content.parts)


def _instruction(instruction: Content | str) -> str | None:
    if isinstance(instruction, str):
        return instruction or None
    if not instruction.parts:
        return None
    try:
        return _text(instruction.parts) or None
    except Refused as error:
        raise within(error, "systemInstruction") from error


def _text(parts: Any) -> str | None:
    """Join the text of parts; thoughts are no part of what was said."""
    if not isinstance(parts, list):
        try:
            return _piece(parts)
        except Refused as error:
            raise within(error, "parts") from error
    pieces: list[str] = []
    for index, part in enumerate(parts):
        try:
            piece = _piece(part)
        except Refused as error:
            raise within(error, f"parts[{index}]") from error
        if piece is not None:
            pieces.append(piece)
    return "".join(pieces) if pieces else None


def _piece(part: Part | str) -> str | None:
    if isinstance(part, str):
        return part
    _PART_GATE.check(part)
    if part.thought:
        return None
    if part.text is None and part.thought_signature is None:
        raise BadRequest("it has no data.")
    return part.text
