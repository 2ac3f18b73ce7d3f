"""Every option of Gemini's requests and what becomes of it: honoured, checked, or refused.

The table is the truth: what it refuses is refused by the gates below, what an engine must be able
to do for an option is asked of the engine, and the page about options is printed from it.
"""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import Final

from msgspec import Struct, structs

from nightrate.dialects.gemini_shapes import (
    Content,
    GenerateContentRequest,
    GenerationConfig,
    Part,
    SafetySetting,
    ThinkingConfig,
)
from nightrate.dialects.refusals import unserved
from nightrate.domain.generation import Capability


class Treatment(StrEnum):
    """What becomes of an option."""

    HONOURED = "honoured"
    """The answer is as it says."""
    CHECKED = "checked"
    """Of values with names a wrong one is refused; a right one changes nothing: it is about what is
    not here."""
    REFUSED = "refused"
    """A request that uses it fails, by its path."""


class Option(Struct, frozen=True):
    """One option.

    ``path`` is its place in a request, ``[]`` for any item of a list; ``says`` what it does here,
    or what to do instead; ``needs`` what an engine must be able to do, if not all can.
    """

    path: str
    treatment: Treatment
    says: str
    needs: Capability | None = None


def _honoured(path: str, says: str, needs: Capability | None = None) -> Option:
    return Option(path, Treatment.HONOURED, says, needs)


def _checked(path: str, says: str) -> Option:
    return Option(path, Treatment.CHECKED, says)


def _refused(path: str, says: str) -> Option:
    return Option(path, Treatment.REFUSED, says)


_CONFIG: Final = "generationConfig"
_PART: Final = "contents[].parts[]"
_FUNCTION: Final = "tools[].functionDeclarations"
_NO_MEDIA: Final = "Leave it out: answers are text."
_NO_TOOL: Final = "Leave it out: this tool is not run."
_TEXT_VECTORS: Final = "Leave it out: vectors are made of text."
_LOOK: Final = "How closely media are looked at; `gemini` and `openai` pass it on."
_HINT: Final = "A hint to models of another kind."

OPTIONS: Final = (
    _honoured("contents", "The conversation; a lone content or a text may stand for the list."),
    _honoured(
        "contents[].role",
        "`user` or `model`; also `function`, `tool` and `system`; none is `user`.",
    ),
    _honoured("contents[].parts", "The pieces of a turn; a lone one may stand for the list."),
    _honoured(f"{_PART}.text", "The texts of a turn are joined."),
    _honoured(
        f"{_PART}.inlineData",
        "A picture, sound, film or document, of a type that the engine reads.",
        Capability.MEDIA,
    ),
    _honoured(
        f"{_PART}.fileData",
        "The same, of an uploaded file, by its URI or name; nothing is fetched from elsewhere.",
        Capability.MEDIA,
    ),
    _honoured(f"{_PART}.functionCall", "What the model called in an earlier turn."),
    _honoured(f"{_PART}.functionResponse", "What the function answered, as JSON."),
    _honoured(f"{_PART}.executableCode", "Code of an earlier turn; it is read as text."),
    _honoured(f"{_PART}.codeExecutionResult", "What that code printed; it is read as text."),
    _honoured(f"{_PART}.toolCall", "As `functionCall`."),
    _honoured(f"{_PART}.toolResponse", "As `functionResponse`."),
    _honoured(f"{_PART}.thought", "Thoughts of an earlier turn are not shown to the model again."),
    _checked(f"{_PART}.thoughtSignature", "Signatures come back from clients; none is made here."),
    _checked(f"{_PART}.videoMetadata", "Which part of a film; the engine `gemini` passes it on."),
    _checked(f"{_PART}.mediaResolution", _LOOK),
    _checked(f"{_PART}.partMetadata", "Notes of the client."),
    _checked(f"{_PART}.mediaProcessing", "A hint to other services."),
    _checked(f"{_PART}.audioTranscription", "Left by a client's library."),
    _checked(f"{_PART}.speechMetadata", "Left by a client's library."),
    _checked(f"{_PART}.documentMetadata", "Left by a client's library."),
    _checked(f"{_PART}.spreadsheetMetadata", "Left by a client's library."),
    _checked(f"{_PART}.audioMetadata", "Left by a client's library."),
    _honoured("systemInstruction", "What the model reads first."),
    _honoured("cachedContent", "The beginning of the request, kept earlier."),
    _honoured("model", "Must be the model of the call, if it is there."),
    _checked("safetySettings", "Embedded models have no filter; the engine `gemini` passes it on."),
    _checked("safetySettings[].category", "A known category, at most once."),
    _checked("safetySettings[].threshold", "A known threshold."),
    _checked("labels", "Notes of the client."),
    _checked("store", "Nothing but what a batch needs is stored."),
    _checked("serviceTier", "Live requests go first, batches fill the rest."),
    _checked("continuationToken", "Of sessions that a server keeps."),
    _honoured("tools", "What the answer may use; each tool has a row of its own."),
    _honoured(_FUNCTION, "Functions that the answer may call.", Capability.CALLS),
    _honoured(f"{_FUNCTION}[].name", "Up to 128 letters, digits and `_ . : -`.", Capability.CALLS),
    _honoured(f"{_FUNCTION}[].description", "The model reads it.", Capability.CALLS),
    _honoured(f"{_FUNCTION}[].parameters", "Calls are held to it.", Capability.CALLS),
    _honoured(f"{_FUNCTION}[].parametersJsonSchema", "Calls are held to it.", Capability.CALLS),
    _checked(f"{_FUNCTION}[].response", "What the function will answer."),
    _checked(f"{_FUNCTION}[].responseJsonSchema", "What the function will answer."),
    _checked(f"{_FUNCTION}[].behavior", "How live sessions wait."),
    _honoured("tools[].googleSearch", "The search that this server has."),
    _honoured("tools[].googleSearchRetrieval", "As `googleSearch`."),
    _refused("tools[].codeExecution", _NO_TOOL),
    _honoured("tools[].urlContext", "Reads the pages that the user names."),
    _refused("tools[].googleMaps", _NO_TOOL),
    _refused("tools[].fileSearch", _NO_TOOL),
    _refused("tools[].computerUse", _NO_TOOL),
    _refused("tools[].mcpServers", _NO_TOOL),
    _honoured("toolConfig", "How the tools are used."),
    _honoured(
        "toolConfig.functionCallingConfig", "Whether a function is called.", Capability.CALLS
    ),
    _honoured(
        "toolConfig.functionCallingConfig.mode",
        "`ANY`: the answer is a call. `NONE`: as if nothing was declared. `AUTO` and `VALIDATED`:"
        " the model decides, if it can (`tools`).",
        Capability.CALLS,
    ),
    _honoured(
        "toolConfig.functionCallingConfig.allowedFunctionNames",
        "Which of the functions may be called.",
        Capability.CALLS,
    ),
    _checked("toolConfig.retrievalConfig", "Where the user is."),
    _checked("toolConfig.includeServerSideToolInvocations", _HINT),
    _honoured(_CONFIG, "How the answer is made; each setting has a row of its own."),
    _honoured(f"{_CONFIG}.temperature", "0 to 2; 0 takes the likeliest token each time."),
    _honoured(f"{_CONFIG}.topP", "0 to 1."),
    _honoured(f"{_CONFIG}.topK", "1 or more; refused by endpoints that have no such thing."),
    _honoured(f"{_CONFIG}.candidateCount", "1 to 8 answers, with a seed of its own each."),
    _honoured(f"{_CONFIG}.maxOutputTokens", "The answer is cut there, with `MAX_TOKENS`."),
    _honoured(f"{_CONFIG}.stopSequences", "Up to 5; the answer ends before the first."),
    _honoured(f"{_CONFIG}.seed", "The same seed, the same answer, alone and in a batch."),
    _honoured(f"{_CONFIG}.presencePenalty", "-2 to 2."),
    _honoured(f"{_CONFIG}.frequencyPenalty", "-2 to 2."),
    _honoured(f"{_CONFIG}.responseLogprobs", "How likely each token was.", Capability.LOGPROBS),
    _honoured(
        f"{_CONFIG}.logprobs",
        "0 to 20 likely tokens for each place; needs `responseLogprobs`.",
        Capability.TOP_LOGPROBS,
    ),
    _honoured(
        f"{_CONFIG}.responseMimeType",
        "`text/plain`, `application/json` or `text/x.enum`.",
        Capability.SCHEMA,
    ),
    _honoured(f"{_CONFIG}.responseSchema", "The form of the answer.", Capability.SCHEMA),
    _honoured(f"{_CONFIG}.responseJsonSchema", "The same, as JSON Schema.", Capability.SCHEMA),
    _honoured(f"{_CONFIG}._responseJsonSchema", "The same.", Capability.SCHEMA),
    _honoured(f"{_CONFIG}.responseFormat", "The same, in a newer way.", Capability.SCHEMA),
    _honoured(f"{_CONFIG}.responseModalities", "`TEXT`, `IMAGE` or both.", Capability.IMAGES),
    _honoured(f"{_CONFIG}.imageConfig", "Of answers with a picture.", Capability.IMAGES),
    _honoured(f"{_CONFIG}.imageConfig.aspectRatio", "`1:1` to `21:9`.", Capability.IMAGES),
    _honoured(f"{_CONFIG}.imageConfig.imageSize", "`512` to `4K`.", Capability.IMAGES),
    _checked(f"{_CONFIG}.mediaResolution", _LOOK),
    _checked(
        f"{_CONFIG}.thinkingConfig",
        "Embedded models do not think; `gemini`, `openai` and `vllm` tell those that do.",
    ),
    _checked(
        f"{_CONFIG}.thinkingConfig.includeThoughts",
        "The engine `gemini` has them told, before the answer; others hand none out.",
    ),
    _checked(f"{_CONFIG}.thinkingConfig.thinkingBudget", "-1 or more."),
    _checked(f"{_CONFIG}.thinkingConfig.thinkingLevel", "A known level."),
    _refused(f"{_CONFIG}.speechConfig", _NO_MEDIA),
    _refused(f"{_CONFIG}.enableEnhancedCivicAnswers", "Leave it out."),
    _refused(f"{_CONFIG}.enableAffectiveDialog", _NO_MEDIA),
    _refused(f"{_CONFIG}.translationConfig", _NO_MEDIA),
    _refused(f"{_CONFIG}.audioTranscriptionConfig", _NO_MEDIA),
)
"""Of `generateContent`, live and in batches."""

EMBEDDING_OPTIONS: Final = (
    _honoured("content", "The text; a list of one content, or a text, may stand for it."),
    _honoured("contents", "The same, as some clients call it."),
    _honoured("taskType", "What the vector is for; a model that makes no difference makes none."),
    _honoured("title", "Of a document; it is read before the text."),
    _honoured("outputDimensionality", "A shorter vector, of length 1 again."),
    _honoured("model", "Must be the model of the call, if it is there."),
    _honoured("embedContentConfig", "The same settings, in a newer way."),
    _honoured("embedContentConfig.taskType", "As `taskType`."),
    _honoured("embedContentConfig.title", "As `title`."),
    _honoured("embedContentConfig.outputDimensionality", "As `outputDimensionality`."),
    _honoured("embedContentConfig.autoTruncate", "False: a text that is too long is refused."),
    _refused("embedContentConfig.documentOcr", _TEXT_VECTORS),
    _refused("embedContentConfig.audioTrackExtraction", _TEXT_VECTORS),
)
"""Of `embedContent`, live and in batches."""

SHAPES: Final[dict[str, type[Struct]]] = {
    "": GenerateContentRequest,
    "contents[]": Content,
    _PART: Part,
    "safetySettings[]": SafetySetting,
    _CONFIG: GenerationConfig,
    f"{_CONFIG}.thinkingConfig": ThinkingConfig,
}
"""What stands at a path; every member of these has a row."""


REMEDIES: Final = {
    option.path: option.says
    for option in (*OPTIONS, *EMBEDDING_OPTIONS)
    if option.treatment is Treatment.REFUSED
}
"""By path: what to do instead of an option that is refused."""


def refused_in(path: str) -> dict[str, tuple[str, str]]:
    """Give what is refused of the shape at a path: by member, its name on the wire and a remedy."""
    return {
        member.name: (member.encode_name, remedy)
        for member in structs.fields(SHAPES[path])
        if (remedy := REMEDIES.get(f"{path}.{member.encode_name}")) is not None
    }


class _Gate:
    """Lets a value pass that asks for nothing unserved, in one comparison.

    A member that is false or empty asks for nothing.
    """

    def __init__(self, path: str) -> None:
        self._remedies = refused_in(path)
        self._members = attrgetter(*self._remedies)
        # A getter of one member gives that alone.
        self._nothing = (None,) * len(self._remedies) if len(self._remedies) > 1 else None

    def check(self, value: Struct) -> None:
        """Refuse a value that asks for something in the table."""
        if self._members(value) != self._nothing:
            for name, (wire_name, remedy) in self._remedies.items():
                if getattr(value, name):
                    raise unserved(wire_name, remedy)


CONFIG_GATE = _Gate(_CONFIG)
