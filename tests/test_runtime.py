"""The house is built whole, or leaves the directory free and says why."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nightrate import runtime
from nightrate.errors import StoreFault
from nightrate.runtime import open_house
from nightrate.settings import Settings


def test_a_disk_that_refuses_while_rooms_are_wired_is_told_and_the_lock_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(runtime, "Blobs", refuse)
    for _ in range(2):
        with pytest.raises(StoreFault, match="cannot be used as the data directory: No space left"):
            open_house(Settings(data=str(tmp_path), engine="echo"))
