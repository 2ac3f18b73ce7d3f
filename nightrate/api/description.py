"""The description of the doors: one OpenAPI document, written by hand.

It stands beside this file. A test compares it with the route table, and generated requests compare
the server with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nightrate.api.respond import document

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

DOCUMENT = Path(__file__).with_name("openapi.json").read_bytes()
"""The document as it is sent."""


async def describe(request: Request) -> Response:
    """Answer ``GET /openapi.json``."""
    del request
    return document(DOCUMENT)
