"""What an answer rests on, as Gemini's responses say it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from msgspec import Struct

from nightrate.domain.grounding import Grounding, PageStatus, Support

_STATUSES: Final = {
    PageStatus.SUCCESS: "URL_RETRIEVAL_STATUS_SUCCESS",
    PageStatus.ERROR: "URL_RETRIEVAL_STATUS_ERROR",
    PageStatus.PAYWALL: "URL_RETRIEVAL_STATUS_PAYWALL",
    PageStatus.UNSAFE: "URL_RETRIEVAL_STATUS_UNSAFE",
}


class WebChunk(Struct, gc=False):
    """A page that a search found."""

    uri: str
    title: str


class GroundingChunk(Struct, gc=False):
    """A source of an answer."""

    web: WebChunk


class Segment(Struct, rename="camel", omit_defaults=True, gc=False):
    """A piece of an answer's text; counted in bytes of UTF-8, and without what is 0."""

    text: str
    start_index: int = 0
    end_index: int = 0
    part_index: int = 0


class GroundingSupport(Struct, rename="camel", gc=False):
    """A piece of an answer, and the sources that it rests on."""

    segment: Segment
    grounding_chunk_indices: tuple[int, ...]
    confidence_scores: tuple[float, ...]


class SearchEntryPoint(Struct, rename="camel", gc=False):
    """The searches as HTML."""

    rendered_content: str


class GroundingMetadata(Struct, rename="camel", omit_defaults=True, gc=False):
    """What an answer rests on."""

    web_search_queries: tuple[str, ...] = ()
    search_entry_point: SearchEntryPoint | None = None
    grounding_chunks: tuple[GroundingChunk, ...] = ()
    grounding_supports: tuple[GroundingSupport, ...] = ()


class UrlMetadata(Struct, rename="camel", gc=False):
    """What became of a page that the user named."""

    retrieved_url: str
    url_retrieval_status: str


class UrlContextMetadata(Struct, rename="camel", gc=False):
    """What became of all of them."""

    url_metadata: tuple[UrlMetadata, ...]


def pages_of(grounding: Grounding) -> UrlContextMetadata | None:
    """Say what became of the pages that the user named; None where there were none."""
    if not grounding.pages:
        return None
    return UrlContextMetadata(
        tuple(UrlMetadata(page.uri, _STATUSES[page.status]) for page in grounding.pages)
    )


def grounding_of(
    grounding: Grounding, supports: Iterable[Support], part: int
) -> GroundingMetadata | None:
    """Say what an answer rests on, as a whole and piece by piece; None where that is nothing.

    ``part`` is the index of the part with the text.
    """
    if not grounding.queries and not grounding.sources:
        return None
    chips = "".join(f'<span class="chip">{escape(query)}</span>' for query in grounding.queries)
    return GroundingMetadata(
        grounding.queries,
        SearchEntryPoint(f'<div class="container">{chips}</div>') if grounding.queries else None,
        tuple(GroundingChunk(WebChunk(found.uri, found.title)) for found in grounding.sources),
        tuple(
            GroundingSupport(
                Segment(support.text, support.start_byte, support.end_byte, part),
                support.sources,
                support.confidences,
            )
            for support in supports
        ),
    )
