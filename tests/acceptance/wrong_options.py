"""Values that are wrong, by the path that names them: `test_options` sends each on every way."""

from __future__ import annotations

from typing import Any

from tests.acceptance.options import HI

_P = "contents[0].parts[0]"
_F = "tools[0].functionDeclarations[0]"
_T = "toolConfig"
_C = "generationConfig"


def _part(**members: Any) -> dict[str, Any]:
    return {"contents": [{"parts": [{"text": "Say hello.", **members}]}]}


def _only(**members: Any) -> dict[str, Any]:
    return {"contents": [{"parts": [members]}, {"parts": [{"text": "Go on."}]}]}


def _declared(**members: Any) -> dict[str, Any]:
    return {**HI, "tools": [{"functionDeclarations": [{"name": "weather", **members}]}]}


def _tooled(**members: Any) -> dict[str, Any]:
    return {**HI, _T: members}


def _config(**settings: Any) -> dict[str, Any]:
    return {**HI, _C: settings}


def _nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(levels):
        schema = {"type": "ARRAY", "items": schema}
    return _config(responseMimeType="application/json", responseSchema=schema)


_RESPONSE = {"name": "weather", "response": {}}

WRONG: dict[str, dict[str, Any]] = {
    f"{_P}.mediaResolution.level": _part(mediaResolution={"level": "HUGE"}),
    f"{_P}.mediaResolution.size": _part(mediaResolution={"size": 1}),
    f"{_P}.videoMetadata.fps": _part(videoMetadata={"fps": "many"}),
    f"{_P}.videoMetadata.startOffset": _part(videoMetadata={"startOffset": 1}),
    f"{_P}.videoMetadata.endOffset": _part(videoMetadata={"endOffset": "late"}),
    f"{_P}.executableCode.language": _only(executableCode={"language": "RUBY", "code": "p 1"}),
    f"{_P}.codeExecutionResult.outcome": _only(codeExecutionResult={"outcome": "OUTCOME_ODD"}),
    f"{_P}.functionResponse.scheduling": _only(
        functionResponse={**_RESPONSE, "scheduling": "SOON"}
    ),
    f"{_F}.name": _declared(name="two words"),
    f"{_F}.behavior": _declared(behavior="FAST"),
    f"{_F}.response": _declared(response="a text"),
    f"{_F}.response.type": _declared(response={"type": "TEXT"}),
    "tools[0].fooBar": {**HI, "tools": [{"fooBar": {}}]},
    "tools[0].googleSearchRetrieval.dynamicRetrievalConfig.mode": {
        **HI,
        "tools": [{"googleSearchRetrieval": {"dynamicRetrievalConfig": {"mode": "MODE_ODD"}}}],
    },
    f"{_T}.retrievalConfig.city": _tooled(retrievalConfig={"city": "Rome"}),
    f"{_T}.retrievalConfig.latLng": _tooled(retrievalConfig={"latLng": [41.9, 12.5]}),
    f"{_T}.retrievalConfig.latLng.latitude": _tooled(
        retrievalConfig={"latLng": {"latitude": "north"}}
    ),
    f"{_T}.includeServerSideToolInvocations": _tooled(includeServerSideToolInvocations="yes"),
    f"{_C}.responseFormat": _config(responseFormat=[]),
    f"{_C}.imageConfig": _config(responseModalities=["IMAGE"], imageConfig=[]),
    f"{_C}.speechConfig": _config(speechConfig=[]),
    f"{_C}.responseSchema.items": _nested(200),
    "contents[0].parts[0].partMetadata": _part(partMetadata=[]),
}
"""By the path of the field, as the client spelled it."""
