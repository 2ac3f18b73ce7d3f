"""The rows of the table of options of requests for embeddings."""

from __future__ import annotations

from typing import Final

from nightrate.dialects.gemini_option import checked, honoured, refused

_PART: Final = "content.parts[]"
_TEXT_VECTORS: Final = "Leave it out: vectors are made of text."
_NO_TEXT: Final = "Send text parts only: vectors are made of text."
_LEFT: Final = "Left by a client's library."

VECTORS: Final = (
    honoured("content", "The text; a list of one content, or a text, may stand for it."),
    checked("content.role", "A vector is of what was said, by whomever."),
    honoured("content.parts", "The pieces of the text; each is on a line of its own."),
    honoured(f"{_PART}.text", "What the vector is made of."),
    refused(f"{_PART}.inlineData", _NO_TEXT),
    refused(f"{_PART}.fileData", _NO_TEXT),
    refused(f"{_PART}.functionCall", _NO_TEXT),
    refused(f"{_PART}.functionResponse", _NO_TEXT),
    refused(f"{_PART}.executableCode", _NO_TEXT),
    refused(f"{_PART}.codeExecutionResult", _NO_TEXT),
    refused(f"{_PART}.toolCall", _NO_TEXT),
    refused(f"{_PART}.toolResponse", _NO_TEXT),
    honoured(f"{_PART}.thought", "The text of a thought is left out."),
    checked(f"{_PART}.thoughtSignature", "Signatures come back from clients."),
    checked(f"{_PART}.videoMetadata", "Of a film, and there is none."),
    checked(f"{_PART}.mediaResolution", "Of a picture or film, and there is none."),
    checked(f"{_PART}.partMetadata", "Notes of the client."),
    checked(f"{_PART}.mediaProcessing", "A hint to other services."),
    checked(f"{_PART}.audioTranscription", _LEFT),
    checked(f"{_PART}.speechMetadata", _LEFT),
    checked(f"{_PART}.documentMetadata", _LEFT),
    checked(f"{_PART}.spreadsheetMetadata", _LEFT),
    checked(f"{_PART}.audioMetadata", _LEFT),
    honoured("contents", "As `content`, as some clients call it."),
    honoured("taskType", "What the vector is for; a model that makes no difference makes none."),
    honoured("title", "Of a document; it is read before the text."),
    honoured("outputDimensionality", "A shorter vector, of length 1 again."),
    honoured("model", "Must be the model of the call, if it is there."),
    honoured("embedContentConfig", "The same settings, in a newer way."),
    honoured("embedContentConfig.taskType", "As `taskType`."),
    honoured("embedContentConfig.title", "As `title`."),
    honoured("embedContentConfig.outputDimensionality", "As `outputDimensionality`."),
    honoured("embedContentConfig.autoTruncate", "False: a text that is too long is refused."),
    refused("embedContentConfig.documentOcr", _TEXT_VECTORS),
    refused("embedContentConfig.audioTrackExtraction", _TEXT_VECTORS),
)
