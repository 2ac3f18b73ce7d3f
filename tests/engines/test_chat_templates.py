"""What chat templates want: turns in their order, and words about thinking."""

from __future__ import annotations

import pytest

from nightrate.domain.generation import Message, Prompt
from nightrate.domain.guidance import Thinking, ThinkingLevel
from nightrate.engines.chat_templates import alternating, thinking_variables
from nightrate.engines.instructions import turns_of
from nightrate.errors import Code, RequestFailed

PLAIN = "{% for message in messages %}{{ message.role }}: {{ message.content }}{% endfor %}"
SWITCHED = PLAIN + "{% if enable_thinking is defined and not enable_thinking %}<think>{% endif %}"
OTHERWISE_SWITCHED = PLAIN + "{% if thinking %}<think>{% else %}</think>{% endif %}"
ALWAYS = PLAIN + "<think>\n"
LEVELLED = PLAIN + "Reasoning: {{ reasoning_effort }}"


def test_a_conversation_for_strict_templates_alternates_and_keeps_every_word() -> None:
    turns = turns_of(
        Prompt(
            messages=(
                *(Message("user", "one"), Message("user", "two")),
                *(Message("model", "three"), Message("user", "four")),
            ),
            system="zero",
        )
    )
    assert turns[0] == ("system", "zero")
    assert alternating(turns) == [
        ("user", "zero\n\none\n\ntwo"),
        ("assistant", "three"),
        ("user", "four"),
    ]


@pytest.mark.parametrize("level", [None, *ThinkingLevel])
@pytest.mark.parametrize("budget", [None, -1, 0, 500])
def test_a_model_that_does_not_think_keeps_any_wish(
    budget: int | None, level: ThinkingLevel | None
) -> None:
    assert thinking_variables(Thinking(budget, level), PLAIN) == {}


@pytest.mark.parametrize(
    ("template", "thinking", "words"),
    [
        (SWITCHED, None, {}),
        (SWITCHED, Thinking(-1), {}),
        (SWITCHED, Thinking(0), {"enable_thinking": False}),
        (OTHERWISE_SWITCHED, Thinking(0), {"thinking": False}),
        (ALWAYS, Thinking(-1), {}),
        (LEVELLED, Thinking(level=ThinkingLevel.MINIMAL), {"reasoning_effort": "low"}),
        (LEVELLED, Thinking(-1, ThinkingLevel.HIGH), {"reasoning_effort": "high"}),
    ],
)
def test_a_model_that_can_is_told_in_the_words_of_its_template(
    template: str, thinking: Thinking | None, words: dict[str, bool | str]
) -> None:
    assert thinking_variables(thinking, template) == words


@pytest.mark.parametrize(
    ("template", "thinking", "field"),
    [
        (ALWAYS, Thinking(0), "thinkingBudget"),
        (LEVELLED, Thinking(0), "thinkingBudget"),
        (SWITCHED, Thinking(500), "thinkingBudget"),
        (SWITCHED, Thinking(level=ThinkingLevel.LOW), "thinkingLevel"),
    ],
)
def test_what_nothing_would_hold_the_model_to_is_refused(
    template: str, thinking: Thinking, field: str
) -> None:
    with pytest.raises(RequestFailed, match=f"^{field}: the model thinks as long") as refused:
        thinking_variables(thinking, template)
    assert refused.value.code is Code.UNIMPLEMENTED
