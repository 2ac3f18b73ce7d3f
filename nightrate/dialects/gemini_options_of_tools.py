"""The rows of the table of options that are about tools: what an answer may use, and how."""

from __future__ import annotations

from typing import Final

from nightrate.dialects.gemini_option import checked, honoured, refused
from nightrate.domain.generation import Capability

FUNCTION: Final = "tools[].functionDeclarations[]"
SEARCH: Final = "tools[].googleSearch"
_RETRIEVAL: Final = "tools[].googleSearchRetrieval"
CALLING: Final = "toolConfig.functionCallingConfig"
PLACE: Final = "toolConfig.retrievalConfig"
_NO_TOOL: Final = "Leave it out: this tool is not run."
_NO_OPTION: Final = "Leave it out: searches take no such option."

TOOLS: Final = (
    honoured("tools", "What the answer may use; each tool has a row of its own."),
    honoured(
        "tools[].functionDeclarations", "Functions that the answer may call.", Capability.CALLS
    ),
    honoured(f"{FUNCTION}.name", "Up to 128 letters, digits and `_ . : -`.", Capability.CALLS),
    honoured(f"{FUNCTION}.description", "The model reads it.", Capability.CALLS),
    honoured(
        f"{FUNCTION}.parameters",
        "Calls are held to it; its members are those of `responseSchema`.",
        Capability.CALLS,
    ),
    honoured(
        f"{FUNCTION}.parametersJsonSchema",
        "The same, with the members of `responseJsonSchema`.",
        Capability.CALLS,
    ),
    checked(f"{FUNCTION}.response", "What the function will answer: a schema as `parameters`."),
    checked(f"{FUNCTION}.responseJsonSchema", "The same, as JSON Schema."),
    checked(f"{FUNCTION}.behavior", "Of live sessions: `BLOCKING` or `NON_BLOCKING`."),
    honoured(SEARCH, "The search that this server has."),
    honoured(f"{SEARCH}.searchTypes", "What is searched: the web."),
    honoured(f"{SEARCH}.searchTypes.webSearch", "As without it."),
    refused(f"{SEARCH}.searchTypes.imageSearch", _NO_OPTION),
    refused(f"{SEARCH}.timeRangeFilter", _NO_OPTION),
    refused(f"{SEARCH}.excludeDomains", _NO_OPTION),
    refused(f"{SEARCH}.blockingConfidence", _NO_OPTION),
    honoured(_RETRIEVAL, "As `googleSearch`."),
    checked(f"{_RETRIEVAL}.dynamicRetrievalConfig", "When to search; here it is each time."),
    checked(f"{_RETRIEVAL}.dynamicRetrievalConfig.mode", "`MODE_DYNAMIC`."),
    checked(f"{_RETRIEVAL}.dynamicRetrievalConfig.dynamicThreshold", "0 to 1."),
    refused("tools[].codeExecution", _NO_TOOL),
    honoured("tools[].urlContext", "Reads the pages that the user names."),
    refused("tools[].googleMaps", _NO_TOOL),
    refused("tools[].fileSearch", _NO_TOOL),
    refused("tools[].computerUse", _NO_TOOL),
    refused("tools[].mcpServers", _NO_TOOL),
    honoured("toolConfig", "How the tools are used."),
    honoured(CALLING, "Whether a function is called.", Capability.CALLS),
    honoured(
        f"{CALLING}.mode",
        "`ANY`: the answer is a call. `NONE`: as if nothing was declared. `AUTO` and `VALIDATED`:"
        " the model decides, if it can (`tools`); one of your own may, with the engine's option"
        " `functions`.",
        Capability.CALLS,
    ),
    honoured(
        f"{CALLING}.allowedFunctionNames",
        "Which of the functions may be called.",
        Capability.CALLS,
    ),
    refused(f"{CALLING}.streamFunctionCallArguments", "Leave it out: calls come whole."),
    checked(PLACE, "Where the user is; searches here do not go by it."),
    checked(f"{PLACE}.languageCode", "A text."),
    checked(f"{PLACE}.latLng", "A place on earth."),
    checked(f"{PLACE}.latLng.latitude", "-90 to 90."),
    checked(f"{PLACE}.latLng.longitude", "-180 to 180."),
    checked("toolConfig.includeServerSideToolInvocations", "True or false; of other models."),
)
