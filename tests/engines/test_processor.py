"""What is said of a processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightrate.engines.base import Finding
from nightrate.engines.processor import findings_about

HEAD = "processor\t: 0\nvendor_id\t: AuthenticAMD\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("fpu avx2 avx512_vnni amx_int8", "multiplies bytes (amx_int8, avx512_vnni)"),
        ("fpu avx2 avx_vnni", "multiplies bytes (avx_vnni)"),
        ("fpu avx2 avx512f", "has no VNNI, so it multiplies floats"),
    ],
)
def test_a_processor_multiplies_bytes_or_floats(tmp_path: Path, flags: str, words: str) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"{HEAD}flags\t\t: {flags}\nbugs\t: none\n{HEAD}flags\t: other\n")
    (finding,) = findings_about("openvino", told)
    assert finding.found.startswith(words)
    assert finding == Finding("openvino: processor", ok=True, found=finding.found)


def test_where_the_system_does_not_tell_nothing_is_said(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    assert findings_about("openvino", told) == []
    told.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    assert findings_about("openvino", told) == []
