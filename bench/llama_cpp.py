"""A batch on the embedded engine beside a good script over llama.cpp's server, in turns.

The same weights (the embedded engine's own Q8_0 file), the same processor, the same requests, whose
answers all run to their token limit; as many at once on both sides.

* nightrate: a file is uploaded, a batch is made of it, and its result downloaded: all is timed;
* llama.cpp: an asyncio script (aiohttp, a semaphore, connections that are kept) asks its HTTP
  server, which has a slot for each request under way. The server is the one of the ``xllamacpp``
  package, or a ``llama-server`` of your own (``--llama-server PATH``), such as one that was built
  for the processor at hand.

Run with ``python -m bench.llama_cpp``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from bench import plain_client
from bench.engine import OUTPUT_TOKENS, PROMPT_TOKENS, Load, prompts
from bench.passes import tell
from bench.server import CALL_SECONDS, Served, pause, served
from nightrate.domain.generation import Prompt
from nightrate.engines import weights
from nightrate.engines.packages import cache_directory
from nightrate.engines.sampling import TEMPERATURE_DEFAULT, TOP_K_DEFAULT, TOP_P_DEFAULT

REQUESTS = 128
CONCURRENCY = 32
ROUNDS = 3
WANTED = 2.5
"""Times as many requests a second as the script over llama.cpp's server."""

_CONTEXT_TOKENS_MIN = 512
"""Of a slot; more than the requests need costs memory only."""
_THREADS = os.cpu_count() or 1
"""Both servers may use all processors: the embedded engine does by default."""

_START_SECONDS = 300.0
_READ_BYTES = 1 << 20


class Run(Struct, frozen=True):
    """One way, once; ``prompt_tokens`` are those of all requests."""

    requests_per_second: float
    prompt_tokens: int


class NoServerError(Exception):
    """llama.cpp's server cannot be had here; the message says why."""


# the ways -------------------------------------------------------------------------------------


@contextlib.contextmanager
def nightrate(folder: Path, concurrency: int) -> Iterator[Served]:
    """Run a server with the embedded engine, whose answers run to their limit."""
    config = folder / "nightrate.toml"
    config.write_text(
        f'[models]\n"*" = "openvino"\n\n[engines.openvino]\nrequests = {concurrency}\n'
        "ignore_eos = true\n",
        "utf-8",
    )
    with served(folder / "data", "--config", str(config), engine=None) as server:
        yield server


def run_nightrate(server: Served, asked: list[Prompt], load: Load, folder: Path) -> Run:
    """Upload, run and download."""
    source = folder / "requests.jsonl"
    with source.open("wb") as file:
        for number, prompt in enumerate(asked):
            content = {"role": "user", "parts": [{"text": prompt.messages[0].text}]}
            config = {"maxOutputTokens": load.output_tokens}
            request = {"contents": [content], "generationConfig": config}
            file.write(msgspec.json.encode({"key": str(number), "request": request}) + b"\n")
    began = time.perf_counter()
    name = server.create({"fileName": server.upload(source)})
    document = server.finish(name)
    lines = _downloaded(server, document["response"]["responsesFile"])
    took = time.perf_counter() - began
    used = [json.loads(line)["response"]["usageMetadata"] for line in lines]
    assert len(used) == len(asked), len(used)
    assert {one["candidatesTokenCount"] for one in used} == {load.output_tokens}
    return Run(len(asked) / took, sum(one["promptTokenCount"] for one in used))


def _downloaded(server: Served, file: str) -> list[bytes]:
    connection = server.connect()
    connection.request("GET", f"/download/v1beta/{file}:download?alt=media")
    answer = connection.getresponse()
    assert answer.status == HTTPStatus.OK
    content = bytearray()
    while piece := answer.read(_READ_BYTES):
        content += piece
    connection.close()
    return bytes(content).splitlines()


def run_script(base_url: str, asked: list[Prompt], load: Load, concurrency: int) -> Run:
    """Ask llama.cpp's server, many at once; it draws tokens as the embedded engine does."""
    settings = {
        "max_tokens": load.output_tokens,
        "temperature": TEMPERATURE_DEFAULT,
        "top_p": TOP_P_DEFAULT,
        "top_k": TOP_K_DEFAULT,
        "min_p": 0,
        "ignore_eos": True,
    }
    rows: list[dict[str, Any]] = []
    for number, prompt in enumerate(asked):
        messages = [{"role": "user", "content": prompt.messages[0].text}]
        rows.append({"custom_id": str(number), "body": {"messages": messages, **settings}})
    began = time.perf_counter()
    answers = asyncio.run(plain_client.run(rows, base_url, concurrency))
    took = time.perf_counter() - began
    assert all("response" in answer for answer in answers), answers[0]
    used = [answer["response"]["body"]["usage"] for answer in answers]
    assert {one["completion_tokens"] for one in used} == {load.output_tokens}
    return Run(len(asked) / took, sum(one["prompt_tokens"] for one in used))


# llama.cpp's server ---------------------------------------------------------------------------


@contextlib.contextmanager
def llama_server(
    folder: Path, model: Path, slots: int, context_tokens: int, program: str | None
) -> Iterator[str]:
    """Run llama.cpp's server over some weights; gives its base URL.

    Raises:
        NoServerError: it does not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if program is None:
        command = [sys.executable, "-m", "bench.llama_cpp", "--serve", str(port), str(model)]
        command += [str(slots), str(context_tokens)]
    else:
        command = [program, "--host", "127.0.0.1", "--port", str(port), "--model", str(model)]
        command += ["--parallel", str(slots), "--ctx-size", str(slots * context_tokens)]
        command += ["--threads", str(_THREADS)]
    log = folder / "llama-server.log"
    with (
        log.open("wb") as said,
        subprocess.Popen(command, stdout=said, stderr=said) as process,
    ):
        try:
            _await_health(port, process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()


def _await_health(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            last = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
            raise NoServerError(last[0] if last else f"it ended with status {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_SECONDS)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == HTTPStatus.OK:
                return
        except OSError:
            pass  # It does not listen yet.
        finally:
            connection.close()
        pause(0.2)
    raise NoServerError(f"it did not begin to serve within {_START_SECONDS:.0f} s")


def serve(port: int, model: str, slots: int, context_tokens: int) -> None:
    """Be llama.cpp's server, as the ``xllamacpp`` package brings it, until a signal comes."""
    import xllamacpp  # noqa: PLC0415 - this process only

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.port = port
    parameters.n_parallel = slots
    parameters.n_ctx = slots * context_tokens
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = _THREADS
    parameters.fit_params = False
    parameters.verbosity = 0
    server = xllamacpp.Server(parameters)
    print(f"listens on {server.listening_address}", flush=True)
    threading.Event().wait()


# the report -----------------------------------------------------------------------------------


def measure(
    concurrency: int, requests: int, rounds: int, load: Load, program: str | None
) -> dict[str, list[Run]]:
    """Run both ways in turns.

    Raises:
        NoServerError: llama.cpp's server does not start.
    """
    model = weights.prepare(weights.DEFAULT_MODEL, cache_directory(None)).path
    context_tokens = max(_CONTEXT_TOKENS_MIN, 2 * (load.prompt_tokens + load.output_tokens))
    found: dict[str, list[Run]] = {"nightrate": [], "llama.cpp": []}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nightrate-bench-")))
        theirs = llama_server(folder, model, concurrency, context_tokens, program)
        base_url = stack.enter_context(theirs)
        server = stack.enter_context(nightrate(folder, concurrency))
        for turn in range(rounds + 1):
            # Different prompts in every pass: none is answered from another one's cache.
            count = requests if turn else min(requests, 4)
            asked = list(itertools.islice(prompts(turn * 1_000_000, "fast", load), count))
            ours = run_nightrate(server, asked, load, folder)
            script = run_script(base_url, asked, load, concurrency)
            assert ours.prompt_tokens == script.prompt_tokens, (ours, script)
            if turn:  # the one before loaded what is loaded late
                found["nightrate"].append(ours)
                found["llama.cpp"].append(script)
                for name, passes in found.items():
                    speed = f"{passes[-1].requests_per_second:.2f} requests/s"
                    tell(turn - 1, rounds, name, speed)
    return found


def ratio(found: dict[str, list[Run]]) -> float:
    """Give the median over the rounds of our speed over that of the script."""
    pairs = zip(found["nightrate"], found["llama.cpp"], strict=True)
    return statistics.median(
        ours.requests_per_second / script.requests_per_second for ours, script in pairs
    )


def report(
    concurrency: int,
    requests: int,
    rounds: int,
    load: Load,
    *,
    program: str | None = None,
    as_json: bool = False,
) -> None:
    """Measure and print."""
    try:
        found = measure(concurrency, requests, rounds, load, program)
    except NoServerError as error:
        print(f"Beside llama.cpp: left out, its server does not start: {error}")
        return
    tokens = statistics.mean(run.prompt_tokens for run in found["nightrate"]) / requests
    if as_json:
        told = {
            "requests": requests,
            "concurrency": concurrency,
            "promptTokens": tokens,
            "outputTokens": load.output_tokens,
            "requestsPerSecond": {
                name: [run.requests_per_second for run in runs] for name, runs in found.items()
            },
            "ratio": ratio(found),
            "wanted": WANTED,
        }
        print(json.dumps(told))
        return
    print(
        f"Beside llama.cpp: {requests} requests, {tokens:.0f} prompt and {load.output_tokens} "
        f"output tokens, {concurrency} at once, the same weights; {rounds} rounds, in turns"
    )
    for name, runs in found.items():
        speeds = [run.requests_per_second for run in runs]
        each = "  ".join(f"{speed:.2f}" for speed in speeds)
        print(f"  {name:10} {statistics.median(speeds):7.2f} requests/s   (rounds: {each})")
    print(f"  nightrate / llama.cpp  {ratio(found):.2f}   (wanted: at least {WANTED})")


def main() -> None:
    """Read the command line."""
    if sys.argv[1:2] == ["--serve"]:
        _, _, port, model, slots, context_tokens = sys.argv
        serve(int(port), model, int(slots), int(context_tokens))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--prompt-tokens", type=int, default=PROMPT_TOKENS)
    parser.add_argument("--output-tokens", type=int, default=OUTPUT_TOKENS)
    parser.add_argument(
        "--llama-server", metavar="PATH", help="a server program of your own, not the package's"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    wanted = parser.parse_args()
    load = Load(wanted.prompt_tokens, wanted.output_tokens)
    report(
        *(wanted.concurrency, wanted.requests, wanted.rounds, load),
        program=wanted.llama_server,
        as_json=wanted.json,
    )


if __name__ == "__main__":
    main()
