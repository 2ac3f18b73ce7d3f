"""Every field of Gemini's answers to one request: when it is sent, or why it never is.

The table is held against the shapes (`gemini_answer_shapes`, `gemini_embedding_shapes`) and against
answers of a server, and the page about options is printed from it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct


class Presence(StrEnum):
    """Whether a field is in an answer."""

    SENT = "sent"
    """In every answer, or in each that its row tells of."""
    PASSED_ON = "passed on"
    """Where the server behind an engine says it; embedded models have nothing to say there."""
    NOT_SENT = "not sent"


class AnswerField(Struct, frozen=True):
    """One field.

    ``path`` is its place in an answer, ``[]`` for any item of a list; ``says`` what it tells and
    when it is there, or why it is not.
    """

    path: str
    presence: Presence
    says: str


def _sent(path: str, says: str) -> AnswerField:
    return AnswerField(path, Presence.SENT, says)


def _passed_on(path: str, says: str) -> AnswerField:
    return AnswerField(path, Presence.PASSED_ON, says)


def _not_sent(path: str, says: str) -> AnswerField:
    return AnswerField(path, Presence.NOT_SENT, says)


_PART: Final = "candidates[].content.parts[]"
_CITED: Final = "candidates[].citationMetadata.citationSources[]"
_LIKELY: Final = "candidates[].logprobsResult"
_RESTS: Final = "candidates[].groundingMetadata"
_PAGE: Final = "candidates[].urlContextMetadata.urlMetadata[]"

_CODE: Final = "No code is run here."
_TEXT_SEARCHES: Final = "Searches find pages of text."
_FILTER: Final = "By a filter of the server behind `gemini`."
_CITES: Final = "Of the server behind `gemini`; not of JSON, which is written anew here."
_KINDS: Final = "The same by their kind, where that is known."

CANDIDATES: Final = (
    _sent("candidates", "One, or as many as were asked for; none where the prompt was blocked."),
    _sent("candidates[].content", "The answer."),
    _sent("candidates[].content.role", "`model`."),
    _sent("candidates[].content.parts", "At least one, perhaps with an empty text."),
    _sent(f"{_PART}.text", "The text of the answer, or of a thought."),
    _sent(f"{_PART}.thought", "True, of a thought; by `includeThoughts`, from `gemini`."),
    _sent(f"{_PART}.inlineData", "A picture."),
    _sent(f"{_PART}.inlineData.mimeType", "What it is."),
    _sent(f"{_PART}.inlineData.data", "Base64."),
    _sent(f"{_PART}.functionCall", "A call of a function."),
    _sent(f"{_PART}.functionCall.name", "As declared."),
    _sent(f"{_PART}.functionCall.args", "An object."),
    _sent(f"{_PART}.functionCall.id", "Where the server behind the engine gives one."),
    _not_sent(f"{_PART}.fileData", "Pictures come in the answer."),
    _not_sent(f"{_PART}.executableCode", _CODE),
    _not_sent(f"{_PART}.codeExecutionResult", _CODE),
    _not_sent(f"{_PART}.thoughtSignature", "Nothing has to come back to go on."),
    _sent("candidates[].finishReason", "Why it ended: `STOP`, `MAX_TOKENS`, what a filter found."),
    _passed_on("candidates[].finishMessage", "The same in words of the server behind `gemini`."),
    _sent("candidates[].index", "From 0."),
    _passed_on("candidates[].safetyRatings", _FILTER),
    _passed_on("candidates[].safetyRatings[].category", "The harm."),
    _passed_on("candidates[].safetyRatings[].probability", "How likely it was found."),
    _passed_on("candidates[].safetyRatings[].blocked", "True where that ended the answer."),
    _passed_on("candidates[].citationMetadata", _CITES),
    _passed_on("candidates[].citationMetadata.citationSources", "Pieces that repeat a source."),
    _passed_on(f"{_CITED}.startIndex", "In bytes of UTF-8; missing where it is 0."),
    _passed_on(f"{_CITED}.endIndex", "In bytes of UTF-8, exclusive."),
    _passed_on(f"{_CITED}.uri", "The source."),
    _passed_on(f"{_CITED}.title", "Its title."),
    _passed_on(f"{_CITED}.license", "Its license."),
    _not_sent("candidates[].tokenCount", "`usageMetadata` counts."),
    _sent("candidates[].avgLogprobs", "By `responseLogprobs`: the mean of its tokens."),
    _sent(_LIKELY, "By `responseLogprobs`."),
    _sent(f"{_LIKELY}.chosenCandidates", "The tokens of the answer."),
    _sent(f"{_LIKELY}.chosenCandidates[].token", "Its text."),
    _sent(f"{_LIKELY}.chosenCandidates[].tokenId", "Its number, where the engine tells it."),
    _sent(f"{_LIKELY}.chosenCandidates[].logProbability", "The natural logarithm."),
    _sent(f"{_LIKELY}.topCandidates", "By `logprobs`: the likeliest of each place."),
    _sent(f"{_LIKELY}.topCandidates[].candidates", "As `chosenCandidates`."),
    _sent(f"{_LIKELY}.topCandidates[].candidates[].token", "Its text."),
    _sent(f"{_LIKELY}.topCandidates[].candidates[].tokenId", "Its number."),
    _sent(f"{_LIKELY}.topCandidates[].candidates[].logProbability", "The natural logarithm."),
    _sent(f"{_LIKELY}.logProbabilitySum", "Of the whole answer."),
    _sent(_RESTS, "By `googleSearch` and `urlContext`, where something was looked up."),
    _sent(f"{_RESTS}.webSearchQueries", "What was searched for."),
    _sent(f"{_RESTS}.searchEntryPoint", "Where there was a search."),
    _sent(f"{_RESTS}.searchEntryPoint.renderedContent", "The queries, in HTML."),
    _not_sent(f"{_RESTS}.searchEntryPoint.sdkBlob", "The HTML says it all."),
    _sent(f"{_RESTS}.groundingChunks", "The sources, in the order of the numbers below."),
    _sent(f"{_RESTS}.groundingChunks[].web", "A page, or a document of your index."),
    _sent(f"{_RESTS}.groundingChunks[].web.uri", "Where it is."),
    _sent(f"{_RESTS}.groundingChunks[].web.title", "Its title, or where it is."),
    _not_sent(f"{_RESTS}.groundingChunks[].retrievedContext", "`web` is the one form of a source."),
    _not_sent(f"{_RESTS}.groundingChunks[].maps", "There are no maps."),
    _not_sent(f"{_RESTS}.groundingChunks[].image", _TEXT_SEARCHES),
    _sent(f"{_RESTS}.groundingSupports", "Which sentences rest on which sources."),
    _sent(f"{_RESTS}.groundingSupports[].segment", "The sentence."),
    _sent(f"{_RESTS}.groundingSupports[].segment.partIndex", "Its part; missing where it is 0."),
    _sent(f"{_RESTS}.groundingSupports[].segment.startIndex", "In bytes; missing where it is 0."),
    _sent(f"{_RESTS}.groundingSupports[].segment.endIndex", "In bytes, exclusive."),
    _sent(f"{_RESTS}.groundingSupports[].segment.text", "The same, as text."),
    _sent(f"{_RESTS}.groundingSupports[].groundingChunkIndices", "The sources."),
    _sent(f"{_RESTS}.groundingSupports[].confidenceScores", "From 0 to 1, one for each."),
    _not_sent(f"{_RESTS}.groundingSupports[].renderedParts", "Texts are sent as they are."),
    _not_sent(f"{_RESTS}.retrievalMetadata", "A search is made where it is asked for."),
    _not_sent(f"{_RESTS}.imageSearchQueries", _TEXT_SEARCHES),
    _sent("candidates[].urlContextMetadata", "By `urlContext`, where an address was named."),
    _sent("candidates[].urlContextMetadata.urlMetadata", "The pages."),
    _sent(f"{_PAGE}.retrievedUrl", "As it was named."),
    _sent(f"{_PAGE}.urlRetrievalStatus", "What became of it."),
)

WHOLE_ANSWER: Final = (
    _sent("promptFeedback", "In place of candidates, where a filter stopped the prompt."),
    _sent("promptFeedback.blockReason", "What it found."),
    _passed_on("promptFeedback.safetyRatings", _FILTER),
    _passed_on("promptFeedback.safetyRatings[].category", "The harm."),
    _passed_on("promptFeedback.safetyRatings[].probability", "How likely it was found."),
    _passed_on("promptFeedback.safetyRatings[].blocked", "True where that stopped the prompt."),
    _sent("usageMetadata", "Tokens, by the model that ran."),
    _sent("usageMetadata.promptTokenCount", "Of the prompt, reused ones too."),
    _sent("usageMetadata.cachedContentTokenCount", "Of these, what was really reused."),
    _sent("usageMetadata.candidatesTokenCount", "Of all answers."),
    _sent(
        "usageMetadata.toolUsePromptTokenCount",
        "Of what was looked up and read before the answer. Embedded engines count it; of endpoints "
        "it is its share of the prompt's bytes.",
    ),
    _sent("usageMetadata.thoughtsTokenCount", "Of what was thought, where the server tells it."),
    _sent("usageMetadata.totalTokenCount", "All of these."),
    _sent("usageMetadata.promptTokensDetails", _KINDS),
    _sent("usageMetadata.promptTokensDetails[].modality", "`TEXT`, `IMAGE` and so on."),
    _sent("usageMetadata.promptTokensDetails[].tokenCount", "How many."),
    _sent("usageMetadata.cacheTokensDetails", _KINDS),
    _sent("usageMetadata.cacheTokensDetails[].modality", "As above."),
    _sent("usageMetadata.cacheTokensDetails[].tokenCount", "How many."),
    _sent("usageMetadata.candidatesTokensDetails", _KINDS),
    _sent("usageMetadata.candidatesTokensDetails[].modality", "As above."),
    _sent("usageMetadata.candidatesTokensDetails[].tokenCount", "How many."),
    _sent("usageMetadata.toolUsePromptTokensDetails", _KINDS),
    _sent("usageMetadata.toolUsePromptTokensDetails[].modality", "As above."),
    _sent("usageMetadata.toolUsePromptTokensDetails[].tokenCount", "How many."),
    _not_sent("usageMetadata.serviceTier", "There is one: a batch yields to live requests."),
    _sent("modelVersion", "What really ran."),
    _sent("responseId", "An id, to be found in the log."),
    _not_sent("modelStatus", "Models of your own are not retired by others."),
)

ANSWER_FIELDS: Final = (*CANDIDATES, *WHOLE_ANSWER)
"""Of `generateContent`, live and in batches; the last document of a stream has them too."""

VECTOR_FIELDS: Final = (
    _sent("embedding", "The vector; `embeddings` for several at once."),
    _sent("embedding.values", "Its numbers; its length is 1."),
    _not_sent("embedding.shape", "Vectors have one dimension."),
    _sent("tokenCount", "In batches: of the text, as a string."),
    _sent("usageMetadata", "Tokens."),
    _sent("usageMetadata.promptTokenCount", "Of the text."),
    _not_sent("usageMetadata.promptTokenDetails", "All is text."),
)
"""Of `embedContent`, live and in batches."""
