"""Does the engine compute the model that the weights describe?

A wrongly decoded model still writes plausible text at full speed. What it cannot fake is how likely
it finds a fixed text: the mean negative log-likelihood, in nats a token, is held against the value
that a reference implementation gives for the same weights and the same tokens.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from nightrate.engines.base import Finding

Mode = Literal["fast", "exact"]
"""The two ways the embedded engine computes; exact answers do not depend on their neighbours."""

TOLERANCE_NATS = 0.02
"""Between the fast mode's arithmetic (0.008 measured) and a wrong model (0.25 and more)."""

_ROME = (
    "The Roman Empire was one of the largest empires in the ancient world. At its height it "
    "covered the lands around the Mediterranean Sea, from Britain to Egypt. Its capital was Rome, "
    "and later Constantinople. The emperor ruled with the help of the senate, the army, and local "
    "governors. Roads, aqueducts and harbours tied the provinces together, and Latin became the "
    "common language of law and trade in the west, while Greek was spoken in the east. "
)
_LEAVES = (
    "Photosynthesis is the process by which green plants, algae and some bacteria turn light "
    "energy into chemical energy. They take in carbon dioxide and water, and release oxygen. The "
    "reactions take place in the chloroplasts, which contain a pigment called chlorophyll. "
)

PASSAGES = {
    "short": _ROME,
    "long": (
        _ROME
        + _LEAVES
        + "Volcanoes form where molten rock rises through the crust of the Earth. "
        + _ROME.replace("Roman", "Ottoman").replace("Rome", "Bursa")
        + _LEAVES.replace("green", "most")
    ),
}
"""The fixed texts. The reference values hold for these very characters."""


class Measured(Struct, frozen=True):
    """The mean negative log-likelihood of a passage, and its number of tokens."""

    nats_per_token: float
    tokens: int


REFERENCES: dict[str, dict[str, Measured]] = {
    "smollm2-135m-instruct-q8_0": {"short": Measured(2.670, 92), "long": Measured(1.472, 297)},
}
"""By model version; computed with the transformers library in 32-bit floats."""


class Comparison(Struct, frozen=True):
    """One passage, measured and expected; ``passed`` is None for a model without a reference."""

    measured: Measured
    reference: Measured | None
    passed: bool | None


def compare(model_version: str, measured: dict[str, Measured]) -> dict[str, Comparison]:
    """Hold measurements against the reference of a model, passage by passage."""
    references = REFERENCES.get(model_version, {})
    return {name: _compare(value, references.get(name)) for name, value in measured.items()}


def _compare(measured: Measured, reference: Measured | None) -> Comparison:
    if reference is None:
        return Comparison(measured, None, None)
    off_nats = abs(measured.nats_per_token - reference.nats_per_token)
    same_tokens = measured.tokens == reference.tokens
    return Comparison(measured, reference, same_tokens and off_nats <= TOLERANCE_NATS)


def findings_of(engine: str, comparison: dict[str, Comparison]) -> list[Finding]:
    """Say what a comparison found, for ``nightrate doctor``."""
    findings = []
    for passage, one in comparison.items():
        found = f"{one.measured.nats_per_token:.3f} nats a token"
        if one.reference is None:
            found += ", no reference for this model"
        else:
            found += f", {one.reference.nats_per_token:.3f} expected"
        ok = one.passed is not False
        remedy = "" if ok else "the weights are computed wrongly: remove the cached file"
        findings.append(Finding(f"{engine}: likelihood, {passage} passage", ok, found, remedy))
    return findings
