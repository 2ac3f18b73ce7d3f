"""The bounds of Gemini's generation settings, in one place, and what the settings become."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from nightrate import limits
from nightrate.dialects.gemini_shapes import GenerationConfig, SafetySetting, ThinkingConfig
from nightrate.dialects.refusals import within, wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.generation import LogprobsWish, Sampling
from nightrate.domain.guidance import Harm, HarmFilter, Thinking, ThinkingLevel, Threshold
from nightrate.domain.medium import Resolution
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

_DYNAMIC_THINKING = -1

HARMS: Final = {f"HARM_CATEGORY_{harm.name}": harm for harm in Harm}
"""By their names on the wire."""
_THRESHOLDS: Final = {
    "BLOCK_LOW_AND_ABOVE": Threshold.LOW,
    "BLOCK_MEDIUM_AND_ABOVE": Threshold.MEDIUM,
    "BLOCK_ONLY_HIGH": Threshold.HIGH,
    "BLOCK_NONE": Threshold.NEVER,
    "OFF": Threshold.OFF,
}
_NO_THRESHOLD: Final = (None, "HARM_BLOCK_THRESHOLD_UNSPECIFIED")
_THRESHOLD_NAMES: Final = {threshold: name for name, threshold in _THRESHOLDS.items()}
RESOLUTIONS: Final[dict[str, Resolution | None]] = {
    "MEDIA_RESOLUTION_UNSPECIFIED": None,
    **{f"MEDIA_RESOLUTION_{level.name}": level for level in Resolution},
}
"""How closely media are looked at; None for as the model sees fit."""
_TIERS: Final = frozenset({"UNSPECIFIED", "STANDARD", "FLEX", "PRIORITY"})
_NO_LEVEL: Final = "THINKING_LEVEL_UNSPECIFIED"


def sampling_of(config: GenerationConfig) -> Sampling:
    """Check a configuration and make the sampling it asks for.

    Raises:
        BadRequest: a value is out of its range.
    """
    for member, name, low, high in _RANGES:
        value = getattr(config, member)
        if value is not None and not low <= value <= high:
            raise wrong(name, f"{quoted(str(value))} is not between {low} and {high}.")
    resolution = config.media_resolution
    if resolution is not None and resolution.upper() not in RESOLUTIONS:
        raise wrong("mediaResolution", f'"{quoted(resolution)}" is not known.')
    if config.top_k is not None and config.top_k % 1:
        raise wrong("topK", f"{config.top_k} is not a whole number.")
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


def resolution_of(config: GenerationConfig) -> Resolution | None:
    """Say how closely media are looked at, by a checked configuration."""
    name = config.media_resolution
    return None if name is None else RESOLUTIONS[name.upper()]


def check_tier(name: str) -> None:
    """Check the name of a service tier, of which there is one here.

    Raises:
        BadRequest: it is not known.
    """
    if name.upper().removeprefix("SERVICE_TIER_") not in _TIERS:
        raise wrong("serviceTier", f'"{quoted(name)}" is not known.')


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


def thinking_of(wish: ThinkingConfig | None) -> Thinking | None:
    """Check how long a model may think; None where nothing is said of it.

    Raises:
        BadRequest: a value is out of its range; the path begins with ``thinkingConfig``.
    """
    if wish is None:
        return None
    budget, name = wish.thinking_budget, (wish.thinking_level or _NO_LEVEL).upper()
    if budget is not None and not _DYNAMIC_THINKING <= budget <= _INT32_MAX:
        why = f"{quoted(str(budget))} is not between {_DYNAMIC_THINKING} and {_INT32_MAX}."
        raise within(wrong("thinkingBudget", why), "thinkingConfig")
    level = None
    if name != _NO_LEVEL:
        level = ThinkingLevel.__members__.get(name)
        if level is None:
            error = wrong("thinkingLevel", f'"{quoted(wish.thinking_level or "")}" is not known.')
            raise within(error, "thinkingConfig")
    return None if budget is None and level is None else Thinking(budget, level)


def shows_thoughts(wish: ThinkingConfig | None) -> bool:
    """Say whether the answer shall tell what was thought."""
    return wish is not None and bool(wish.include_thoughts)


def settings_of_thinking(thinking: Thinking | None, *, shown: bool) -> dict[str, int | str]:
    """Write how long a model may think, and whether its thoughts are shown."""
    written: dict[str, int | str] = {"includeThoughts": True} if shown else {}
    if thinking is None:
        return written
    if thinking.budget_tokens is not None:
        written["thinkingBudget"] = thinking.budget_tokens
    if thinking.level is not None:
        written["thinkingLevel"] = thinking.level.name
    return written


def filters_of(settings: list[SafetySetting]) -> tuple[HarmFilter, ...]:
    """Check safety settings, and give those that say something.

    Raises:
        BadRequest: a name is unknown, or a category comes twice.
    """
    found: dict[Harm, Threshold | None] = {}
    for index, setting in enumerate(settings):
        try:
            harm = _harm(setting, found)
            found[harm] = _threshold(setting.threshold)
        except Refused as error:
            raise within(error, f"safetySettings[{index}]") from error
    return tuple(HarmFilter(harm, most) for harm, most in found.items() if most is not None)


def _harm(setting: SafetySetting, seen: Container[Harm]) -> Harm:
    category = setting.category or ""
    harm = HARMS.get(category)
    if harm is None:
        raise wrong("category", f'"{quoted(category)}" is not known.')
    if harm in seen:
        raise wrong("category", f'"{category}" is set twice.')
    return harm


def _threshold(name: str | None) -> Threshold | None:
    if name in _NO_THRESHOLD:
        return None
    found = _THRESHOLDS.get(name or "")
    if found is None:
        raise wrong("threshold", f'"{quoted(name or "")}" is not known.')
    return found


def safety_settings_of(filters: tuple[HarmFilter, ...]) -> list[SafetySetting]:
    """Write what is filtered."""
    return [SafetySetting(harm_name(one.harm), _THRESHOLD_NAMES[one.threshold]) for one in filters]


def harm_name(harm: Harm) -> str:
    """Give the name of a harm on the wire."""
    return f"HARM_CATEGORY_{harm.name}"
