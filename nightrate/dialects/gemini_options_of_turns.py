"""The rows of the table of options that are about what was said: turns and their parts."""

from __future__ import annotations

from typing import Final

from nightrate.dialects.gemini_option import checked, honoured, passed_on, refused
from nightrate.domain.generation import Capability

PART: Final = "contents[].parts[]"
_INSTRUCTION: Final = "systemInstruction.parts[]"
_CALL: Final = f"{PART}.functionCall"
_RESULT: Final = f"{PART}.functionResponse"
_CODE: Final = f"{PART}.executableCode"
_PRINTED: Final = f"{PART}.codeExecutionResult"
_WHOLE_CALL: Final = "Send the call whole, with its args."
_TEXT_ONLY: Final = "Put it into a turn of the user: instructions are text."
_LEFT: Final = "Left by a client's library."
_KEPT: Final = "Tells a call and its answer apart from others."
_UNREAD: Final = "Nothing goes by it."

LOOK: Final = "How closely media are looked at; `gemini` and `openai` pass it on."

TURNS: Final = (
    honoured("contents", "The conversation; a lone content or a text may stand for the list."),
    honoured(
        "contents[].role",
        "`user` or `model`; also `function`, `tool` and `system`; none is `user`.",
    ),
    honoured("contents[].parts", "The pieces of a turn; a lone one may stand for the list."),
    honoured(f"{PART}.text", "The texts of a turn are joined."),
    honoured(
        f"{PART}.inlineData",
        "A picture, sound, film or document, of a type that the engine reads.",
        Capability.MEDIA,
    ),
    honoured(f"{PART}.inlineData.mimeType", "What it is; it must be there.", Capability.MEDIA),
    honoured(f"{PART}.inlineData.data", "Base64, of either alphabet.", Capability.MEDIA),
    honoured(f"{PART}.inlineData.displayName", "`openai` names documents by it.", Capability.MEDIA),
    honoured(
        f"{PART}.fileData",
        "The same, of an uploaded file, by its URI or name; nothing is fetched from elsewhere.",
        Capability.MEDIA,
    ),
    honoured(f"{PART}.fileData.fileUri", "The `uri` or the `name` of a file.", Capability.MEDIA),
    honoured(f"{PART}.fileData.mimeType", "Else that of the file.", Capability.MEDIA),
    honoured(f"{PART}.fileData.displayName", "As in `inlineData`.", Capability.MEDIA),
    honoured(_CALL, "What the model called in an earlier turn."),
    honoured(f"{_CALL}.name", "As in a declaration."),
    honoured(f"{_CALL}.args", "An object; without it an empty one."),
    honoured(f"{_CALL}.id", _KEPT),
    refused(f"{_CALL}.partialArgs", _WHOLE_CALL),
    refused(f"{_CALL}.willContinue", _WHOLE_CALL),
    honoured(_RESULT, "What the function answered, as JSON."),
    honoured(f"{_RESULT}.name", "As in a declaration."),
    honoured(f"{_RESULT}.response", "An object; without it an empty one."),
    honoured(f"{_RESULT}.id", _KEPT),
    refused(f"{_RESULT}.parts", "Put what the function answered into its response."),
    checked(f"{_RESULT}.scheduling", "Of live sessions: `SILENT`, `WHEN_IDLE` or `INTERRUPT`."),
    checked(f"{_RESULT}.willContinue", "Of live sessions: true or false."),
    honoured(_CODE, "Code of an earlier turn; it is read as text."),
    checked(f"{_CODE}.language", "`PYTHON`, of which all such code is."),
    honoured(f"{_CODE}.code", "The model reads it."),
    checked(f"{_CODE}.id", _UNREAD),
    honoured(_PRINTED, "What that code printed; it is read as text."),
    honoured(
        f"{_PRINTED}.outcome",
        "`OUTCOME_OK`, or that it failed or took too long, which the model is told.",
    ),
    honoured(f"{_PRINTED}.output", "The model reads it."),
    checked(f"{_PRINTED}.id", _UNREAD),
    honoured(f"{PART}.toolCall", "As `functionCall`."),
    honoured(f"{PART}.toolCall.toolName", "As `name`."),
    honoured(f"{PART}.toolCall.toolType", "Stands for `toolName` where that is missing."),
    honoured(f"{PART}.toolCall.args", "As there."),
    honoured(f"{PART}.toolCall.id", _KEPT),
    honoured(f"{PART}.toolResponse", "As `functionResponse`."),
    honoured(f"{PART}.toolResponse.toolType", "As `name`."),
    honoured(f"{PART}.toolResponse.response", "As there."),
    honoured(f"{PART}.toolResponse.id", _KEPT),
    honoured(
        f"{PART}.thought",
        "The text of a thought of an earlier turn is not shown to the model again.",
    ),
    checked(f"{PART}.thoughtSignature", "Signatures come back from clients; none is made here."),
    passed_on(f"{PART}.videoMetadata", "Which part of a film; `gemini` passes it on."),
    passed_on(f"{PART}.videoMetadata.startOffset", 'Such as `"1.5s"`.'),
    passed_on(f"{PART}.videoMetadata.endOffset", 'Such as `"1.5s"`.'),
    passed_on(f"{PART}.videoMetadata.fps", "Pictures a second, above 0 and up to 24."),
    passed_on(f"{PART}.mediaResolution", LOOK),
    passed_on(f"{PART}.mediaResolution.level", "A known level."),
    checked(f"{PART}.mediaResolution.numTokens", "What a service reckoned."),
    checked(f"{PART}.partMetadata", "Notes of the client."),
    checked(f"{PART}.mediaProcessing", "A hint to other services."),
    checked(f"{PART}.audioTranscription", _LEFT),
    checked(f"{PART}.speechMetadata", _LEFT),
    checked(f"{PART}.documentMetadata", _LEFT),
    checked(f"{PART}.spreadsheetMetadata", _LEFT),
    checked(f"{PART}.audioMetadata", _LEFT),
    honoured("systemInstruction", "What the model reads first; a text may stand for the content."),
    checked("systemInstruction.role", "It is the system's, whatever stands there."),
    honoured("systemInstruction.parts", "As in a turn."),
    honoured(f"{_INSTRUCTION}.text", "As in a turn; what is not text is refused."),
    refused(f"{_INSTRUCTION}.inlineData", _TEXT_ONLY),
    refused(f"{_INSTRUCTION}.fileData", _TEXT_ONLY),
    refused(f"{_INSTRUCTION}.functionCall", _TEXT_ONLY),
    refused(f"{_INSTRUCTION}.functionResponse", _TEXT_ONLY),
    refused(f"{_INSTRUCTION}.toolCall", _TEXT_ONLY),
    refused(f"{_INSTRUCTION}.toolResponse", _TEXT_ONLY),
)
