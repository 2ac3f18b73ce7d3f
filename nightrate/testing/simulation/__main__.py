"""``make sim``: plays seeds, the kept ones first, and prints how to repeat one that fails."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from nightrate import clock
from nightrate.testing.simulation.kept import KEPT
from nightrate.testing.simulation.place import workplace
from nightrate.testing.simulation.play import REQUESTS, Report, play

SEEDS: Final = "0-299"
TRACE_LINES: Final = 80
SECONDS_BETWEEN_LINES: Final = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what the command line asks for; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m nightrate.testing.simulation", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seed", type=int, help="play one seed, and show what happened in it")
    parser.add_argument("--seeds", default=SEEDS, help="play a range, such as 0-299")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of all clients of a seed")
    parser.add_argument("--trace", type=int, default=TRACE_LINES, help="lines shown of a failure")
    wanted = parser.parse_args(arguments)
    if wanted.seed is not None:
        return _one(wanted.seed, wanted.requests, wanted.trace)
    return _many(wanted.seeds, wanted.requests, wanted.trace)


def _one(seed: int, requests: int, trace: int) -> int:
    with workplace() as place:
        report = play(seed, place, requests)
    _show(report, trace)
    print(_figures([report], 0.0))
    print(f"digest {report.digest}")
    return _failed(report, requests) if report.violation else 0


def _many(seeds: str, requests: int, trace: int) -> int:
    reports: list[Report] = []
    failed = 0
    began = told = clock.monotonic()
    with workplace() as place:
        for seed in _seeds(seeds):
            report = play(seed, place, requests)
            reports.append(report)
            if report.violation:
                _show(report, trace)
                failed += _failed(report, requests)
            if clock.monotonic() - told > SECONDS_BETWEEN_LINES:
                told = clock.monotonic()
                print(_figures(reports, told - began), flush=True)
    print(_figures(reports, clock.monotonic() - began))
    print(f"{failed} of {len(reports)} seeds broke a promise")
    return 1 if failed else 0


def _seeds(text: str) -> Iterator[int]:
    """Give the kept seeds and those of a range."""
    first, _, last = text.partition("-")
    yield from KEPT
    yield from (seed for seed in range(int(first), int(last or first) + 1) if seed not in KEPT)


def _show(report: Report, lines: int) -> None:
    """Show the end of what happened."""
    print("\n".join(report.trace[-lines:] if lines else ()))


def _failed(report: Report, requests: int) -> int:
    print(f"\nseed {report.seed}: {report.violation}", flush=True)
    asked = "" if requests == REQUESTS else f" --requests {requests}"
    print(f"again: python -m nightrate.testing.simulation --seed {report.seed}{asked}\n")
    return 1


def _figures(reports: Sequence[Report], seconds: float) -> str:
    count = len(reports)

    def mean(name: str) -> str:
        return f"{sum(getattr(report, name) for report in reports) / count:.1f}"

    pace = f"{count / seconds:.1f} seeds a second; " if seconds else ""
    return (
        f"{count} seeds; {pace}each {mean('virtual_seconds')} virtual seconds,"
        f" {mean('calls')} points, {mean('crashes')} crashes, {mean('freezes')} freezes,"
        f" {mean('takeovers')} shards taken over, {mean('batches')} batches ended"
    )


if __name__ == "__main__":
    sys.exit(main())
