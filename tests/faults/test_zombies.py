"""A sample of the moments at which an owner can be taken for dead, in every run of the tests."""

from __future__ import annotations

import pytest

from tests.faults.quick import quick

pytestmark = pytest.mark.timeout(600)


def test_an_owner_that_wakes_up_after_its_lease_changes_nothing() -> None:
    said = quick("zombies", 8)
    assert "taken over in 0 tries" not in said
