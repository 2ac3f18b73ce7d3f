"""A real batch, start to end: a server, the embedded model, and Google's own SDK.

Starts ``nightrate serve`` on a free port with a data directory of its own, uploads a file of
requests with google-genai as its documentation shows, waits for the batch, and prints the answers,
the time and the tokens per second. ``--engine echo`` runs it without a model.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google import genai
from google.genai import types
from rich.console import Console

QUESTIONS = (
    "Why is the sky blue?",
    "Name three things to pack for a night train.",
    "What is a tide? Answer in one sentence.",
    "Write a two-line poem about a lighthouse.",
    "What does a baker do at four in the morning?",
    "Give one reason to sleep well.",
    "What is the moon made of?",
    "Explain a queue to a child in one sentence.",
    "Name a fruit for each colour: red, green, yellow.",
    "How does a candle burn?",
    "What makes bread rise?",
    "Say something kind about rain.",
)
ROUNDS = 4
OUTPUT_TOKENS = 48
SHOWN = 4
POLL_SECONDS = 0.5
FINAL = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"}

screen = Console(highlight=False)


def main() -> int:
    """Run the demo; gives the status for the shell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", help="run on this engine instead of the embedded model")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightrate-demo-") as folder:
        screen.print("[bold]1.[/] Starting a server with the embedded model on a free port")
        with server(Path(folder), arguments.engine) as address:
            screen.print(f"   [dim]{address}[/]")
            return run_batch(address, Path(folder))


@contextlib.contextmanager
def server(folder: Path, engine: str | None) -> Iterator[str]:
    """Start a server and give its address; what it says meanwhile goes to the screen."""
    command = [sys.executable, "-m", "nightrate.cli", "serve", "--port", "0"]
    command += ["--data", str(folder / "data"), *(["--engine", engine] if engine else [])]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    assert process.stderr is not None
    talk = threading.Thread(target=show_steps, args=(process.stderr,), daemon=True)
    talk.start()
    try:
        ready = process.stdout.readline()
        if not ready.startswith("nightrate ready on "):
            sys.exit("The server did not start; its last words are above.")
        yield ready.split()[-1]
    finally:
        process.terminate()
        process.wait()
        talk.join()


def show_steps(lines: Any) -> None:
    """Show what the server tells a person; its log lines are JSON and are left out."""
    for line in lines:
        if not line.startswith("{"):
            screen.print(f"   [dim]{line.rstrip()}[/]")


def run_batch(address: str, folder: Path) -> int:
    """Upload, submit, wait, download: the documented calls, nothing else."""
    client = genai.Client(
        api_key="any-key-will-do", http_options=types.HttpOptions(base_url=address)
    )
    source = folder / "requests.jsonl"
    write_requests(source)
    count = len(QUESTIONS) * ROUNDS
    screen.print(f"[bold]2.[/] Uploading {count} requests with google-genai {genai.__version__}")
    uploaded = client.files.upload(
        file=source, config=types.UploadFileConfig(display_name="demo", mime_type="jsonl")
    )
    assert uploaded.name is not None
    started = time.monotonic()
    job = client.batches.create(
        model="gemini-2.5-flash", src=uploaded.name, config={"display_name": "demo"}
    )
    assert job.name is not None
    screen.print(f"[bold]3.[/] Created [bold]{job.name}[/]")
    with screen.status("   waiting for the batch"):
        while job.state is None or job.state.name not in FINAL:
            time.sleep(POLL_SECONDS)
            job = client.batches.get(name=job.name)
    took = time.monotonic() - started
    if job.dest is None or job.dest.file_name is None:
        screen.print(f"The batch ended as {job.state}.")
        return 1
    lines = client.files.download(file=job.dest.file_name).decode().splitlines()
    return show([json.loads(line) for line in lines], took)


def write_requests(path: Path) -> None:
    """Write one request a line, as the documentation of the Batch API shows."""
    with path.open("w", encoding="utf-8") as file:
        for turn in range(ROUNDS):
            for number, question in enumerate(QUESTIONS):
                request = {
                    "contents": [{"parts": [{"text": question}]}],
                    "generation_config": {"max_output_tokens": OUTPUT_TOKENS},
                }
                line = {"key": f"question-{number + 1}-{turn + 1}", "request": request}
                file.write(json.dumps(line) + "\n")


def show(answers: list[dict[str, Any]], took: float) -> int:
    """Print some answers and the figures."""
    good = [answer for answer in answers if "response" in answer]
    screen.print(f"[bold]4.[/] {len(good)} of {len(answers)} answered; the first {SHOWN}:")
    for question, answer in zip(QUESTIONS[:SHOWN], good, strict=False):
        text = answer["response"]["candidates"][0]["content"]["parts"][0]["text"]
        screen.print(f"   [bold]{question}[/]\n   {' '.join(text.split())}", markup=True)
    tokens = sum(answer["response"]["usageMetadata"]["candidatesTokenCount"] for answer in good)
    model = good[0]["response"]["modelVersion"] if good else "nothing"
    screen.print(
        f"[bold]5.[/] {tokens} tokens in {took:.1f} s: [bold]{tokens / took:.0f} tokens/s[/]"
        f" from {model} on this machine's processor"
    )
    return 0 if len(good) == len(answers) else 1


if __name__ == "__main__":
    sys.exit(main())
