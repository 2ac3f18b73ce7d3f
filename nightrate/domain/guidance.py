"""What a client asks of a model beside its answer: how long it thinks, and what is filtered.

A model that does not think keeps within any wish, and one without a filter has none to tune: both
mean something only to services that have such things.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class ThinkingLevel(StrEnum):
    """How much a model thinks."""

    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Thinking(Struct, frozen=True, gc=False):
    """How long a model may think: in tokens, -1 for as it sees fit, or by a level."""

    budget_tokens: int | None = None
    level: ThinkingLevel | None = None


class Harm(StrEnum):
    """A category of what a filter finds."""

    HARASSMENT = "harassment"
    HATE_SPEECH = "hate_speech"
    SEXUALLY_EXPLICIT = "sexually_explicit"
    DANGEROUS_CONTENT = "dangerous_content"
    CIVIC_INTEGRITY = "civic_integrity"
    JAILBREAK = "jailbreak"
    DEROGATORY = "derogatory"
    TOXICITY = "toxicity"
    VIOLENCE = "violence"
    SEXUAL = "sexual"
    MEDICAL = "medical"
    DANGEROUS = "dangerous"


class Threshold(StrEnum):
    """How likely a harm must be to be filtered."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    NEVER = "never"
    OFF = "off"


class Withheld(StrEnum):
    """What a filter found, so that an answer ends there or there is none."""

    SAFETY = "safety"
    RECITATION = "recitation"
    LANGUAGE = "language"
    BLOCKLIST = "blocklist"
    PROHIBITED_CONTENT = "prohibited_content"
    SPII = "spii"
    MODEL_ARMOR = "model_armor"
    JAILBREAK = "jailbreak"
    IMAGE_SAFETY = "image_safety"
    IMAGE_PROHIBITED_CONTENT = "image_prohibited_content"
    IMAGE_RECITATION = "image_recitation"
    OTHER = "other"


class Likelihood(StrEnum):
    """How likely a text does a harm."""

    NEGLIGIBLE = "negligible"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class HarmRating(Struct, frozen=True, gc=False):
    """What a filter found of one harm; ``blocked`` says that it let nothing more through for it."""

    harm: Harm
    likelihood: Likelihood
    blocked: bool = False


class HarmFilter(Struct, frozen=True, gc=False):
    """From which likelihood on a harm is filtered."""

    harm: Harm
    threshold: Threshold
