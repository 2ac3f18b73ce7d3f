"""The bounds of Gemini's generation settings, in one place, and what the settings become."""

from __future__ import annotations

from typing import Final

from nightrate import limits
from nightrate.dialects.gemini_shapes import GenerationConfig, SafetySetting, ThinkingConfig
from nightrate.dialects.refusals import within, wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.generation import LogprobsWish, Sampling
from nightrate.errors import Refused

_INT32_MAX = 2**31 - 1

_RANGES: Final[tuple[tuple[str, str, float, float], ...]] = (
    ("temperature", "temperature", 0, 2),
    ("top_p", "topP", 0, 1),
    ("top_k", "topK", 1, _INT32_MAX),
    ("candidate_count", "candidateCount", 1, limits.CANDIDATES_MAX),
    ("max_output_tokens", "maxOutputTokens", 1, _INT32_MAX),
    ("seed", "seed", -_INT32_MAX - 1, _INT32_MAX),
    ("presence_penalty", "presencePenalty", -2, 2),
    ("logprobs", "logprobs", 0, limits.LOGPROBS_MAX),
    ("frequency_penalty", "frequencyPenalty", -2, 2),
)
"""Member, its name on the wire, the smallest and the greatest value."""

_THINKING_LEVELS = ("THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH")
_DYNAMIC_THINKING = -1

_CATEGORIES: Final = frozenset(
    f"HARM_CATEGORY_{name}"
    for name in (
        "HARASSMENT",
        "HATE_SPEECH",
        "SEXUALLY_EXPLICIT",
        "DANGEROUS_CONTENT",
        "CIVIC_INTEGRITY",
        "JAILBREAK",
        "DEROGATORY",
        "TOXICITY",
        "VIOLENCE",
        "SEXUAL",
        "MEDICAL",
        "DANGEROUS",
    )
)
_THRESHOLDS: Final = frozenset(
    {
        None,
        "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
        "BLOCK_LOW_AND_ABOVE",
        "BLOCK_MEDIUM_AND_ABOVE",
        "BLOCK_ONLY_HIGH",
        "BLOCK_NONE",
        "OFF",
    }
)


def sampling_of(config: GenerationConfig) -> Sampling:
    """Check a configuration and make the sampling it asks for.

    Raises:
        BadRequest: a value is out of its range.
    """
    for member, name, low, high in _RANGES:
        value = getattr(config, member)
        if value is not None and not low <= value <= high:
            raise wrong(name, f"{quoted(str(value))} is not between {low} and {high}.")
    if config.top_k is not None and config.top_k % 1:
        raise wrong("topK", f"{config.top_k} is not a whole number.")
    if config.thinking_config is not None:
        check_thinking(config.thinking_config)
    return Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=None if config.top_k is None else int(config.top_k),
        seed=config.seed,
        presence_penalty=config.presence_penalty,
        frequency_penalty=config.frequency_penalty,
        max_output_tokens=config.max_output_tokens,
        stop=_stop(config.stop_sequences) if config.stop_sequences else (),
    )


def logprobs_of(config: GenerationConfig) -> LogprobsWish | None:
    """Find out whether an answer shall say how likely its tokens were.

    Raises:
        BadRequest: the number of others is set alone.
    """
    if config.response_logprobs:
        others = config.logprobs or 0
        name = "logprobs" if others else "responseLogprobs"
        return LogprobsWish(others, f"generationConfig.{name}")
    if config.logprobs is not None:
        raise wrong("logprobs", 'it needs "responseLogprobs": true.')
    return None


def _stop(sequences: list[str]) -> tuple[str, ...]:
    most = limits.STOP_SEQUENCES_MAX
    if len(sequences) > most:
        raise wrong("stopSequences", f"there are {len(sequences)}, and at most {most} are allowed.")
    for index, sequence in enumerate(sequences):
        if not sequence:
            raise wrong(f"stopSequences[{index}]", "it is empty.")
    return tuple(sequences)


def check_thinking(thinking: ThinkingConfig) -> None:
    """Check hints to a model that thinks; one that does not keeps within any of them.

    Raises:
        BadRequest: a value is out of its range; the path begins with ``thinkingConfig``.
    """
    budget, level = thinking.thinking_budget, thinking.thinking_level
    if budget is not None and not _DYNAMIC_THINKING <= budget <= _INT32_MAX:
        why = f"{quoted(str(budget))} is not between {_DYNAMIC_THINKING} and {_INT32_MAX}."
        raise within(wrong("thinkingBudget", why), "thinkingConfig")
    if level and level.upper() not in _THINKING_LEVELS:
        error = wrong("thinkingLevel", f'"{quoted(level)}" is not known.')
        raise within(error, "thinkingConfig")


def check_safety(settings: list[SafetySetting]) -> None:
    """Check safety settings. The models here have no filter that they could tune.

    Raises:
        BadRequest: a name is unknown, or a category comes twice.
    """
    seen: set[str] = set()
    for index, setting in enumerate(settings):
        try:
            seen.add(_category(setting, seen))
        except Refused as error:
            raise within(error, f"safetySettings[{index}]") from error


def _category(setting: SafetySetting, seen: set[str]) -> str:
    category = setting.category
    if category is None or category not in _CATEGORIES:
        raise wrong("category", f'"{quoted(category or "")}" is not known.')
    if category in seen:
        raise wrong("category", f'"{category}" is set twice.')
    if setting.threshold not in _THRESHOLDS:
        raise wrong("threshold", f'"{quoted(setting.threshold or "")}" is not known.')
    return category
