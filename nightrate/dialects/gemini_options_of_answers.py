"""The rows of the table of options that are about the answer, and about a request as a whole."""

from __future__ import annotations

from typing import Final

from nightrate.dialects.gemini_option import checked, honoured, passed_on, refused
from nightrate.dialects.gemini_options_of_turns import LOOK
from nightrate.domain.generation import Capability

CONFIG: Final = "generationConfig"
_FORMAT: Final = f"{CONFIG}.responseFormat"
_IMAGE: Final = f"{CONFIG}.imageConfig"
_THINKING: Final = f"{CONFIG}.thinkingConfig"
_SPEECH: Final = f"{CONFIG}.speechConfig"
_NO_MEDIA: Final = "Leave it out: answers are text."
_BESIDE: Final = "Use the settings beside it."

WHOLE: Final = (
    honoured("cachedContent", "The beginning of the request, kept earlier."),
    honoured("model", "Must be the model of the call, if it is there."),
    passed_on(
        "safetySettings", "`gemini` passes them on, `openai` none; embedded models have no filter."
    ),
    passed_on("safetySettings[].category", "A known category, at most once."),
    passed_on("safetySettings[].threshold", "A known threshold."),
    checked("labels", "Notes of the client."),
    checked("store", "Nothing but what a batch needs is stored."),
    checked("serviceTier", "Live requests go first, batches fill the rest."),
    checked("continuationToken", "Of sessions that a server keeps."),
)
"""Of a request, but for what it says and what the answer may use."""

ANSWERS: Final = (
    honoured(CONFIG, "How the answer is made; each setting has a row of its own."),
    honoured(f"{CONFIG}.temperature", "0 to 2; 0 takes the likeliest token each time."),
    honoured(f"{CONFIG}.topP", "0 to 1."),
    honoured(f"{CONFIG}.topK", "1 or more; refused by endpoints that have no such thing."),
    honoured(f"{CONFIG}.candidateCount", "1 to 8 answers, with a seed of its own each."),
    honoured(f"{CONFIG}.maxOutputTokens", "The answer is cut there, with `MAX_TOKENS`."),
    honoured(f"{CONFIG}.stopSequences", "Up to 5; the answer ends before the first."),
    honoured(f"{CONFIG}.seed", "The same seed, the same answer, alone and in a batch."),
    honoured(f"{CONFIG}.presencePenalty", "-2 to 2."),
    honoured(f"{CONFIG}.frequencyPenalty", "-2 to 2."),
    honoured(f"{CONFIG}.responseLogprobs", "How likely each token was.", Capability.LOGPROBS),
    honoured(
        f"{CONFIG}.logprobs",
        "0 to 20 likely tokens for each place; needs `responseLogprobs`.",
        Capability.TOP_LOGPROBS,
    ),
    honoured(
        f"{CONFIG}.responseMimeType",
        "`text/plain`, `application/json` or `text/x.enum`.",
        Capability.SCHEMA,
    ),
    honoured(
        f"{CONFIG}.responseSchema",
        "The form of the answer; its members are listed below.",
        Capability.SCHEMA,
    ),
    honoured(
        f"{CONFIG}.responseJsonSchema",
        "The same, as JSON Schema; its members are listed below.",
        Capability.SCHEMA,
    ),
    honoured(f"{CONFIG}._responseJsonSchema", "The same.", Capability.SCHEMA),
    honoured(_FORMAT, "The same, in a newer way.", Capability.SCHEMA),
    honoured(f"{_FORMAT}.text", "The form of an answer in words.", Capability.SCHEMA),
    honoured(f"{_FORMAT}.text.mimeType", "`APPLICATION_JSON` or `TEXT_PLAIN`.", Capability.SCHEMA),
    honoured(f"{_FORMAT}.text.schema", "As `responseJsonSchema`.", Capability.SCHEMA),
    refused(f"{_FORMAT}.image", _BESIDE),
    refused(f"{_FORMAT}.audio", _BESIDE),
    honoured(f"{CONFIG}.responseModalities", "`TEXT`, `IMAGE` or both.", Capability.IMAGES),
    honoured(_IMAGE, "Of answers with a picture.", Capability.IMAGES),
    honoured(f"{_IMAGE}.aspectRatio", "`1:1` to `21:9`.", Capability.IMAGES),
    honoured(f"{_IMAGE}.imageSize", "`512` to `4K`.", Capability.IMAGES),
    passed_on(f"{CONFIG}.mediaResolution", LOOK),
    passed_on(
        _THINKING,
        "`gemini`, `openai` and `vllm` tell models that think; embedded ones do not.",
    ),
    passed_on(
        f"{_THINKING}.includeThoughts",
        "`gemini` has them told, before the answer; others hand none out.",
    ),
    passed_on(f"{_THINKING}.thinkingBudget", "-1 or more."),
    passed_on(f"{_THINKING}.thinkingLevel", "A known level."),
    refused(_SPEECH, _NO_MEDIA),
    refused(f"{_SPEECH}.voiceConfig", _NO_MEDIA),
    refused(f"{_SPEECH}.voiceConfig.prebuiltVoiceConfig", _NO_MEDIA),
    refused(f"{_SPEECH}.voiceConfig.prebuiltVoiceConfig.voiceName", _NO_MEDIA),
    refused(f"{_SPEECH}.multiSpeakerVoiceConfig", _NO_MEDIA),
    refused(f"{_SPEECH}.languageCode", _NO_MEDIA),
    refused(f"{CONFIG}.enableEnhancedCivicAnswers", "Leave it out."),
    refused(f"{CONFIG}.enableAffectiveDialog", _NO_MEDIA),
    refused(f"{CONFIG}.translationConfig", _NO_MEDIA),
    refused(f"{CONFIG}.audioTranscriptionConfig", _NO_MEDIA),
)
