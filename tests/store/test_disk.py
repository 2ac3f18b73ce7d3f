"""What the disk is asked for beside reading and writing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nightrate.store.disk import begin_writing


def test_writing_is_begun_before_the_sync_where_the_kernel_can(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.write(descriptor, b"x" * 10_000)
        assert begin_writing(descriptor, 0, 0) is sys.platform.startswith("linux")
        assert os.pread(descriptor, 10_000, 0) == b"x" * 10_000
    finally:
        os.close(descriptor)
    assert not begin_writing(descriptor, 0, 0)
