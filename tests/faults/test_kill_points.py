"""A sample of the calls at which a server can be killed, in every run of the tests."""

from __future__ import annotations

import pytest

from tests.faults.quick import quick

pytestmark = pytest.mark.timeout(600)


def test_a_kill_at_any_call_loses_nothing_and_doubles_nothing() -> None:
    quick("kill-at-each-call", 100)
