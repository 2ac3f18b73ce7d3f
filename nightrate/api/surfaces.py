"""Whose clients a path is for, and so how an error on it is written."""

from __future__ import annotations

import re
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

from nightrate.dialects import gemini, openai
from nightrate.domain.generation import Failure
from nightrate.errors import Refused

if TYPE_CHECKING:
    from starlette.types import Scope

_HOPELESS = {HTTPStatus.CONFLICT, HTTPStatus.NOT_IMPLEMENTED}

ALIASES = "chat/completions", "embeddings", "images/generations"
"""What of OpenAI's paths also stands beside Gemini's, whose names differ from these."""

_OPENAI = re.compile(rf"/v1(?:beta|alpha)?/(?:openai(?:/.*)?|{'|'.join(ALIASES)})", re.DOTALL)
_ANYWHERE = re.compile(r"(?:/exact)?")


class Surface(StrEnum):
    """Whose protocol a path belongs to."""

    GEMINI = "gemini"
    OPENAI = "openai"


def surface_of(scope: Scope) -> Surface:
    """Tell whose clients a path is for, whether or not there is anything at it."""
    path: str = scope["path"]
    profile = _ANYWHERE.match(path)
    assert profile is not None, "the pattern matches any text"
    ours = _OPENAI.fullmatch(path, profile.end())
    return Surface.OPENAI if ours else Surface.GEMINI


def refusal(
    error: Refused, surface: Surface, profile: gemini.Profile = gemini.Profile.DOCUMENTED
) -> tuple[int, bytes]:
    """Write a refusal: the HTTP status and the body."""
    if surface is Surface.OPENAI:
        return openai.render_error(error)
    return gemini.render_error(error, profile)


def failed(failure: Failure, surface: Surface) -> tuple[int, bytes]:
    """Write how a call failed: the HTTP status and the body."""
    render = openai.render_failure if surface is Surface.OPENAI else gemini.render_failure
    return render(failure)


def retry_headers(status: int, surface: Surface) -> dict[str, str]:
    """Tell OpenAI's clients, which try 409, 500 and more again, where that is of no use."""
    hopeless = surface is Surface.OPENAI and status in _HOPELESS
    return {"x-should-retry": "false"} if hopeless else {}
