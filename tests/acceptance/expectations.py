"""What shows, in an answer of the echo engine, that an option was honoured or changed nothing.

The engine gives the last text back and counts four characters as a token, so that whatever the
model would have read shows in the count of the prompt.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

from nightrate.dialects.gemini_option import Option, Treatment
from tests.acceptance.options_of_schemas import KEEPS

Answers = Mapping[str, Any]
"""The answers to all samples by the path of the option, and the plainest one without a path."""

Shows = Callable[[Any, Answers], bool]
"""Tells whether an answer shows an option, beside those that others got."""

SCHEMAS = "generationConfig.responseSchema.", "generationConfig.responseJsonSchema."

_P = "contents[].parts[]"
_F = "tools[].functionDeclarations"
_S = "tools[].googleSearch"
_T = "toolConfig.functionCallingConfig"
_C = "generationConfig"
_CALL = 'I call weather with {"city":"Rome"}.'


def parts(answer: Any) -> Any:
    """Give the parts of the first candidate."""
    return answer["candidates"][0]["content"]["parts"]


def text(answer: Any) -> str:
    return str(parts(answer)[0]["text"])


def _same(path: str = "") -> Shows:
    return lambda answer, answers: bool(answer == answers[path])


def _says(words: str) -> Shows:
    return lambda answer, _: text(answer) == words


def _reads(*texts: str) -> Shows:
    """Count what was read: these texts, each of a turn of its own."""
    tokens = sum(-(-len(one) // 4) for one in texts)
    return lambda answer, _: answer["usageMetadata"]["promptTokenCount"] == tokens


def _remembers(*texts: str) -> Shows:
    return _reads("Hello.", *texts, "Go on.")


def _calls(name: str, *arguments: str) -> Shows:
    def shows(answer: Any, _: Answers) -> bool:
        (part,) = parts(answer)
        return part["functionCall"]["name"] == name and [*part["functionCall"]["args"]] == [
            *arguments
        ]

    return shows


def _has(name: str) -> Shows:
    return lambda answer, _: name in answer["candidates"][0]


def _is_json(answer: Any, _: Answers) -> bool:
    json.loads(text(answer))
    return True


def _draws(width: int, height: int) -> Shows:
    def shows(answer: Any, _: Answers) -> bool:
        said, drawn = parts(answer)
        picture = base64.b64decode(drawn["inlineData"]["data"])
        return "text" in said and struct.unpack(">II", picture[16:24]) == (width, height)

    return shows


_ASKED = _P + ".functionCall"
_TOLD_BY = _P + ".functionResponse"
_CODE = _P + ".executableCode"
_PRINTED = _P + ".codeExecutionResult"
_LEFT = _says('"left"')

SHOWN: dict[str, Shows] = {
    **dict.fromkeys(("contents", "contents[].role", "contents[].parts", "model"), _same()),
    f"{_P}.text": _says("Say hello.Twice."),
    _ASKED: _remembers(_CALL),
    f"{_ASKED}.name": _remembers("I call get_weather with {}."),
    f"{_ASKED}.args": _remembers(_CALL),
    _TOLD_BY: _remembers(_CALL, 'weather returned {"sky":"clear"}.'),
    f"{_TOLD_BY}.name": _same(_TOLD_BY),
    f"{_TOLD_BY}.response": _remembers(_CALL, 'weather returned {"sky":"full of stars"}.'),
    _CODE: _remembers("```python\nprint(1)\n```\n"),
    f"{_CODE}.code": _remembers("```python\nprint('once upon')\n```\n"),
    _PRINTED: _remembers("```\n1\n```\n"),
    f"{_PRINTED}.outcome": _remembers("The code failed:\n```\n1\n```\n"),
    f"{_PRINTED}.output": _remembers("```\nonce upon\n```\n"),
    f"{_P}.toolCall": _remembers('I call look with {"at":"sky"}.'),
    f"{_P}.toolCall.toolName": _remembers("I call look_up with {}."),
    f"{_P}.toolCall.toolType": _remembers("I call look_up with {}."),
    f"{_P}.toolCall.args": _remembers('I call look with {"at":"stars"}.'),
    f"{_P}.toolResponse": _remembers("I call look with {}.", "look returned {}."),
    f"{_P}.toolResponse.toolType": _same(f"{_P}.toolResponse"),
    f"{_P}.toolResponse.response": _remembers(
        "I call look with {}.", 'look returned {"sky":"clear"}.'
    ),
    f"{_P}.thought": _same(),
    **dict.fromkeys(
        ("systemInstruction", "systemInstruction.parts", "systemInstruction.parts[].text"),
        _reads("Be brief.", "Say hello."),
    ),
    "cachedContent": _reads("The name of the cat is Tom.", "Say hello."),
    "tools": _same(),
    _F: _calls("weather", "city"),
    f"{_F}[].name": _calls("get_weather", "city"),
    f"{_F}[].description": _calls("weather", "city"),
    f"{_F}[].parameters": _calls("weather", "city"),
    f"{_F}[].parametersJsonSchema": _calls("weather", "city"),
    _S: _has("groundingMetadata"),
    f"{_S}.searchTypes": _same(_S),
    f"{_S}.searchTypes.webSearch": _same(_S),
    "tools[].googleSearchRetrieval": _same(_S),
    "toolConfig": _same(),
    _T: _same(),
    f"{_T}.mode": _calls("weather", "city"),
    f"{_T}.allowedFunctionNames": _calls("clock"),
    _C: _same(),
    f"{_C}.candidateCount": lambda answer, _: len(answer["candidates"]) == 3,
    f"{_C}.maxOutputTokens": lambda answer, _: (
        (text(answer), answer["candidates"][0]["finishReason"]) == ("Say hell", "MAX_TOKENS")
    ),
    f"{_C}.stopSequences": _says("Say h"),
    f"{_C}.responseLogprobs": _has("avgLogprobs"),
    f"{_C}.logprobs": lambda answer, _: (
        "topCandidates" in answer["candidates"][0]["logprobsResult"]
    ),
    f"{_C}.responseMimeType": _is_json,
    f"{_C}.responseSchema": _LEFT,
    f"{_C}.responseJsonSchema": _LEFT,
    f"{_C}._responseJsonSchema": _LEFT,
    f"{_C}.responseFormat": _LEFT,
    f"{_C}.responseFormat.text": _LEFT,
    f"{_C}.responseFormat.text.mimeType": _is_json,
    f"{_C}.responseFormat.text.schema": _LEFT,
    f"{_C}.responseModalities": _draws(1024, 1024),
    f"{_C}.imageConfig": _draws(1024, 1024),
    f"{_C}.imageConfig.aspectRatio": lambda answer, answers: (
        parts(answer) != parts(answers[f"{_C}.imageConfig"])
    ),
    f"{_C}.imageConfig.imageSize": _draws(512, 512),
}

HIDDEN = {
    # The engine draws no tokens by chance,
    *(f"{_C}.{name}" for name in ("temperature", "topP", "topK", "seed")),
    *(f"{_C}.{name}" for name in ("presencePenalty", "frequencyPenalty")),
    # has no use for ids,
    *(f"{_P}.{name}.id" for name in ("functionCall", "functionResponse", "toolCall")),
    f"{_P}.toolResponse.id",
    # and no page is named.
    "tools[].urlContext",
}
"""Options that are honoured, and of which this engine's answers show nothing."""


def _apart(path: str, *, same: bool) -> Shows:
    return lambda answer, answers: bool((answer == answers[path]) is same)


SHOWN_BY_VECTORS: dict[str, Shows] = {
    **dict.fromkeys(
        ("content", "contents", "model", "content.parts[].thought", "embedContentConfig"), _same()
    ),
    "content.parts": _same(),
    "content.parts[].text": _apart("", same=False),
    "title": _apart("", same=False),
    "outputDimensionality": lambda answer, _: len(answer["embedding"]["values"]) == 64,
    "embedContentConfig.title": _same("title"),
    "embedContentConfig.outputDimensionality": _same("outputDimensionality"),
}
HIDDEN_BY_VECTORS = {"taskType", "embedContentConfig.taskType", "embedContentConfig.autoTruncate"}


def shows(option: Option, shown: Mapping[str, Shows], paths: Answers) -> Shows | None:
    """Give what an answer must show of an option; None where there is nothing to be told.

    An option that changes nothing is answered as is the sample of the row above it.
    """
    if option.treatment is Treatment.HONOURED:
        if option.path.startswith(SCHEMAS):
            return lambda answer, _: keeps(option, answer)
        return shown.get(option.path)
    for at in SCHEMAS:
        if option.path.startswith(at):
            return _same(f"{at}type")
    above = option.path.rpartition(".")[0].removesuffix("[]")
    return _same(above if above in paths else "")


def keeps(option: Option, answer: Any) -> bool:
    """Tell whether an answer keeps the keyword of a schema."""
    return KEEPS[option.path.rpartition(".")[2]](json.loads(text(answer)))
