"""``make faults``: every campaign, with its figures; names choose some of them."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from tests.faults.campaign import Campaign, told


def campaigns() -> list[Campaign]:
    """Find all campaigns: those that modules of this folder name as theirs."""
    found: list[Campaign] = []
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        if not path.name.startswith("test_"):
            module = importlib.import_module(f"tests.faults.{path.stem}")
            found += getattr(module, "CAMPAIGNS", ())
    return found


def main() -> int:
    """Read the command line; 1 when a promise was broken."""
    known = {campaign.name: campaign for campaign in campaigns()}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(known)}; all by default")
    parser.add_argument("--points", type=int, help="how many to try of each")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    broken = 0
    for name in wanted.names or known:
        if name not in known:
            parser.error(f"there is no campaign {name}; there are: {', '.join(known)}")
        campaign = known[name]
        print(f"{campaign.name}: {campaign.what}", flush=True)
        started = time.monotonic()
        points = wanted.points or campaign.points
        figures = campaign.run(points, wanted.seed)
        broken += len(figures.violations)
        print("\n".join(told(campaign, figures, time.monotonic() - started)), flush=True)
        if figures.violations:
            again = f"{name} --seed {wanted.seed}" + (f" --points {points}" if points else "")
            print(f'  again: make faults ARGS="{again}"', flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
