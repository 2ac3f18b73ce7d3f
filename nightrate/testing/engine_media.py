"""What an engine promises that reads media; `engine_contract` includes these tests."""
# ruff: noqa: D102 - the names of the promises are sentences

from __future__ import annotations

import msgspec

from nightrate.domain.generation import Capability
from nightrate.domain.medium import Medium, covers
from nightrate.engines.base import Engine
from nightrate.testing.engine_samples import asked, pieces_of, text_of

PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)
"""A PNG file of one pixel."""


class MediaPromises:
    """Promises of an engine that reads media."""

    async def test_it_names_the_types_of_media_that_it_reads_if_it_reads_any(
        self, engine: Engine
    ) -> None:
        assert (Capability.MEDIA in engine.capabilities) is bool(engine.media)

    async def test_a_picture_in_a_prompt_is_read(self, engine: Engine) -> None:
        if not covers(engine.media, "image/png") or Capability.TEXT not in engine.capabilities:
            return
        picture = Medium(field="picture", offset=4, mime_type="image/png", data=PICTURE)
        plain = asked("See this.", max_output_tokens=8, temperature=0.0)
        showing = msgspec.structs.replace(plain, media=(picture,))
        reply = await engine.generate(showing)
        assert text_of(reply)
        texts, streamed = await pieces_of(engine, showing)
        assert "".join(texts) == text_of(streamed) == text_of(reply)
