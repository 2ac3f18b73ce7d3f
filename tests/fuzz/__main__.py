"""``make fuzz``: many generated requests, with figures. The suite runs a few of each kind.

Everything is made from a seed; a failure prints what was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.acceptance.server import Process, Server
from tests.fuzz import forms, pure
from tests.fuzz.generated import UNREACHABLE, Generated
from tests.fuzz.neighbour import Neighbour
from tests.fuzz.uploads import Uploads

REQUESTS = 50_000
TEXTS = 500_000
FORMS = 300
MARGIN = 1.2
"""Cases that cannot be sent count for nothing, so a few more are made."""


@contextlib.contextmanager
def opened(data: Path) -> Iterator[Server]:
    """Run a server with the echo engine."""
    server = Server(data, "--engine", "echo")
    try:
        yield server.start()
    finally:
        server.close()


def new_key(server: Server, tenant: str) -> dict[str, str]:
    """Make a key for a tenant; gives it as a header."""
    command = Process(("keys", "create", "--tenant", tenant, "--data", str(server.data)))
    assert command.wait(60) == 0, command.said
    return {"x-goog-api-key": command.stdout.lines[0]}


def doors(server: Server, count: int, seed: int, seconds: float | None = None) -> Generated:
    """Generate requests from the description."""
    generated = Generated(server.base_url)
    try:
        generated.run(count, seed, seconds=seconds)
    finally:
        generated.close()
    return generated


def strangers(server: Server, count: int, seed: int, seconds: float | None = None) -> Generated:
    """Generate requests of one tenant for the things of another; these stay as they were."""
    neighbour = Neighbour(server.base_url, new_key(server, "theirs"), UNREACHABLE)
    ours = new_key(server, "ours")
    neighbour.move_in()
    for name in neighbour.names["batch_id"]:
        ends = time.monotonic() + 60
        while b'"done": true' not in neighbour.home()[f"/v1beta/batches/{name}"]:
            assert time.monotonic() < ends, name
    before = neighbour.home()
    generated = Generated(server.base_url, ours, neighbour=neighbour)
    try:
        generated.run(count, seed, seconds=seconds)
        assert neighbour.home() == before, "a stranger changed something"
    finally:
        generated.close()
        neighbour.close()
    return generated


def uploads(server: Server, count: int, seed: int) -> Uploads:
    """Send uploads of every form."""
    sent = Uploads(server.base_url, seed)
    try:
        sent.run(count)
    finally:
        sent.close()
    return sent


def _show(what: str, count: int, seconds: float, ends: Counter[str]) -> None:
    grouped: Counter[str] = Counter()
    for end, number in ends.items():
        grouped[end.rpartition(" ")[2] if end[-1:].isdigit() else end] += number
    told = ", ".join(f"{number} x {end}" for end, number in grouped.most_common())
    print(f"{what}: {count} in {seconds:.0f} s: {told}", flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=REQUESTS, help="to a server, in all")
    parser.add_argument("--texts", type=int, default=TEXTS, help="for each reader")
    parser.add_argument(
        "--forms", type=int, default=FORMS, help="of answers, to the embedded model"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()))
    wanted = parser.parse_args()
    print(f"Fuzzing with seed {wanted.seed}", flush=True)
    total = 0
    kinds: dict[str, Callable[[Server, int, int], Generated | Uploads]]
    kinds = {"from the description": doors, "of a stranger": strangers, "uploads": uploads}
    for what, run in kinds.items():
        with tempfile.TemporaryDirectory(prefix="nightrate-fuzz-") as folder:
            began = time.monotonic()
            with opened(Path(folder) / "data") as server:
                share = wanted.requests // len(kinds)
                done = run(server, int(share * MARGIN), wanted.seed)
                total += done.requests
                _show(f"requests {what}", done.requests, time.monotonic() - began, done.answers)
    for name in pure.READERS:
        began = time.monotonic()
        ends = pure.run(name, wanted.texts, wanted.seed)
        _show(f"texts for {name}", wanted.texts, time.monotonic() - began, ends)
    began = time.monotonic()
    ends = asyncio.run(forms.ask_the_model(wanted.forms, wanted.seed))
    _show("forms of answers", wanted.forms, time.monotonic() - began, ends)
    print(f"{total} requests, {len(pure.READERS) * wanted.texts} texts; nothing found")
    if total < wanted.requests:
        sys.exit(f"fewer requests than the {wanted.requests} that were wanted")


if __name__ == "__main__":
    main()
