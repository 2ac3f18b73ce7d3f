"""A model that is computed wrongly is told by the likeness of fixed sentences."""

from __future__ import annotations

import math

import msgspec
import pytest

from nightrate.domain.embedding import Embedding
from nightrate.engines import paraphrases
from nightrate.engines.paraphrases import PAIRS, REFERENCES, TEXTS, Reference, compare

VERSION = "a-model"


def vectors(cosine: float) -> list[Embedding]:
    """Make pairs with this cosine, at right angles to all other pairs."""
    made = []
    for pair in range(len(PAIRS)):
        for values in ((1.0, 0.0), (cosine, math.sqrt(1 - cosine**2))):
            row = [0.0] * (2 * len(PAIRS))
            row[2 * pair : 2 * pair + 2] = values
            made.append(Embedding.of(tuple(row), 7, VERSION))
    return made


@pytest.fixture
def _reference(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Reference((0.6,) * len(PAIRS), 0.0, (7,) * len(TEXTS))
    monkeypatch.setitem(paraphrases.REFERENCES, VERSION, reference)


@pytest.mark.usefixtures("_reference")
def test_what_is_like_the_reference_passes_and_nothing_else() -> None:
    right = compare(vectors(0.601))
    assert right.passed
    assert right.cosines == pytest.approx([0.601] * len(PAIRS))
    assert right.unrelated_max == 0
    assert not compare(vectors(0.9)).passed
    assert not compare([*vectors(0.6)[:-1], vectors(0.6)[0]]).passed
    other = msgspec.structs.replace(vectors(0.6)[3], prompt_tokens=8)
    assert not compare([*vectors(0.6)[:3], other, *vectors(0.6)[4:]]).passed


def test_every_reference_tells_paraphrases_from_other_texts() -> None:
    for reference in REFERENCES.values():
        assert len(reference.cosines) == len(PAIRS)
        assert len(reference.tokens) == len(TEXTS)
        assert min(reference.cosines) > 2 * reference.unrelated_max
