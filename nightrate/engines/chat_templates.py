"""What chat templates of models want: turns in the order that they know, and words about thinking.

A template is a text of the model's own, in Jinja. It says what it can by the variables that it
looks for; one that looks for none of them is of a model without the choice.
"""

from __future__ import annotations

import re
from typing import Final

from nightrate.domain.guidance import Thinking, ThinkingLevel
from nightrate.errors import Code, RequestFailed

_THINKS: Final = re.compile("think|reasoning", re.IGNORECASE)
"""Found in the templates of models that can think: to begin a thought, or to leave old ones out."""

_SWITCHES: Final = "enable_thinking", "thinking"
"""Variables that templates look for, of models that can think or not."""

_EFFORT: Final = "reasoning_effort"
_EFFORTS: Final = {
    ThinkingLevel.MINIMAL: "low",
    ThinkingLevel.LOW: "low",
    ThinkingLevel.MEDIUM: "medium",
    ThinkingLevel.HIGH: "high",
}


def alternating(turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give a conversation without a system, whose roles take turns and begin with the user."""
    told: list[tuple[str, str]] = []
    for role, text in turns:
        speaker = "assistant" if role == "assistant" else "user"
        if told and told[-1][0] == speaker:
            told[-1] = (speaker, f"{told[-1][1]}\n\n{text}")
        else:
            told.append((speaker, text))
    return told


def thinking_variables(thinking: Thinking | None, template: str) -> dict[str, bool | str]:
    """Say to a template how long its model may think.

    A model that does not think keeps within any wish, and needs no word.

    Raises:
        RequestFailed: its model thinks, and nothing would hold it to what is wished.
    """
    if thinking is None or _THINKS.search(template) is None:
        return {}
    words: dict[str, bool | str] = {}
    if thinking.level is not None:
        if not _names(template, _EFFORT):
            raise _unheld("thinkingLevel", "its template knows no levels")
        words[_EFFORT] = _EFFORTS[thinking.level]
    if thinking.budget_tokens == 0:
        switches = [switch for switch in _SWITCHES if _names(template, switch)]
        if not switches:
            raise _unheld("thinkingBudget", "it cannot be told not to")
        words |= dict.fromkeys(switches, False)
    elif thinking.budget_tokens is not None and thinking.budget_tokens > 0:
        raise _unheld("thinkingBudget", "nothing here counts the tokens of its thoughts")
    return words


def _names(template: str, variable: str) -> bool:
    return re.search(rf"\b{variable}\b", template) is not None


def _unheld(field: str, why: str) -> RequestFailed:
    message = f"{field}: the model thinks as long as it sees fit, and {why}; leave it out."
    return RequestFailed(message, code=Code.UNIMPLEMENTED)
