"""What engines that run a model themselves have in common: how tokens are drawn, and how many."""

from __future__ import annotations

from typing import Any

from nightrate import limits
from nightrate.domain.generation import Sampling
from nightrate.errors import Code, RequestFailed

TEMPERATURE_DEFAULT = 1.0
TOP_P_DEFAULT = 0.95
TOP_K_DEFAULT = 64
"""What Gemini models draw with when a request does not say."""

PENALTY_MAX = 2.0


def either(value: float | None, default: float) -> Any:
    """Give a value, or what stands for none."""
    return default if value is None else value


def output_tokens_max(sampling: Sampling, prompt_tokens: int, tokens_max: int) -> int:
    """Give the longest answer: as asked or by default, clipped to the room the prompt leaves.

    Raises:
        RequestFailed: it leaves none.
    """
    if prompt_tokens >= tokens_max:
        raise _invalid(
            f"The prompt has {prompt_tokens:,} tokens; with its answer it must fit into the "
            f"{tokens_max:,} tokens of the model's context."
        )
    wanted = sampling.max_output_tokens or limits.OUTPUT_TOKENS_DEFAULT
    return min(wanted, tokens_max - prompt_tokens)


def check_sampling(sampling: Sampling) -> None:
    """Refuse what a library would refuse in its own words, or not at all.

    Raises:
        RequestFailed: a value is out of range.
    """
    ranges = {
        "temperature": (sampling.temperature, 0.0, float("inf")),
        "top_p": (sampling.top_p, 0.0, 1.0),
        "top_k": (sampling.top_k, 0, float("inf")),
        "presence_penalty": (sampling.presence_penalty, -PENALTY_MAX, PENALTY_MAX),
        "frequency_penalty": (sampling.frequency_penalty, -PENALTY_MAX, PENALTY_MAX),
        "max_output_tokens": (sampling.max_output_tokens, 1, float("inf")),
    }
    for name, (value, least, most) in ranges.items():
        if value is not None and not least <= value <= most:
            raise _invalid(
                f"The {name.replace('_', ' ')} is {value}; it must lie in [{least}, {most}]."
            )


def _invalid(message: str) -> RequestFailed:
    return RequestFailed(message, code=Code.INVALID_ARGUMENT)
