"""What a client may know of a model."""

from __future__ import annotations

from msgspec import Struct

from nightrate.domain.batch import Method


class Model(Struct, frozen=True, kw_only=True):
    """A name that is served."""

    name: str
    """Without ``models/``."""
    engine: str
    """Which engine answers; clients do not see it."""
    methods: frozenset[Method]
    """What can be asked of it."""
    display_name: str
    description: str
    version: str
    """What really runs under the name."""
    input_token_limit: int
    output_token_limit: int
