"""Which model names are served, and by which engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

from nightrate.domain.model import Model
from nightrate.errors import NotFound

KNOWN_NAMES = (
    "gemini-2.5-flash",
    "gemini-2.5-flash-image",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-flash-preview",
    "gemini-3-pro-image-preview",
    "gemini-3-pro-preview",
    "gemini-3.5-flash",
)
"""Names that are listed although no rule spells them out: those of Google's documentation."""

IMAGES = "*image*"
"""Names of models that draw; by a pattern they resolve to engines only that can."""

NOT_SERVED = ("*embedding*", "*tts*", "*veo*", "*imagen*")
"""Names of Google's models that do something else than text; no text engine may answer for them."""

CONTEXT_TOKENS = 8192
"""Of the embedded text model."""


class Models:
    """The table of served names.

    ``rules`` maps a name, or a pattern with ``*``, to the name of an engine. An exact name comes
    before every pattern, an earlier pattern before a later one. ``drawing`` names the engines that
    draw pictures.
    """

    def __init__(self, rules: Mapping[str, str], drawing: Collection[str] = ()) -> None:
        self._rules = dict(rules)
        self._drawing = drawing

    def resolve(self, name: str) -> Model:
        """Find the model that answers to a name, with or without ``models/``.

        Raises:
            NotFound: no rule covers it.
        """
        short = name.removeprefix("models/").removeprefix("tunedModels/")
        engine = self.engine_of(short)
        if engine is None:
            if fnmatchcase(short, IMAGES) and self._rules:
                message = f"models/{short} draws pictures, and no engine of this server does that."
                raise NotFound(f"{message} Map the name to one that can under [models].")
            served = ", ".join(self._rules) or "none"
            message = (
                f"models/{short} is not found, or not supported for this method. This server"
                f" serves: {served}. Add a rule under [models] in its settings to serve more."
            )
            raise NotFound(message)
        return _describe(short, engine)

    def list(self) -> list[Model]:
        """Give every name worth listing, sorted."""
        exact = [name for name in self._rules if "*" not in name]
        known = [name for name in KNOWN_NAMES if self.engine_of(name) is not None]
        return [self.resolve(name) for name in sorted({*exact, *known})]

    def engine_of(self, name: str) -> str | None:
        """Name the engine behind a model, if it is served."""
        if name in self._rules:
            return self._rules[name]
        if any(fnmatchcase(name, pattern) for pattern in NOT_SERVED):
            return None
        draws = fnmatchcase(name, IMAGES)
        for pattern, engine in self._rules.items():
            if "*" in pattern and fnmatchcase(name, pattern):
                if draws and engine not in self._drawing:
                    continue
                return engine
        return None


def _describe(name: str, engine: str) -> Model:
    return Model(
        name=name,
        engine=engine,
        display_name=name,
        description=f"Served by the {engine} engine of this Nightrate.",
        version="1",
        input_token_limit=CONTEXT_TOKENS,
        output_token_limit=CONTEXT_TOKENS,
    )
