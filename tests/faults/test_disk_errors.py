"""A sample of the calls that a disk can refuse, in every run of the tests."""

from __future__ import annotations

import pytest

from tests.faults.quick import quick

pytestmark = pytest.mark.timeout(600)


def test_a_disk_that_refuses_any_call_costs_time_and_nothing_else() -> None:
    quick("disk-errors", 15)
