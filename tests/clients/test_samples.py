"""The documentation's ways to poll and to read results, done as a reader of it would."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from google import genai
from google.genai import types

from tests.acceptance.server import Server, request_line, text_of, until
from tests.clients.golden import CASES, FAULTS, ITEMS, RESULTS, served

MODEL = "models/gemini-2.5-flash"
COMPLETED = {
    "JOB_STATE_SUCCEEDED",
    "JOB_STATE_FAILED",
    "JOB_STATE_CANCELLED",
    "JOB_STATE_EXPIRED",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("samples") / "data", "--engine", "echo")
    try:
        yield server.start()
    finally:
        server.close()


def polled(client: genai.Client, name: str | None) -> types.BatchJob:
    """Look at the names of states until one of the last four comes."""
    assert name is not None

    def ended() -> types.BatchJob | None:
        job = client.batches.get(name=name)
        assert job.state is not None
        return job if job.state.name in COMPLETED else None

    job: types.BatchJob = until(ended, 60)
    return job


def printed(client: genai.Client, job: types.BatchJob) -> list[str]:
    """Go through a job's results as the documentation does, with what it would print."""
    if job.state is None or job.state.name != "JOB_STATE_SUCCEEDED":
        return [f"ended as {job.state.name if job.state else None}: {job.error}"]
    assert job.dest is not None
    if job.dest.file_name:
        return client.files.download(file=job.dest.file_name).decode("utf-8").splitlines()
    lines = []
    for item in job.dest.inlined_responses or []:
        if item.response:
            lines.append(item.response.text or "")
        elif item.error:
            lines.append(f"error {item.error.code}")
    return lines


def test_a_prefixed_model_and_system_instructions_are_taken(client: genai.Client) -> None:
    requests: list[types.InlinedRequestDict] = [
        {"contents": types.ContentDict(parts=[{"text": "Write a short poem."}], role="user")},
        {
            "contents": types.ContentDict(parts=[{"text": "And who are you?"}]),
            "config": {"system_instruction": "You are a cat. Your name is Neko."},
        },
    ]
    job = client.batches.create(model=MODEL, src=requests)
    assert printed(client, polled(client, job.name)) == ["Write a short poem.", "And who are you?"]


def test_an_item_that_fails_is_printed_beside_the_others(client: genai.Client) -> None:
    texts = "fine", "[[fail 3]] not fine"
    job = client.batches.create(
        model=MODEL, src=[types.InlinedRequest(contents=text) for text in texts]
    )
    assert printed(client, polled(client, job.name)) == ["fine", "error 3"]


def test_the_lines_of_a_result_file_are_printed_in_input_order(
    client: genai.Client, server: Server
) -> None:
    texts = {"request-1": "one\u2028still one", "request-2": "two"}
    name = server.upload(b"".join(request_line(key, text) for key, text in texts.items()))
    job = polled(client, client.batches.create(model=MODEL, src=name).name)
    lines = [msgspec.json.decode(line) for line in printed(client, job)]
    assert [(line["key"], text_of(line)) for line in lines] == list(texts.items())


def test_a_job_that_failed_is_printed_as_that(client: genai.Client, server: Server) -> None:
    job = client.batches.create(model=MODEL, src=server.upload(b"no json\n" * 200_000))
    # What went wrong is not printed: this client never fills the error of a job.
    assert printed(client, polled(client, job.name)) == ["ended as JOB_STATE_FAILED: None"]


RETRIEVE = """
curl -s "$BASE/v1beta/$BATCH_NAME" -H "x-goog-api-key: $GEMINI_API_KEY" 2> /dev/null > status.json
if jq -r '.done' status.json | grep -q "false"; then echo "not finished"; fi
case $(jq -r '.metadata.state' status.json) in
  JOB_STATE_SUCCEEDED)
    if [ "$(jq '.response | has("inlinedResponses")' status.json)" = true ]; then
      jq -c '.response.inlinedResponses.inlinedResponses | length' status.json
    else
      file=$(jq -r '.response.responsesFile' status.json)
      curl -s "$BASE/download/v1beta/$file:download?alt=media" \\
        -H "x-goog-api-key: $GEMINI_API_KEY" 2> /dev/null
    fi ;;
  JOB_STATE_FAILED) jq -r '.error.message' status.json ;;
  JOB_STATE_CANCELLED) echo "cancelled" ;;
  JOB_STATE_EXPIRED) echo "expired" ;;
esac
"""

PRINTED = {
    "submitted": "not finished\n",
    "planned": "not finished\n",
    "running": "not finished\n",
    "inline": f"{len(ITEMS)}\n",
    "all-failed": "2\n",
    "vectors": "3\n",
    "one-vector": "1\n",
    "no-vector": "1\n",
    "file": RESULTS.decode(),
    "failed": f"{FAULTS}\n",
    "cancelled": "cancelled\n",
    "expired": "expired\n",
}


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
@pytest.mark.parametrize("name", CASES)
def test_a_shell_script_tells_every_state_apart(name: str, tmp_path: Path) -> None:
    with served() as base_url:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", RETRIEVE],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "BASE": base_url,
                "BATCH_NAME": f"batches/{name}",
                "GEMINI_API_KEY": "any-key",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.stdout, done.returncode) == (PRINTED[name], 0), done.stderr
