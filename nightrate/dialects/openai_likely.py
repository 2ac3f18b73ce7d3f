"""How likely the tokens of an answer were, as OpenAI's protocol says it, in both directions."""

from __future__ import annotations

from msgspec import Struct

from nightrate.domain.generation import Candidate, Token

_BROKEN = "\N{REPLACEMENT CHARACTER}"
_IMPOSSIBLE = -9999.0
"""The protocol's word for what is as good as impossible; it has no number for minus infinity."""


class Likelihood(Struct, gc=False):
    """A token that could have stood in a place, and the logarithm of how likely it was.

    ``bytes`` are those of its text; none where it is only a part of a character.
    """

    token: str
    logprob: float
    bytes: list[int] | None = None


class ChosenLikelihood(Likelihood):
    """The token that stands in a place, and the likeliest ones of that place."""

    top_logprobs: list[Likelihood] = []


class Likelihoods(Struct):
    """Of an answer: one entry for each of its tokens."""

    content: list[ChosenLikelihood] | None = None
    refusal: None = None


def likelihoods_of(candidate: Candidate) -> Likelihoods | None:
    """Give what is known of an answer's tokens its shape on the wire; None if nothing is."""
    if not candidate.tokens:
        return None
    return Likelihoods(
        [
            ChosenLikelihood(
                *_likelihood(token), [Likelihood(*_likelihood(one)) for one in token.others]
            )
            for token in candidate.tokens
        ]
    )


def _likelihood(token: Token) -> tuple[str, float, list[int] | None]:
    told = None if _BROKEN in token.text else list(token.text.encode(errors="surrogatepass"))
    return token.text, max(token.log_probability, _IMPOSSIBLE), told


def tokens_of(likelihoods: Likelihoods) -> tuple[Token, ...]:
    """Read what a server says of the tokens of its answer."""
    return tuple(
        Token(
            *(chosen.token, chosen.logprob),
            others=tuple(Token(one.token, one.logprob) for one in chosen.top_logprobs),
        )
        for chosen in likelihoods.content or ()
    )
