"""Tests of a group run in one process: else each would load the model, or make the museum."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("together")
def test_the_tests_of_a_group_stay_together(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("one process runs all tests")
    # By this ending the tests are handed out; a pytest that ignores it separates them in silence.
    assert request.node.nodeid.endswith("@together")
