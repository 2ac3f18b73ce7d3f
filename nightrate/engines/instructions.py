"""What a model is told of the form that its answer will have.

A grammar alone would leave a model guessing what the members of an object are for.
"""

from __future__ import annotations

from msgspec import json

from nightrate.domain.generation import Prompt
from nightrate.domain.schema import ChoiceForm, Form, json_schema_of


def instruction_of(form: Form) -> str:
    """Say a form in words and JSON Schema."""
    if isinstance(form, ChoiceForm):
        choices = ", ".join(json.encode(choice).decode() for choice in form.choices)
        return f"Answer with exactly one of these: {choices}."
    schema = json_schema_of(form.schema)
    if not schema:
        return "Answer with JSON only."
    return f"Answer only with JSON that follows this JSON Schema: {json.encode(schema).decode()}"


def system_of(prompt: Prompt) -> str | None:
    """Give what a model reads before the conversation: the prompt's own words, then the form."""
    if prompt.form is None:
        return prompt.system
    said = instruction_of(prompt.form)
    return f"{prompt.system}\n{said}" if prompt.system else said
