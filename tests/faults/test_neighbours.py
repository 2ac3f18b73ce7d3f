"""Two servers and one data directory; `tests.cli` has the plain cases."""

from __future__ import annotations

import pytest

from tests.faults.quick import quick

pytestmark = pytest.mark.timeout(600)


def test_a_directory_has_one_server_also_when_it_is_stopped_or_several_start() -> None:
    quick("two-servers", 2)
