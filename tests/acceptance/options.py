"""A request for every option: what `test_options` sends live, inline and in a file."""

from __future__ import annotations

from typing import Any

from nightrate.dialects.spelling import snake
from tests.acceptance.options_of_schemas import SCHEMA_SAMPLES

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


def _answered(**members: Any) -> dict[str, Any]:
    """A conversation with a call and what the function answered."""
    answer = {"name": "weather", "response": {"sky": "clear"}, **members}
    return _earlier(_CALL, {"functionResponse": answer})


def _instructed(*parts: Any, **members: Any) -> dict[str, Any]:
    return {**HI, "systemInstruction": {"parts": list(parts), **members}}


def _searching(name: str = "googleSearch", **options: Any) -> dict[str, Any]:
    return {**HI, "tools": [{name: options}]}


def _placed(**place: Any) -> dict[str, Any]:
    return {**HI, "toolConfig": {"retrievalConfig": place}}


def _spoken(**settings: Any) -> dict[str, Any]:
    return _config(speechConfig=settings)


def _worded(**form: Any) -> dict[str, Any]:
    return _config(responseFormat={"text": form})


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
_S = "tools[].googleSearch"
_R = "tools[].googleSearchRetrieval.dynamicRetrievalConfig"
_C = "generationConfig"
_I = "systemInstruction.parts[]"
_PLACE = "toolConfig.retrievalConfig"
_VOICE = {"prebuiltVoiceConfig": {"voiceName": "Kore"}}

SAMPLES: dict[str, dict[str, Any]] = {
    "contents": {"contents": "Say hello."},
    "contents[].role": {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]},
    "contents[].parts": {"contents": {"parts": {"text": "Say hello."}}},
    f"{_P}.text": _part(text="Twice."),
    f"{_P}.inlineData": _part(inlineData=_PNG),
    f"{_P}.inlineData.mimeType": _part(inlineData={**_PNG, "mimeType": "image/webp"}),
    f"{_P}.inlineData.data": _part(inlineData=_PNG),
    f"{_P}.inlineData.displayName": _part(inlineData={**_PNG, "displayName": "dot.png"}),
    f"{_P}.fileData": _part(fileData={"fileUri": "files/abc"}),
    f"{_P}.fileData.fileUri": _part(fileData={"fileUri": "files/abc"}),
    f"{_P}.fileData.mimeType": _part(fileData={"fileUri": "files/abc", "mimeType": "image/png"}),
    f"{_P}.fileData.displayName": _part(fileData={"fileUri": "files/abc", "displayName": "a"}),
    f"{_P}.functionCall": _earlier(_CALL),
    f"{_P}.functionCall.name": _earlier({"functionCall": {"name": "get_weather"}}),
    f"{_P}.functionCall.args": _earlier(_CALL),
    f"{_P}.functionCall.id": _earlier({"functionCall": {**_CALL["functionCall"], "id": "c1"}}),
    f"{_P}.functionCall.partialArgs": _earlier({"functionCall": {"name": "f", "partialArgs": [1]}}),
    f"{_P}.functionCall.willContinue": _earlier(
        {"functionCall": {"name": "f", "willContinue": True}}
    ),
    f"{_P}.functionResponse": _answered(),
    f"{_P}.functionResponse.name": _answered(),
    f"{_P}.functionResponse.response": _answered(response={"sky": "full of stars"}),
    f"{_P}.functionResponse.id": _answered(id="c1"),
    f"{_P}.functionResponse.parts": _answered(parts=[{"inlineData": _PNG}]),
    f"{_P}.functionResponse.scheduling": _answered(scheduling="SILENT"),
    f"{_P}.functionResponse.willContinue": _answered(willContinue=False),
    f"{_P}.executableCode": _earlier({"executableCode": {"code": "print(1)"}}),
    f"{_P}.executableCode.language": _earlier(
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
    ),
    f"{_P}.executableCode.code": _earlier({"executableCode": {"code": "print('once upon')"}}),
    f"{_P}.executableCode.id": _earlier({"executableCode": {"code": "print(1)", "id": "e1"}}),
    f"{_P}.codeExecutionResult": _earlier({"codeExecutionResult": {"output": "1"}}),
    f"{_P}.codeExecutionResult.outcome": _earlier(
        {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "1"}}
    ),
    f"{_P}.codeExecutionResult.output": _earlier({"codeExecutionResult": {"output": "once upon"}}),
    f"{_P}.codeExecutionResult.id": _earlier({"codeExecutionResult": {"output": "1", "id": "e1"}}),
    f"{_P}.toolCall": _earlier({"toolCall": {"toolName": "look", "args": {"at": "sky"}}}),
    f"{_P}.toolCall.toolName": _earlier({"toolCall": {"toolName": "look_up"}}),
    f"{_P}.toolCall.toolType": _earlier({"toolCall": {"toolType": "look_up"}}),
    f"{_P}.toolCall.args": _earlier({"toolCall": {"toolName": "look", "args": {"at": "stars"}}}),
    f"{_P}.toolCall.id": _earlier({"toolCall": {"toolName": "look", "id": "c1"}}),
    f"{_P}.toolResponse": _earlier(
        {"toolCall": {"toolName": "look"}}, {"toolResponse": {"toolType": "look", "response": {}}}
    ),
    f"{_P}.toolResponse.toolType": _earlier(
        {"toolCall": {"toolName": "look"}}, {"toolResponse": {"toolType": "look"}}
    ),
    f"{_P}.toolResponse.response": _earlier(
        {"toolCall": {"toolName": "look"}},
        {"toolResponse": {"toolType": "look", "response": {"sky": "clear"}}},
    ),
    f"{_P}.toolResponse.id": _earlier(
        {"toolCall": {"toolName": "look", "id": "c1"}},
        {"toolResponse": {"toolType": "look", "id": "c1"}},
    ),
    f"{_P}.thought": _part(text="Hm.", thought=True),
    f"{_P}.thoughtSignature": _marked(thoughtSignature="c2lnbg=="),
    f"{_P}.videoMetadata": _marked(videoMetadata={"fps": 1}),
    f"{_P}.videoMetadata.startOffset": _marked(videoMetadata={"startOffset": "1.5s"}),
    f"{_P}.videoMetadata.endOffset": _marked(videoMetadata={"endOffset": "9s"}),
    f"{_P}.videoMetadata.fps": _marked(videoMetadata={"fps": 0.5}),
    f"{_P}.mediaResolution": _marked(mediaResolution={"level": "MEDIA_RESOLUTION_LOW"}),
    f"{_P}.mediaResolution.level": _marked(mediaResolution={"level": "MEDIA_RESOLUTION_HIGH"}),
    f"{_P}.mediaResolution.numTokens": _marked(mediaResolution={"numTokens": 64}),
    f"{_P}.partMetadata": _marked(partMetadata={"note": "n"}),
    f"{_P}.mediaProcessing": _marked(mediaProcessing={"a": 1}),
    f"{_P}.audioTranscription": _marked(audioTranscription={"a": 1}),
    f"{_P}.speechMetadata": _marked(speechMetadata={"a": 1}),
    f"{_P}.documentMetadata": _marked(documentMetadata={"a": 1}),
    f"{_P}.spreadsheetMetadata": _marked(spreadsheetMetadata={"a": 1}),
    f"{_P}.audioMetadata": _marked(audioMetadata={"a": 1}),
    "systemInstruction": {**HI, "systemInstruction": "Be brief."},
    "systemInstruction.role": _instructed({"text": "Be brief."}, role="system"),
    "systemInstruction.parts": _instructed({"text": "Be brief."}),
    f"{_I}.text": _instructed({"text": "Be "}, {"text": "brief."}),
    f"{_I}.inlineData": _instructed({"inlineData": _PNG}),
    f"{_I}.fileData": _instructed({"fileData": {"fileUri": "files/abc"}}),
    f"{_I}.functionCall": _instructed({"text": "Be brief."}, _CALL),
    f"{_I}.functionResponse": _instructed({"functionResponse": {"name": "weather"}}),
    f"{_I}.toolCall": _instructed({"toolCall": {"toolName": "look"}}),
    f"{_I}.toolResponse": _instructed({"toolResponse": {"toolType": "look"}}),
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
    _S: _searching(),
    f"{_S}.searchTypes": _searching(searchTypes={}),
    f"{_S}.searchTypes.webSearch": _searching(searchTypes={"webSearch": {}}),
    f"{_S}.searchTypes.imageSearch": _searching(searchTypes={"imageSearch": {}}),
    f"{_S}.timeRangeFilter": _searching(timeRangeFilter={"startTime": "2026-01-01T00:00:00Z"}),
    f"{_S}.excludeDomains": _searching(excludeDomains=["example.com"]),
    f"{_S}.blockingConfidence": _searching(blockingConfidence="BLOCK_LOW_AND_ABOVE"),
    "tools[].googleSearchRetrieval": _searching("googleSearchRetrieval"),
    _R: _searching("googleSearchRetrieval", dynamicRetrievalConfig={}),
    f"{_R}.mode": _searching(
        "googleSearchRetrieval", dynamicRetrievalConfig={"mode": "MODE_DYNAMIC"}
    ),
    f"{_R}.dynamicThreshold": _searching(
        "googleSearchRetrieval", dynamicRetrievalConfig={"dynamicThreshold": 0.7}
    ),
    "tools[].codeExecution": {**HI, "tools": [{"codeExecution": {}}]},
    "tools[].urlContext": {**HI, "tools": [{"urlContext": {}}]},
    "tools[].googleMaps": {**HI, "tools": [{"googleMaps": {}}]},
    "tools[].fileSearch": {**HI, "tools": [{"fileSearch": {}}]},
    "tools[].computerUse": {**HI, "tools": [{"computerUse": {}}]},
    "tools[].mcpServers": {**HI, "tools": [{"mcpServers": [{"name": "a"}]}]},
    "toolConfig": _calling("NONE"),
    "toolConfig.functionCallingConfig": _calling("NONE"),
    "toolConfig.functionCallingConfig.mode": _calling("ANY"),
    "toolConfig.functionCallingConfig.allowedFunctionNames": {
        **_calling(allowed=["clock"]),
        "tools": [{"functionDeclarations": [{"name": "weather"}, {"name": "clock"}]}],
    },
    "toolConfig.functionCallingConfig.streamFunctionCallArguments": {
        **HI,
        "toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}},
    },
    _PLACE: _placed(),
    f"{_PLACE}.languageCode": _placed(languageCode="en"),
    f"{_PLACE}.latLng": _placed(latLng={}),
    f"{_PLACE}.latLng.latitude": _placed(latLng={"latitude": 41.9}),
    f"{_PLACE}.latLng.longitude": _placed(latLng={"longitude": -12.5}),
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
    f"{_C}.responseFormat": _worded(mimeType="APPLICATION_JSON", schema=_JSON_CHOICE),
    f"{_C}.responseFormat.text": _worded(mimeType="APPLICATION_JSON", schema=_JSON_CHOICE),
    f"{_C}.responseFormat.text.mimeType": _worded(mimeType="APPLICATION_JSON"),
    f"{_C}.responseFormat.text.schema": _worded(mimeType="APPLICATION_JSON", schema=_JSON_CHOICE),
    f"{_C}.responseFormat.image": _config(responseFormat={"image": {"aspectRatio": "1:1"}}),
    f"{_C}.responseFormat.audio": _config(responseFormat={"audio": {"mimeType": "AUDIO_MP3"}}),
    f"{_C}.responseModalities": _config(responseModalities=["TEXT", "IMAGE"]),
    f"{_C}.imageConfig": _drawn(),
    f"{_C}.imageConfig.aspectRatio": _drawn(aspectRatio="16:9"),
    f"{_C}.imageConfig.imageSize": _drawn(imageSize="512"),
    f"{_C}.mediaResolution": _config(mediaResolution="MEDIA_RESOLUTION_LOW"),
    f"{_C}.thinkingConfig": _config(thinkingConfig={}),
    f"{_C}.thinkingConfig.includeThoughts": _config(thinkingConfig={"includeThoughts": True}),
    f"{_C}.thinkingConfig.thinkingBudget": _config(thinkingConfig={"thinkingBudget": 0}),
    f"{_C}.thinkingConfig.thinkingLevel": _config(thinkingConfig={"thinkingLevel": "LOW"}),
    f"{_C}.speechConfig": _spoken(voiceConfig={}),
    f"{_C}.speechConfig.voiceConfig": _spoken(voiceConfig={"prebuiltVoiceConfig": {}}),
    f"{_C}.speechConfig.voiceConfig.prebuiltVoiceConfig": _spoken(
        voiceConfig={"prebuiltVoiceConfig": {"voiceName": ""}}
    ),
    f"{_C}.speechConfig.voiceConfig.prebuiltVoiceConfig.voiceName": _spoken(voiceConfig=_VOICE),
    f"{_C}.speechConfig.multiSpeakerVoiceConfig": _spoken(multiSpeakerVoiceConfig={"a": 1}),
    f"{_C}.speechConfig.languageCode": _spoken(languageCode="en"),
    f"{_C}.enableEnhancedCivicAnswers": _config(enableEnhancedCivicAnswers=True),
    f"{_C}.enableAffectiveDialog": _config(enableAffectiveDialog=True),
    f"{_C}.translationConfig": _config(translationConfig={"a": 1}),
    f"{_C}.audioTranscriptionConfig": _config(audioTranscriptionConfig={"a": 1}),
    **SCHEMA_SAMPLES,
}
"""By the path of the option; that of a cached content is made for each server."""

_DOCUMENT = {"parts": [{"text": "A night train to Rome."}]}


def _embedded(**settings: Any) -> dict[str, Any]:
    return {"content": _DOCUMENT, "embedContentConfig": settings}


def _pieces(*parts: Any) -> dict[str, Any]:
    return {"content": {"parts": list(parts)}}


def _beside(**members: Any) -> dict[str, Any]:
    """The text, with something beside it in the same part."""
    return _pieces({**_DOCUMENT["parts"][0], **members})


_E = "content.parts[]"

EMBEDDING_SAMPLES: dict[str, dict[str, Any]] = {
    "content": {"content": _DOCUMENT},
    "content.role": {"content": {**_DOCUMENT, "role": "model"}},
    "content.parts": _pieces({"text": "A night train"}, {"text": "to Rome."}),
    f"{_E}.text": _pieces({"text": "A day train to Rome."}),
    f"{_E}.inlineData": _pieces({"inlineData": _PNG}),
    f"{_E}.fileData": _pieces({"fileData": {"fileUri": "files/abc"}}),
    f"{_E}.functionCall": _pieces(_CALL),
    f"{_E}.functionResponse": _pieces({"functionResponse": {"name": "weather"}}),
    f"{_E}.executableCode": _pieces({"executableCode": {"code": "print(1)"}}),
    f"{_E}.codeExecutionResult": _pieces({"codeExecutionResult": {"output": "1"}}),
    f"{_E}.toolCall": _pieces({"toolCall": {"toolName": "look"}}),
    f"{_E}.toolResponse": _pieces({"toolResponse": {"toolType": "look"}}),
    f"{_E}.thought": _pieces(*_DOCUMENT["parts"], {"text": "Hm.", "thought": True}),
    f"{_E}.thoughtSignature": _beside(thoughtSignature="c2lnbg=="),
    f"{_E}.videoMetadata": _beside(videoMetadata={"fps": 1}),
    f"{_E}.mediaResolution": _beside(mediaResolution={"level": "MEDIA_RESOLUTION_LOW"}),
    f"{_E}.partMetadata": _beside(partMetadata={"note": "n"}),
    f"{_E}.mediaProcessing": _beside(mediaProcessing={"a": 1}),
    f"{_E}.audioTranscription": _beside(audioTranscription={"a": 1}),
    f"{_E}.speechMetadata": _beside(speechMetadata={"a": 1}),
    f"{_E}.documentMetadata": _beside(documentMetadata={"a": 1}),
    f"{_E}.spreadsheetMetadata": _beside(spreadsheetMetadata={"a": 1}),
    f"{_E}.audioMetadata": _beside(audioMetadata={"a": 1}),
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

_DATA = {
    *("args", "labels", "partMetadata", "responseJsonSchema", "_responseJsonSchema"),
    *("parametersJsonSchema", "schema"),
}
"""Members whose own names are data, and stay as they were written."""


def in_snake_case(sample: Any) -> Any:
    """Spell a request the other way."""
    if isinstance(sample, list):
        return [in_snake_case(inner) for inner in sample]
    if not isinstance(sample, dict):
        return sample
    return {
        snake(name): inner if name in _DATA else _spelled(name, inner)
        for name, inner in sample.items()
    }


def _spelled(name: str, inner: Any) -> Any:
    """Leave the names of properties, which are data, but spell what they hold."""
    if name == "properties":
        return {name: in_snake_case(schema) for name, schema in inner.items()}
    return in_snake_case(inner)
