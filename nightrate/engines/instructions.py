"""What a model is told of the form that its answer will have, and of the functions it will call.

A grammar alone would leave a model guessing what the members of an object are for.
"""

from __future__ import annotations

from msgspec import json, structs

from nightrate.domain.calling import ARGUMENTS, NAME, Calling, Function, form_of_calls
from nightrate.domain.generation import Message, Prompt
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


def instruction_of_calls(calling: Calling) -> str:
    """Say which functions there are, and how one is called."""
    functions = "\n".join(map(_declared, calling.functions))
    return (
        f"You can call these functions:\n{functions}\n"
        f'Answer only with one call, as JSON: {{"{NAME}": NAME, "{ARGUMENTS}": {{...}}}}.'
    )


def _declared(function: Function) -> str:
    schema = json.encode(json_schema_of(function.parameters)).decode()
    purpose = f"{function.description} " if function.description else ""
    return f"- {function.name}: {purpose}Arguments: {schema}"


def system_of(prompt: Prompt) -> str | None:
    """Give what a model reads before the conversation: the prompt's own words, then the form."""
    if prompt.form is not None:
        said = instruction_of(prompt.form)
    elif prompt.calling is not None:
        said = instruction_of_calls(prompt.calling)
    else:
        return prompt.system
    return f"{prompt.system}\n{said}" if prompt.system else said


def with_written_calls(prompt: Prompt, calling: Calling) -> Prompt:
    """Make a prompt whose answer is the text of one call, for whoever knows no functions.

    What was called and answered before is told in words.
    """
    return structs.replace(
        prompt,
        system=system_of(prompt),
        messages=tuple(Message(message.role, message.words) for message in prompt.messages),
        form=form_of_calls(calling),
        calling=None,
    )


def turns_of(prompt: Prompt) -> list[tuple[str, str]]:
    """Give a conversation as chat templates know it: roles and texts, what is told first."""
    return turns_behind(system_of(prompt), prompt)


def turns_behind(system: str | None, prompt: Prompt) -> list[tuple[str, str]]:
    """Give the same with these words first."""
    turns = [("system", system)] if system else []
    return turns + [
        ("assistant" if message.role == "model" else "user", message.words)
        for message in prompt.messages
    ]
