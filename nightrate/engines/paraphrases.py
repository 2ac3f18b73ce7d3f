"""Does the engine compute the vectors that the weights describe?

Outputs of the wrong layer still look like vectors, and a wrong vocabulary still gives numbers. What
neither can fake is how near texts lie that say the same in other words, and how far all others are:
the cosines of fixed pairs are held against the values of a reference implementation.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final

from msgspec import Struct

from nightrate.domain.embedding import Embedding

PAIRS: Final = (
    ("How do I get a driver's license?", "What are the steps to obtain a driving licence?"),
    ("The cat sat on the mat.", "A cat was sitting on a rug."),
    ("Photosynthesis turns sunlight into chemical energy.", "Plants make food from light."),
    (
        "The company's profits fell sharply last year.",
        "Earnings at the firm dropped a lot over the past twelve months.",
    ),
)
"""Texts that say the same. The reference values hold for these very characters."""

TEXTS: Final = tuple(text for pair in PAIRS for text in pair)

TOLERANCE: Final = 0.005
"""Between the arithmetic of two libraries (under 0.0001 measured) and a wrong layer (0.1 and
more)."""


class Reference(Struct, frozen=True):
    """What the reference implementation gives."""

    cosines: tuple[float, ...]
    """Of the pairs."""
    unrelated_max: float
    """The largest cosine of two texts of different pairs."""
    tokens: tuple[int, ...]
    """Of each text, with the marks at both ends."""


REFERENCES: Final = {
    "paraphrase-minilm-l3-v2": Reference(
        (0.72517, 0.65986, 0.48110, 0.48444), 0.12804, (12, 12, 9, 10, 11, 8, 12, 15)
    ),
}
"""By model version; computed with the onnxruntime and tokenizers libraries."""


class Comparison(Struct, frozen=True):
    """What was measured for `TEXTS`, and what was expected."""

    cosines: tuple[float, ...]
    unrelated_max: float
    reference: Reference
    passed: bool


def compare(embeddings: list[Embedding]) -> Comparison:
    """Hold the vectors of `TEXTS`, in their order, against the reference of the model."""
    reference = REFERENCES[embeddings[0].model_version]
    vectors = [embedding.values for embedding in embeddings]
    cosines: list[float] = []
    unrelated: list[float] = []
    for one, other in combinations(range(len(vectors)), 2):
        cosine = sum(a * b for a, b in zip(vectors[one], vectors[other], strict=True))
        (cosines if one // 2 == other // 2 else unrelated).append(cosine)
    measured = (*cosines, max(unrelated))
    wanted = (*reference.cosines, reference.unrelated_max)
    near = all(abs(a - b) <= TOLERANCE for a, b in zip(measured, wanted, strict=True))
    same_tokens = tuple(one.prompt_tokens for one in embeddings) == reference.tokens
    return Comparison(tuple(cosines), max(unrelated), reference, near and same_tokens)
