"""Chance that can be repeated: each stream of it follows from a seed and a name."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class Chance:
    """One stream. Drawing moves it on, so everybody who matters has one of his own."""

    def __init__(self, seed: int, name: str) -> None:
        self._random = random.Random(f"{seed} {name}")  # noqa: S311 - it is to be foreseen

    def share(self) -> float:
        """Give a number from 0 to 1."""
        return self._random.random()

    def happens(self, likely: float) -> bool:
        """Tell whether something happens that is so likely."""
        return likely > 0 and self._random.random() < likely

    def between(self, low: float, high: float) -> float:
        """Give a number between two."""
        return self._random.uniform(low, high)

    def whole(self, low: int, high: int) -> int:
        """Give a whole number, both ends included."""
        return self._random.randint(low, high)

    def one_of(self, choices: Sequence[T]) -> T:
        """Choose."""
        return self._random.choice(choices)

    def new_id(self, length: int) -> str:
        """Give an id as `clock.new_id` does."""
        return "".join(self._random.choices(_ALPHABET, k=length))

    def secret_bytes(self, length: int) -> bytes:
        """Give bytes as `clock.secret_bytes` does; here they are no secret."""
        return self._random.randbytes(length)
