"""A few kills of a whole server under load, in every run of the tests."""

from __future__ import annotations

import pytest

from tests.faults.quick import quick

pytestmark = pytest.mark.timeout(600)


def test_a_server_that_is_killed_under_load_loses_nothing_of_three_tenants() -> None:
    quick("kill-loop", 3)
