"""The same requests to the same endpoint: Nightrate, a script, and the LiteLLM proxy, in turns.

The endpoint (`bench.echo_endpoint`) answers at once, or after a fixed time as a model would; 64
requests are under way at most, whoever sends them.

* nightrate: the file is uploaded, a batch is made, and its result downloaded: all of that is timed;
* script: `bench.plain_client`, which keeps everything in memory until its end, from its start;
* litellm: the same script through the LiteLLM proxy, which passes requests on and is no batch
  system; installed into an environment of its own, and left out by name where it cannot be.

Memory is that of the process family of each while it works: for the proxy, without the script. Run
with ``python -m bench.alternatives``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import msgspec
from msgspec import Struct

from bench import echo_endpoint
from bench.memory import sampled
from bench.server import Served, pause, served

REQUESTS = 20_000
TEXT_BYTES = 256
CONCURRENCY = 64
LATENCIES_MS = (0, 50)
ROUNDS = 3
LITELLM = "litellm[proxy]>=1.80,<1.107"

_PROXY_KEY = f"sk-{secrets.token_hex(16)}"
"""Made for this run: the proxy does not start without one."""

_START_SECONDS = 300.0
_READ_BYTES = 1 << 20


class Run(Struct, frozen=True):
    """One way, once."""

    requests_per_second: float
    private_mib: float
    proportional_mib: float


def write_inputs(folder: Path, requests: int) -> tuple[Path, Path]:
    """Write the same requests in Gemini's form, for us, and in OpenAI's, for the script."""
    ours, theirs = folder / "gemini.jsonl", folder / "openai.jsonl"
    with ours.open("wb") as gemini, theirs.open("wb") as openai:
        for number in range(requests):
            text = f"{number} ".ljust(TEXT_BYTES, "x")
            request = {"contents": [{"parts": [{"text": text}]}]}
            gemini.write(msgspec.json.encode({"key": str(number), "request": request}) + b"\n")
            row = {
                "custom_id": str(number),
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": echo_endpoint.MODEL,
                    "messages": [{"role": "user", "content": text}],
                },
            }
            openai.write(msgspec.json.encode(row) + b"\n")
    return ours, theirs


@contextlib.contextmanager
def endpoint(latency_ms: int) -> Iterator[str]:
    """Run the endpoint; gives its base URL."""
    command = [sys.executable, "-m", "bench.echo_endpoint", str(latency_ms / 1000)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()
            process.wait()


# the ways -------------------------------------------------------------------------------------


@contextlib.contextmanager
def nightrate(folder: Path, base_url: str) -> Iterator[Served]:
    """Run a server whose engine is the endpoint."""
    config = folder / "nightrate.toml"
    config.write_text(
        '[models]\n"*" = "upstream"\n\n[engines.upstream]\nkind = "openai"\n'
        f'base_url = "{base_url}"\nmodel = "{echo_endpoint.MODEL}"\n'
        f"concurrency_max = {CONCURRENCY}\n",
        "utf-8",
    )
    with served(folder / "data", "--config", str(config), engine=None) as server:
        yield server


def run_nightrate(server: Served, source: Path, requests: int) -> Run:
    """Upload, run and download."""
    with sampled(server.pid) as peak:
        began = time.perf_counter()
        name = server.create({"fileName": server.upload(source)})
        document = server.finish(name)
        lines = _download(server, document["response"]["responsesFile"])
        took = time.perf_counter() - began
    assert lines == requests, lines
    assert document["metadata"]["batchStats"]["successfulRequestCount"] == str(requests)
    return Run(requests / took, peak.private, peak.proportional)


def _download(server: Served, file: str) -> int:
    connection = server.connect()
    connection.request("GET", f"/download/v1beta/{file}:download?alt=media")
    answer = connection.getresponse()
    assert answer.status == HTTPStatus.OK
    lines = 0
    while piece := answer.read(_READ_BYTES):
        lines += piece.count(b"\n")
    connection.close()
    return lines


def run_script(source: Path, base_url: str, requests: int, memory_of: int | None = None) -> Run:
    """Run the script; gives its own memory, or that of another process it speaks to."""
    keyed = {**os.environ, "OPENAI_API_KEY": _PROXY_KEY}
    output = source.with_suffix(".answers")
    command = [sys.executable, "-m", "bench.plain_client", str(source), str(output), base_url]
    began = time.perf_counter()
    with (
        subprocess.Popen([*command, str(CONCURRENCY)], env=keyed) as process,
        sampled(memory_of or process.pid) as peak,
    ):
        assert process.wait() == 0
        took = time.perf_counter() - began
    with output.open("rb") as file:
        answers = [json.loads(line) for line in file]
    assert len(answers) == requests
    assert all("response" in answer for answer in answers), answers[0]
    return Run(requests / took, peak.private, peak.proportional)


# LiteLLM --------------------------------------------------------------------------------------


class NoProxyError(Exception):
    """The proxy cannot be had here; the message says why."""


def litellm_program() -> Path:
    """Install the proxy into an environment in the cache folder, once; gives its program.

    Raises:
        NoProxyError: that did not work.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "nightrate-bench" / "litellm"
    program = folder / "bin" / "litellm"
    if program.exists():
        return program
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", LITELLM],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise NoProxyError(last[0])
    if not program.exists():
        raise NoProxyError(f"{LITELLM} brings no program")
    return program


@contextlib.contextmanager
def litellm(program: Path, folder: Path, base_url: str) -> Iterator[tuple[int, str]]:
    """Run the proxy before the endpoint; gives its process and its base URL."""
    config = folder / "litellm.yaml"
    config.write_text(
        f"model_list:\n  - model_name: {echo_endpoint.MODEL}\n    litellm_params:\n"
        f"      model: openai/{echo_endpoint.MODEL}\n      api_base: {base_url}\n"
        "      api_key: none\n",
        "utf-8",
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    quiet = {**os.environ, "LITELLM_LOG": "ERROR", "LITELLM_MASTER_KEY": _PROXY_KEY}
    with (
        (folder / "litellm.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=quiet) as process,
    ):
        try:
            _await_port(port, process)
            yield process.pid, f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise NoProxyError(f"it ended with status {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health/liveliness")
            if connection.getresponse().status == HTTPStatus.OK:
                return
        except OSError:
            pause(0.2)
        finally:
            connection.close()
    raise NoProxyError(f"it did not begin to serve within {_START_SECONDS:.0f} s")


# the report -----------------------------------------------------------------------------------


def measure(folder: Path, latency_ms: int, requests: int, rounds: int) -> dict[str, list[Run]]:
    """Run each way in turns."""
    ours, theirs = write_inputs(folder, requests)
    found: dict[str, list[Run]] = {}
    with contextlib.ExitStack() as stack:
        base_url = stack.enter_context(endpoint(latency_ms))
        server = stack.enter_context(nightrate(folder, base_url))
        ways: dict[str, Callable[[], Run]] = {
            "nightrate": lambda: run_nightrate(server, ours, requests),
            "script": lambda: run_script(theirs, base_url, requests),
        }
        try:
            proxy = litellm(litellm_program(), folder, base_url)
            pid, proxy_url = stack.enter_context(proxy)
        except NoProxyError as error:
            print(f"  litellm is left out: {error}")
        else:
            ways["litellm"] = lambda: run_script(theirs, proxy_url, requests, pid)
        for _ in range(rounds):
            for name, way in ways.items():
                found.setdefault(name, []).append(way())
    return found


def report(requests: int, rounds: int) -> None:
    """Measure and print."""
    for latency_ms in LATENCIES_MS:
        print(
            f"{requests} requests of {TEXT_BYTES} bytes to an endpoint that takes {latency_ms} ms,"
            f" {CONCURRENCY} at once; {rounds} rounds in turns"
        )
        with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as folder:
            found = measure(Path(folder), latency_ms, requests, rounds)
        for name, runs in found.items():
            pairs = zip(runs, found["script"], strict=True)
            ratio = statistics.median(
                one.requests_per_second / script.requests_per_second for one, script in pairs
            )
            print(
                f"  {name:10} {statistics.median(run.requests_per_second for run in runs):6.0f}"
                f" requests/s;  / script {ratio:.2f};  peak"
                f" {max(run.private_mib for run in runs):4.0f} MiB private,"
                f" {max(run.proportional_mib for run in runs):4.0f} MiB in all"
            )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    wanted = parser.parse_args()
    report(wanted.requests, wanted.rounds)


if __name__ == "__main__":
    main()
