"""One server for the tests of a file; those that restart it make their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.doors import Doors, opened


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    with opened(tmp_path_factory.mktemp("data")) as doors:
        yield doors
