"""A request for every option: what `test_options` sends live, inline and in a file."""

from __future__ import annotations

from typing import Any

HI: dict[str, Any] = {"contents": [{"parts": [{"text": "Say hello."}]}]}

_CITY = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
_JSON_CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_CHOICE = {"type": "STRING", "enum": ["left", "right"]}
_JSON_CHOICE = {"type": "string", "enum": ["left", "right"]}
_SAFETY = {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
_CALL = {"functionCall": {"name": "weather", "args": {"city": "Rome"}}}
_PNG = {"mimeType": "image/png", "data": "iVBORw0KGgo="}


def _config(**settings: Any) -> dict[str, Any]:
    return {**HI, "generationConfig": settings}


def _part(**members: Any) -> dict[str, Any]:
    """A second part, beside a text."""
    return {"contents": [{"role": "user", "parts": [{"text": "Say hello."}, members]}]}


def _marked(**members: Any) -> dict[str, Any]:
    """A text with something beside it in the same part."""
    return {"contents": [{"parts": [{"text": "Say hello.", **members}]}]}


def _earlier(*parts: Any) -> dict[str, Any]:
    """A conversation with turns in between."""
    turns = [
        {"role": "model" if at % 2 == 0 else "user", "parts": [part]}
        for at, part in enumerate(parts)
    ]
    last = [{"role": "user", "parts": [{"text": "Go on."}]}]
    return {"contents": [{"role": "user", "parts": [{"text": "Hello."}]}, *turns, *last]}


def _calling(mode: str = "ANY", allowed: Any = None, **declaration: Any) -> dict[str, Any]:
    config = {"mode": mode, **({"allowedFunctionNames": allowed} if allowed else {})}
    function = {"name": "weather", "parameters": _CITY, **declaration}
    function = {name: value for name, value in function.items() if value is not None}
    return {
        **HI,
        "tools": [{"functionDeclarations": [function]}],
        "toolConfig": {"functionCallingConfig": config},
    }


def _formed(name: str, form: Any, mime_type: str = "application/json") -> dict[str, Any]:
    return _config(responseMimeType=mime_type, **{name: form})


def _drawn(**settings: Any) -> dict[str, Any]:
    return _config(responseModalities=["TEXT", "IMAGE"], imageConfig=settings)


_P = "contents[].parts[]"
_F = "tools[].functionDeclarations"
_C = "generationConfig"

SAMPLES: dict[str, dict[str, Any]] = {
    "contents": {"contents": "Say hello."},
    "contents[].role": {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]},
    "contents[].parts": {"contents": {"parts": {"text": "Say hello."}}},
    f"{_P}.text": _part(text="Twice."),
    f"{_P}.inlineData": _part(inlineData=_PNG),
    f"{_P}.fileData": _part(fileData={"fileUri": "files/abc"}),
    f"{_P}.functionCall": _earlier(_CALL),
    f"{_P}.functionResponse": _earlier(
        _CALL, {"functionResponse": {"name": "weather", "response": {"sky": "clear"}}}
    ),
    f"{_P}.executableCode": _earlier(
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
    ),
    f"{_P}.codeExecutionResult": _earlier(
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    ),
    f"{_P}.toolCall": _earlier({"toolCall": {"toolName": "look", "args": {"at": "sky"}}}),
    f"{_P}.toolResponse": _earlier(
        {"toolCall": {"toolName": "look"}}, {"toolResponse": {"toolType": "look", "response": {}}}
    ),
    f"{_P}.thought": _part(text="Hm.", thought=True),
    f"{_P}.thoughtSignature": _marked(thoughtSignature="c2lnbg=="),
    f"{_P}.videoMetadata": _marked(videoMetadata={"fps": 1}),
    f"{_P}.mediaResolution": _marked(mediaResolution={"level": "MEDIA_RESOLUTION_LOW"}),
    f"{_P}.partMetadata": _marked(partMetadata={"note": "n"}),
    f"{_P}.mediaProcessing": _marked(mediaProcessing={"a": 1}),
    f"{_P}.audioTranscription": _marked(audioTranscription={"a": 1}),
    f"{_P}.speechMetadata": _marked(speechMetadata={"a": 1}),
    f"{_P}.documentMetadata": _marked(documentMetadata={"a": 1}),
    f"{_P}.spreadsheetMetadata": _marked(spreadsheetMetadata={"a": 1}),
    f"{_P}.audioMetadata": _marked(audioMetadata={"a": 1}),
    "systemInstruction": {**HI, "systemInstruction": {"parts": [{"text": "Be brief."}]}},
    "model": {**HI, "model": "models/gemini-2.5-flash"},
    "safetySettings": {**HI, "safetySettings": [_SAFETY]},
    "safetySettings[].category": {**HI, "safetySettings": [{"category": _SAFETY["category"]}]},
    "safetySettings[].threshold": {**HI, "safetySettings": [{**_SAFETY, "threshold": "OFF"}]},
    "labels": {**HI, "labels": {"team": "a"}},
    "store": {**HI, "store": False},
    "serviceTier": {**HI, "serviceTier": "flex"},
    "continuationToken": {**HI, "continuationToken": "t"},
    "tools": {**HI, "tools": [{}]},
    _F: _calling(),
    f"{_F}[].name": _calling(name="get_weather"),
    f"{_F}[].description": _calling(description="Tells the weather."),
    f"{_F}[].parameters": _calling(parameters=_CITY),
    f"{_F}[].parametersJsonSchema": _calling(parameters=None, parametersJsonSchema=_JSON_CITY),
    f"{_F}[].response": _calling(response=_CITY),
    f"{_F}[].responseJsonSchema": _calling(responseJsonSchema=_JSON_CITY),
    f"{_F}[].behavior": _calling(behavior="BLOCKING"),
    "tools[].googleSearch": {**HI, "tools": [{"googleSearch": {}}]},
    "tools[].googleSearchRetrieval": {**HI, "tools": [{"googleSearchRetrieval": {}}]},
    "tools[].codeExecution": {**HI, "tools": [{"codeExecution": {}}]},
    "tools[].urlContext": {**HI, "tools": [{"urlContext": {}}]},
    "tools[].googleMaps": {**HI, "tools": [{"googleMaps": {}}]},
    "tools[].fileSearch": {**HI, "tools": [{"fileSearch": {}}]},
    "tools[].computerUse": {**HI, "tools": [{"computerUse": {}}]},
    "tools[].mcpServers": {**HI, "tools": [{"mcpServers": [{"name": "a"}]}]},
    "toolConfig": _calling("NONE"),
    "toolConfig.functionCallingConfig": _calling("NONE"),
    "toolConfig.functionCallingConfig.mode": _calling("ANY"),
    "toolConfig.functionCallingConfig.allowedFunctionNames": _calling(allowed=["weather"]),
    "toolConfig.retrievalConfig": {**HI, "toolConfig": {"retrievalConfig": {"languageCode": "en"}}},
    "toolConfig.includeServerSideToolInvocations": {
        **HI,
        "toolConfig": {"includeServerSideToolInvocations": True},
    },
    _C: _config(),
    f"{_C}.temperature": _config(temperature=0),
    f"{_C}.topP": _config(topP=0.5, seed=1),
    f"{_C}.topK": _config(topK=3, seed=1),
    f"{_C}.candidateCount": _config(candidateCount=3, seed=1),
    f"{_C}.maxOutputTokens": _config(maxOutputTokens=2),
    f"{_C}.stopSequences": _config(stopSequences=["e", "l"]),
    f"{_C}.seed": _config(seed=7),
    f"{_C}.presencePenalty": _config(presencePenalty=1.5),
    f"{_C}.frequencyPenalty": _config(frequencyPenalty=1.5),
    f"{_C}.responseLogprobs": _config(responseLogprobs=True),
    f"{_C}.logprobs": _config(responseLogprobs=True, logprobs=3),
    f"{_C}.responseMimeType": _config(responseMimeType="application/json"),
    f"{_C}.responseSchema": _formed("responseSchema", _CHOICE),
    f"{_C}.responseJsonSchema": _formed("responseJsonSchema", _JSON_CHOICE),
    f"{_C}._responseJsonSchema": _formed("_responseJsonSchema", _JSON_CHOICE),
    f"{_C}.responseFormat": _config(
        responseFormat={"text": {"mimeType": "APPLICATION_JSON", "schema": _JSON_CHOICE}}
    ),
    f"{_C}.responseModalities": _config(responseModalities=["TEXT", "IMAGE"]),
    f"{_C}.imageConfig": _drawn(),
    f"{_C}.imageConfig.aspectRatio": _drawn(aspectRatio="16:9"),
    f"{_C}.imageConfig.imageSize": _drawn(imageSize="512"),
    f"{_C}.mediaResolution": _config(mediaResolution="MEDIA_RESOLUTION_LOW"),
    f"{_C}.thinkingConfig": _config(thinkingConfig={}),
    f"{_C}.thinkingConfig.includeThoughts": _config(thinkingConfig={"includeThoughts": True}),
    f"{_C}.thinkingConfig.thinkingBudget": _config(thinkingConfig={"thinkingBudget": 0}),
    f"{_C}.thinkingConfig.thinkingLevel": _config(thinkingConfig={"thinkingLevel": "LOW"}),
    f"{_C}.speechConfig": _config(speechConfig={"languageCode": "en"}),
    f"{_C}.enableEnhancedCivicAnswers": _config(enableEnhancedCivicAnswers=True),
    f"{_C}.enableAffectiveDialog": _config(enableAffectiveDialog=True),
    f"{_C}.translationConfig": _config(translationConfig={"a": 1}),
    f"{_C}.audioTranscriptionConfig": _config(audioTranscriptionConfig={"a": 1}),
}
"""By the path of the option; that of a cached content is made for each server."""

_DOCUMENT = {"parts": [{"text": "A night train to Rome."}]}


def _embedded(**settings: Any) -> dict[str, Any]:
    return {"content": _DOCUMENT, "embedContentConfig": settings}


EMBEDDING_SAMPLES: dict[str, dict[str, Any]] = {
    "content": {"content": _DOCUMENT},
    "contents": {"contents": [_DOCUMENT]},
    "taskType": {"content": _DOCUMENT, "taskType": "SEMANTIC_SIMILARITY"},
    "title": {"content": _DOCUMENT, "taskType": "RETRIEVAL_DOCUMENT", "title": "Trains"},
    "outputDimensionality": {"content": _DOCUMENT, "outputDimensionality": 64},
    "model": {"content": _DOCUMENT, "model": "models/gemini-embedding-001"},
    "embedContentConfig": _embedded(),
    "embedContentConfig.taskType": _embedded(taskType="CLUSTERING"),
    "embedContentConfig.title": _embedded(taskType="RETRIEVAL_DOCUMENT", title="Trains"),
    "embedContentConfig.outputDimensionality": _embedded(outputDimensionality=64),
    "embedContentConfig.autoTruncate": _embedded(autoTruncate=False),
    "embedContentConfig.documentOcr": _embedded(documentOcr=True),
    "embedContentConfig.audioTrackExtraction": _embedded(audioTrackExtraction=True),
}
