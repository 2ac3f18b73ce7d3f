"""What is asked for and an engine cannot do, told by the path of the wish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Asked, Capability, Failure, needs_of
from nightrate.domain.medium import Medium, covers
from nightrate.engines.base import Engine
from nightrate.errors import Code

_INABILITIES: Final = {
    Capability.SCHEMA: (Code.UNIMPLEMENTED, "cannot give answers a form."),
    Capability.IMAGES: (Code.INVALID_ARGUMENT, "draws no pictures."),
    Capability.CALLS: (Code.UNIMPLEMENTED, "calls no functions. Leave them out."),
    Capability.LOGPROBS: (Code.UNIMPLEMENTED, "does not say how likely tokens were. Leave it out."),
    Capability.TOP_LOGPROBS: (
        Code.UNIMPLEMENTED,
        "says how likely the chosen tokens were, but not which others were. Leave it out.",
    ),
    Capability.TOOLS: (
        Code.UNIMPLEMENTED,
        "does not decide by itself whether to call a function. Demand a call, or no call.",
    ),
}
"""What an engine is told to be unable to do."""


def unable(engine: Engine, name: str, asked: Asked) -> Failure | None:
    """Say what is asked for and the engine cannot do; None for nothing.

    Args:
        engine: would answer it.
        name: of the engine, in the settings.
        asked: the whole of it.
    """
    if isinstance(asked, Passage):
        return _too_long(engine, asked)
    abilities = engine.capabilities
    for need in needs_of(asked):
        if need.capability not in abilities:
            code, why = _INABILITIES[need.capability]
            message = f"{need.field}: the engine of this model {why}"
            return Failure(code, message, need.field)
    return unreadable(engine, name, asked.media)


def _too_long(engine: Engine, passage: Passage) -> Failure | None:
    """Say that the vectors of an engine are shorter than what is asked for; None if they are not.

    An engine that does not know the length of its vectors finds out when it has made one.
    """
    wanted, most = passage.dimensions, engine.dimensions_max
    if wanted is None or most is None or wanted <= most:
        return None
    field = passage.dimensions_field
    message = f"{field}: the vectors of this model have {most} numbers; ask for {most} at most."
    return Failure(Code.INVALID_ARGUMENT, message, field)


def unreadable(engine: Engine, name: str, media: Sequence[Medium]) -> Failure | None:
    """Say which medium the engine does not read; None if it reads all.

    A file that says nothing of its type is taken for one that is read, by engines that read any.
    """
    for medium in media:
        mime_type = medium.mime_type
        if covers(engine.media, mime_type) if mime_type else engine.media:
            continue
        what = mime_type or "media"
        reads = f"reads {', '.join(engine.media)}, not" if engine.media else "reads text, and no"
        message = (
            f"{medium.field}: the engine of this model, {name}, {reads} {what}. Leave it out, or"
            " ask a model whose engine reads it."
        )
        return Failure(Code.UNIMPLEMENTED, message, medium.field)
    return None
