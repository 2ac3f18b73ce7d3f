"""Which model names are served, and by which engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from nightrate.domain.batch import Method
from nightrate.domain.generation import Capability
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
    "gemini-embedding-001",
    "gemini-embedding-2",
    "text-embedding-004",
)
"""Names that are listed although no rule spells them out: those of Google's documentation."""

IMAGES = "*image*"
"""Names of models that draw; a pattern covers them where its engine can."""

NOT_SERVED = ("*tts*", "*veo*", "*imagen*")
"""Names of Google's models that do something else; no engine of ours may answer for them."""

_MEANT = {
    "*embedding*": frozenset({Method.EMBED}),
    "gemini-*": frozenset({Method.GENERATE}),
    "*": frozenset(Method),
}
"""What names mean: Google's mean what they mean there, any other does all that its engine can."""

_ABLE = {
    Capability.TEXT: Method.GENERATE,
    Capability.IMAGES: Method.GENERATE,
    Capability.EMBEDDINGS: Method.EMBED,
}
_VERBS = {Method.GENERATE: "generating text", Method.EMBED: "embedding"}

CONTEXT_TOKENS = 8192
"""Of the embedded text model."""

PASSAGE_TOKENS = 512
"""Of the embedded embedding model."""

Offers = Callable[[str], frozenset[Capability]]
"""Gives what the engine of a name can do."""


def _text_only(_engine: str) -> frozenset[Capability]:
    return frozenset({Capability.TEXT})


class Models:
    """The table of served names.

    ``rules`` maps a name, or a pattern with ``*``, to the name of an engine. An exact name comes
    before every pattern, an earlier pattern before a later one; a pattern covers only those names
    whose meaning its engine can live up to.
    """

    def __init__(self, rules: Mapping[str, str], offers: Offers = _text_only) -> None:
        self._rules = dict(rules)
        self._offers = offers

    def resolve(self, name: str, method: Method | None = None) -> Model:
        """Find the model that answers to a name, with or without ``models/``.

        Args:
            name: as the client wrote it.
            method: what is to be asked of the model; None if that is not known yet.

        Raises:
            NotFound: no rule covers it, or it does something else.
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
        model = _describe(short, engine, self._methods(short, engine))
        if method is not None and method not in model.methods:
            others = [other.name for other in self.list() if method in other.methods]
            message = f"models/{short} is not supported for {_VERBS[method]}."
            message += f" These are: {', '.join(others)}." if others else ""
            raise NotFound(message)
        return model

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
            if "*" not in pattern or not fnmatchcase(name, pattern):
                continue
            offered = self._offers(engine)
            if draws and Capability.IMAGES not in offered:
                continue
            if _meant(name) & _able(offered if draws else offered - {Capability.IMAGES}):
                return engine
        return None

    def _methods(self, name: str, engine: str) -> frozenset[Method]:
        """Say what a model does: what its name means, unless a rule for it alone says more."""
        able = _able(self._offers(engine))
        return _meant(name) & able or able


def _able(offered: frozenset[Capability]) -> frozenset[Method]:
    return frozenset(method for skill, method in _ABLE.items() if skill in offered)


def usual_method(name: str) -> Method:
    """Say what a name is asked for when nobody says, whatever engine stands behind it."""
    return Method.GENERATE if Method.GENERATE in _meant(name) else Method.EMBED


def _meant(name: str) -> frozenset[Method]:
    return next(methods for pattern, methods in _MEANT.items() if fnmatchcase(name, pattern))


def _describe(name: str, engine: str, methods: frozenset[Method]) -> Model:
    limit = CONTEXT_TOKENS if Method.GENERATE in methods else PASSAGE_TOKENS
    return Model(
        name=name,
        engine=engine,
        methods=methods,
        display_name=name,
        description=f"Served by the {engine} engine of this Nightrate.",
        version="1",
        input_token_limit=limit,
        output_token_limit=limit if Method.GENERATE in methods else 1,
    )
