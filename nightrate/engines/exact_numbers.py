"""Numbers for a renderer of templates that rounds them: they go through it as texts.

llama.cpp's writes fractions with six digits, and whole numbers beyond those of a float likewise.
What a function was called with would reach the model as something else.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import json

from nightrate.engines.control_words import character_beside, texts_in

_EXACT_MAX: Final = 2**53
"""Whole numbers up to here are written as they are."""


class ExactNumbers:
    """Puts numbers into texts, and takes them out again.

    Args:
        values: what goes to the template, as JSON has it.
    """

    def __init__(self, *values: object) -> None:
        self._mark = character_beside("".join(texts_in(list(values))))
        mark = self._mark
        self._held = re.compile(rf"([\"']?){mark}([0-9.eE+-]+){mark}\1")

    def hold(self, value: Any) -> Any:
        """Give a value in which each number that would be rounded is a text."""
        if isinstance(value, dict):
            return {name: self.hold(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self.hold(item) for item in value]
        if isinstance(value, float) or (type(value) is int and abs(value) > _EXACT_MAX):
            written = str(value) if isinstance(value, int) else json.encode(value).decode()
            return f"{self._mark}{written}{self._mark}"
        return value

    def let_go(self, rendered: str) -> str:
        """Give what a template made of such values, with the numbers in it."""
        return self._held.sub(r"\2", rendered)
