"""A sample of power cuts in every run of the tests, and the proof that they would find a flaw."""

from __future__ import annotations

import pytest

from tests.faults.power_cuts import FLAWS
from tests.faults.quick import quick

pytestmark = pytest.mark.timeout(600)


def test_a_power_cut_loses_nothing_that_was_acknowledged() -> None:
    quick("power-cuts", 50)


def test_a_sync_that_is_left_out_is_noticed_whichever_it_is() -> None:
    said = quick("planted-flaws", len(FLAWS))
    for flaw in FLAWS:
        assert flaw.__name__.replace("_", " ") in said
