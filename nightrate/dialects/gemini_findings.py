"""What a server that speaks Gemini's protocol found in an answer: harms, citations, why it ended.

None of this is asked for, so what cannot be understood of it is left out, and the answer stands.
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw, Struct, json, structs

from nightrate.dialects.gemini_ranges import HARMS
from nightrate.dialects.other_servers import all_understood, understood
from nightrate.domain.generation import Candidate
from nightrate.domain.grounding import Citation
from nightrate.domain.guidance import HarmRating, Likelihood

_LIKELIHOODS: Final = {likelihood.name: likelihood for likelihood in Likelihood}


class _Rating(Struct):
    """What is said of one harm."""

    category: str | None = None
    probability: str | None = None
    blocked: bool | None = None


class _Cited(Struct, rename="camel"):
    """A piece that repeats a source; what is 0 may be missing."""

    start_index: int | None = None
    end_index: int | None = None
    uri: str | None = None
    title: str | None = None
    license: str | None = None


class _Citations(Struct, rename="camel"):
    """All of these."""

    citation_sources: Raw = Raw()


_TEXT: Final = json.Decoder(str)
_RATING: Final = json.Decoder(_Rating, strict=False)
_CITATIONS: Final = json.Decoder(_Citations)
_CITED: Final = json.Decoder(_Cited, strict=False)


class Judged(Struct, rename="camel"):
    """A candidate, as far as it is judged; looked into only here."""

    finish_message: Raw = Raw()
    safety_ratings: Raw = Raw()
    citation_metadata: Raw = Raw()


class Findings:
    """What was found, put together document by document."""

    def __init__(self) -> None:
        self._end_message = ""
        self._ratings: tuple[HarmRating, ...] = ()
        self._citations: list[Citation] = []

    def take(self, judged: Judged) -> None:
        """Take in what one document says of an answer; ratings are of all of it so far."""
        self._end_message = understood(_TEXT, judged.finish_message) or self._end_message
        self.rate(judged.safety_ratings)
        cited = understood(_CITATIONS, judged.citation_metadata)
        if cited is not None:
            self._citations += map(_citation, all_understood(_CITED, cited.citation_sources))

    def rate(self, ratings: Raw) -> None:
        """Take in ratings; these come instead of earlier ones."""
        self._ratings = tuple(_ratings(all_understood(_RATING, ratings))) or self._ratings

    def told(self, candidate: Candidate, *, verbatim: bool) -> Candidate:
        """Say it of an answer.

        Args:
            candidate: the answer.
            verbatim: whether its text is the server's, byte by byte: places in it mean nothing
                else.
        """
        if not (self._end_message or self._ratings or self._citations):
            return candidate
        size_bytes = len(candidate.text.encode(errors="replace")) if verbatim else -1
        return structs.replace(
            candidate,
            ratings=self._ratings,
            end_message=self._end_message,
            citations=tuple(
                one for one in self._citations if 0 <= one.start_byte <= one.end_byte <= size_bytes
            ),
        )


def _ratings(ratings: list[_Rating]) -> list[HarmRating]:
    found = []
    for rating in ratings:
        harm = HARMS.get(rating.category or "")
        likelihood = _LIKELIHOODS.get(rating.probability or "")
        if harm is not None and likelihood is not None:
            found.append(HarmRating(harm, likelihood, bool(rating.blocked)))
    return found


def _citation(cited: _Cited) -> Citation:
    return Citation(
        *(cited.start_index or 0, cited.end_index or 0),
        *(cited.uri or "", cited.title or "", cited.license or ""),
    )
