"""What each tenant may have at once, as it is configured."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase


class TokenQuotas:
    """How many input tokens a tenant may have in live batches, by model.

    ``rules`` maps a name, or a pattern with ``*``, to a number that each model it fits has for
    itself. An exact name comes before every pattern, an earlier pattern before a later one.
    """

    def __init__(self, rules: Mapping[str, int]) -> None:
        self._rules = dict(rules)

    def of(self, model: str) -> int | None:
        """Give the bound for a model; None for any number."""
        if model in self._rules:
            return self._rules[model]
        fitting = (most for name, most in self._rules.items() if fnmatchcase(model, name))
        return next(fitting, None)
