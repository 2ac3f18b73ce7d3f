"""What of this machine's processor decides how much batching gains, as the system tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nightrate.engines.base import Finding

CPU_INFO = Path("/proc/cpuinfo")

_MULTIPLIES_BYTES: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""Linux's names of the instructions that libraries multiply weights of bytes with."""

_FLOATS: Final = (
    "has no VNNI, so it multiplies floats: a batch gains about four times over requests one at a "
    "time, where a processor with VNNI gains seven times"
)


def findings_about(engine: str, cpu_info: Path = CPU_INFO) -> list[Finding]:
    """Say whether the processor multiplies bytes; nothing where the system does not tell that.

    Without such instructions weights of bytes are made floats first. That is no fault, but the
    reason why a batch gains half as much as figures from other machines say.
    """
    flags = _flags(cpu_info)
    if not flags:
        return []
    has = sorted(flags & _MULTIPLIES_BYTES)
    found = f"multiplies bytes ({', '.join(has)})" if has else _FLOATS
    return [Finding(f"{engine}: processor", ok=True, found=found)]


def _flags(cpu_info: Path) -> set[str]:
    """Give what the first processor can, in the words of Linux on x86; else nothing."""
    try:
        with cpu_info.open(encoding="utf-8", errors="replace") as lines:
            line = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return set()
    return set(line.partition(":")[2].split())
