"""What the documentation of the Batch API shows, done with Google's client and with curl."""

from __future__ import annotations

import operator
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import errors, types

from tests.acceptance.server import Server, counters, request_line, text_of, until

MODEL = "gemini-3.5-flash"
EMBEDDER = "gemini-embedding-2"
RUNNING = {types.JobState.JOB_STATE_PENDING, types.JobState.JOB_STATE_RUNNING}


def finished(client: genai.Client, job: types.BatchJob) -> types.BatchJob:
    """Poll as the documentation does."""
    assert job.name is not None
    name = job.name

    def ended() -> types.BatchJob | None:
        found = client.batches.get(name=name)
        return None if found.state in RUNNING else found

    found: types.BatchJob = until(ended, 60)
    return found


def uploaded(client: genai.Client, folder: Path, content: bytes) -> str:
    """Upload a file of requests the documented way."""
    path = folder / "requests.jsonl"
    path.write_bytes(content)
    config = types.UploadFileConfig(display_name="my-requests", mime_type="jsonl")
    file = client.files.upload(file=path, config=config)
    assert file.name is not None
    assert file.name.startswith("files/")
    assert file.state is types.FileState.ACTIVE
    assert file.size_bytes == len(content)
    assert file.uri is not None
    assert file.uri.endswith(f"/v1beta/{file.name}")
    assert file.expiration_time is not None
    return file.name


def downloaded(client: genai.Client, job: types.BatchJob) -> list[Any]:
    """Download the results of a file batch."""
    assert job.state is types.JobState.JOB_STATE_SUCCEEDED
    assert job.dest is not None
    assert job.dest.file_name is not None
    content = client.files.download(file=job.dest.file_name)
    return [msgspec.json.decode(line) for line in content.decode().splitlines()]


# Google's own client ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:batches.create_embeddings.* is experimental")
def test_embedding_jobs_are_created_from_a_file_and_inline(
    client: genai.Client, tmp_path: Path
) -> None:
    texts = ["Why is the sky blue?", "The sky is blue in the morning.", "Best pasta recipe"]
    requests = [
        {"key": f"e{index}", "request": {"output_dimensionality": 64, "content": {"parts": [part]}}}
        for index, part in enumerate({"text": text} for text in texts)
    ]
    content = b"".join(msgspec.json.encode(request) + b"\n" for request in requests)
    name = uploaded(client, tmp_path, content)
    file_job = client.batches.create_embeddings(
        model=EMBEDDER, src={"file_name": name}, config={"display_name": "Input embeddings batch"}
    )
    inline_job = client.batches.create_embeddings(
        model=EMBEDDER,
        src={"inlined_requests": {"contents": list(texts)}},
        config={"display_name": "Inlined embeddings batch"},
    )
    lines = downloaded(client, finished(client, file_job))
    assert [line["key"] for line in lines] == ["e0", "e1", "e2"]
    assert all(len(line["response"]["embedding"]["values"]) == 64 for line in lines)
    assert all(int(line["response"]["tokenCount"]) > 0 for line in lines)
    job = finished(client, inline_job)
    assert job.dest is not None
    vectors = []
    for item in job.dest.inlined_embed_content_responses or ():
        assert item.response is not None
        assert item.response.embedding is not None
        vectors.append(item.response.embedding.values or [])
    cosines = [sum(map(operator.mul, vectors[0], other)) for other in vectors[1:]]
    assert cosines[0] > cosines[1] + 0.2, "related texts are closer than unrelated ones"


def test_inline_requests_are_created_polled_and_answered(client: genai.Client) -> None:
    texts = ["Tell me a joke in one sentence.", "Why is grass green?"]
    requests: list[types.InlinedRequestDict] = [
        {"contents": types.ContentDict(parts=[{"text": text}], role="user")} for text in texts
    ]
    job = client.batches.create(model=MODEL, src=requests, config={"display_name": "an-inline-job"})
    assert job.name is not None
    assert job.name.startswith("batches/")
    assert job.display_name == "an-inline-job"
    assert job.state in RUNNING
    job = finished(client, job)
    assert job.state is types.JobState.JOB_STATE_SUCCEEDED
    assert job.model == f"models/{MODEL}"
    assert job.create_time is not None
    assert job.update_time is not None
    assert job.end_time is not None
    assert job.create_time <= job.end_time
    assert job.dest is not None
    assert job.dest.inlined_responses is not None
    responses = [item.response for item in job.dest.inlined_responses]
    assert [response.text for response in responses if response] == texts
    for response in responses:
        assert response is not None
        assert response.usage_metadata is not None
        usage = response.usage_metadata
        prompt_tokens, output_tokens = usage.prompt_token_count, usage.candidates_token_count
        assert prompt_tokens
        assert output_tokens
        assert usage.total_token_count == prompt_tokens + output_tokens


def test_a_file_of_requests_is_uploaded_run_and_downloaded_by_key(
    client: genai.Client, tmp_path: Path
) -> None:
    texts = {"request-1": "Describe how plants grow.", "request-2": "What goes onto a pizza?"}
    lines = [
        {
            "key": key,
            "request": {
                "contents": [{"parts": [{"text": text}]}],
                "generation_config": {"temperature": 0.7},
            },
        }
        for key, text in texts.items()
    ]
    content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    name = uploaded(client, tmp_path, content)
    job = finished(client, client.batches.create(model=MODEL, src=name))
    assert job.dest is not None
    assert job.dest.file_name == f"files/batch-{(job.name or '').removeprefix('batches/')}"
    results = downloaded(client, job)
    assert {line["key"]: text_of(line) for line in results} == texts
    assert [list(line) for line in results] == [["response", "key"]] * 2
    assert all(line["response"]["usageMetadata"]["totalTokenCount"] > 0 for line in results)


@pytest.fixture
def mixed(client: genai.Client, tmp_path: Path) -> str:
    """A file with two good lines, one with a wrong value and one that is torn."""
    wrong = {"contents": [{"parts": [{"text": "x"}]}], "generation_config": {"temperature": "hot"}}
    lines = [
        request_line("good", "Say hi."),
        msgspec.json.encode({"key": "bad", "request": wrong}) + b"\n",
        b'{"key": "torn", "request": {"contents": \n',
        request_line("last", "Say bye."),
    ]
    return uploaded(client, tmp_path, b"".join(lines))


def test_a_bad_line_hurts_only_itself(client: genai.Client, echo: Server, mixed: str) -> None:
    job = finished(client, client.batches.create(model=MODEL, src=mixed))
    good, bad, torn, last = downloaded(client, job)
    assert (good["key"], text_of(good)) == ("good", "Say hi.")
    assert (last["key"], text_of(last)) == ("last", "Say bye.")
    assert bad["key"] == "bad"
    assert bad["error"]["code"] == 3
    assert bad["error"]["status"] == "INVALID_ARGUMENT"
    assert "line 2" in bad["error"]["message"]
    assert "temperature" in bad["error"]["message"]
    assert torn["error"]["code"] == 3
    assert "line 3" in torn["error"]["message"]
    assert "response" not in bad
    assert "response" not in torn
    document = echo.get(f"/v1beta/{job.name}")
    assert document["metadata"]["batchStats"] == {
        "requestCount": "4",
        "pendingRequestCount": "0",
        "successfulRequestCount": "2",
        "failedRequestCount": "2",
    }


def test_two_equal_orders_are_two_batches(client: genai.Client, mixed: str) -> None:
    config = types.CreateBatchJobConfig(display_name="the same")
    first, second = (client.batches.create(model=MODEL, src=mixed, config=config) for _ in "ab")
    assert first.name != second.name
    results = [downloaded(client, finished(client, job)) for job in (first, second)]
    texts = [[text_of(line) for line in lines if "response" in line] for lines in results]
    assert texts == [["Say hi.", "Say bye."]] * 2


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda client, _: client.batches.get(name="batches/never-made"), "batches/never-made"),
        (lambda client, _: client.batches.create(model=MODEL, src="files/none"), "files/none"),
        (lambda client, file: client.batches.create(model="no-such", src=file), "no-such"),
        (lambda client, _: client.models.get(model="no-such"), "no-such"),
        (lambda client, _: client.files.get(name="files/none"), "files/none"),
    ],
    ids=["batch", "input file", "model of a batch", "model", "file"],
)
def test_what_does_not_exist_is_not_found(
    client: genai.Client, mixed: str, call: Callable[[genai.Client, str], object], named: str
) -> None:
    with pytest.raises(errors.ClientError, match=named) as refused:
        call(client, mixed)
    assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND")


def test_batches_are_listed_page_by_page_newest_first(client: genai.Client) -> None:
    made = [
        client.batches.create(
            model=MODEL, src=[types.InlinedRequest(contents=f"question {number}")]
        ).name
        for number in range(5)
    ]
    pager = client.batches.list(config=types.ListBatchJobsConfig(page_size=2))
    assert len(pager.page) == 2
    listed = [job.name for job in pager]
    assert [name for name in listed if name in made] == made[::-1]
    assert len(listed) == len(set(listed))


def test_the_same_request_is_answered_live(client: genai.Client) -> None:
    config = types.GenerateContentConfig(max_output_tokens=2)
    reply = client.models.generate_content(model=MODEL, contents="a long question", config=config)
    assert reply.text == "a long q"
    assert reply.model_version == "echo"
    assert reply.candidates is not None
    assert reply.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS


def test_models_are_listed_and_found(client: genai.Client) -> None:
    listed = {model.name for model in client.models.list()}
    assert f"models/{MODEL}" in listed
    model = client.models.get(model=MODEL)
    assert model.name == f"models/{MODEL}"
    assert model.supported_actions is not None
    assert "batchGenerateContent" in model.supported_actions


# curl ---------------------------------------------------------------------------------------------

POLL = """
poll() {
  for attempt in $(seq 600); do
    curl -sf "$BASE/v1beta/$BATCH_NAME" \\
      -H "x-goog-api-key: $GEMINI_API_KEY" \\
      -H "Content-Type:application/json" 2> /dev/null > batch_status.json
    if jq -r '.done' batch_status.json | grep -q "false"; then continue; fi
    return 0
  done
  echo "the batch does not end"; return 1
}
"""

INLINE = """
curl -s "$BASE/v1beta/models/gemini-3.5-flash:batchGenerateContent" \\
  -H "x-goog-api-key: $GEMINI_API_KEY" \\
  -X POST \\
  -H "Content-Type:application/json" \\
  -d '{
    "batch": {
      "display_name": "my-batch-requests",
      "input_config": {
        "requests": {
          "requests": [
            {
              "request": {"contents": [{"parts": [{"text": "Say one."}]}]},
              "metadata": {"key": "request-1"}
            },
            {
              "request": {"contents": [{"parts": [{"text": "Say two."}]}]},
              "metadata": {"key": "request-2"}
            }
          ]
        }
      }
    }
  }' > created.json
BATCH_NAME=$(jq -r '.name' created.json)
poll
jq -r '.metadata.state' batch_status.json
jq -r '.state' batch_status.json
jq -c '.response.inlinedResponses.inlinedResponses[] | .metadata' batch_status.json
jq -r '.dest.inlinedResponses[].response.candidates[0].content.parts[0].text' batch_status.json
"""

FILE = """
tmp_batch_input_file=batch_input.tmp
printf '%s\\n' \\
  '{"contents": [{"parts": [{"text": "Say one."}]}], "generationConfig": {"temperature": 0.7}}' \\
  '{"contents": [{"parts": [{"text": "Say two."}]}]}' > batch_input.tmp
MIME_TYPE=$(file -b --mime-type "${tmp_batch_input_file}" 2>/dev/null || echo text/plain)
NUM_BYTES=$(wc -c < "${tmp_batch_input_file}")
DISPLAY_NAME=BatchInput
tmp_header_file=upload-header.tmp
curl "$BASE/upload/v1beta/files" \\
  -D "${tmp_header_file}" \\
  -H "x-goog-api-key: $GEMINI_API_KEY" \\
  -H "X-Goog-Upload-Protocol: resumable" \\
  -H "X-Goog-Upload-Command: start" \\
  -H "X-Goog-Upload-Header-Content-Length: ${NUM_BYTES}" \\
  -H "X-Goog-Upload-Header-Content-Type: ${MIME_TYPE}" \\
  -H "Content-Type: application/jsonl" \\
  -d "{'file': {'display_name': '${DISPLAY_NAME}'}}" 2> /dev/null
upload_url=$(grep -i "x-goog-upload-url: " "${tmp_header_file}" | cut -d" " -f2 | tr -d "\\r")
rm "${tmp_header_file}"
curl "${upload_url}" \\
  -H "Content-Length: ${NUM_BYTES}" \\
  -H "X-Goog-Upload-Offset: 0" \\
  -H "X-Goog-Upload-Command: upload, finalize" \\
  --data-binary "@${tmp_batch_input_file}" 2> /dev/null > file_info.json
BATCH_INPUT_FILE=$(jq -r ".file.name" file_info.json)
jq -r ".file.displayName" file_info.json
jq -r ".file.uri" file_info.json | grep -c "^$BASE/v1beta/files/"
curl -s "$BASE/v1beta/models/gemini-3.5-flash:batchGenerateContent" \\
  -X POST \\
  -H "x-goog-api-key: $GEMINI_API_KEY" \\
  -H "Content-Type:application/json" \\
  -d "{
    'batch': {
      'display_name': 'my-batch-requests',
      'input_config': {
        'file_name': '${BATCH_INPUT_FILE}'
      }
    }
  }" > created.json
BATCH_NAME=$(jq -r '.name' created.json)
poll
responses_file_name=$(jq -r '.response.responsesFile' batch_status.json)
[ "$responses_file_name" = "$(jq -r '.dest.fileName' batch_status.json)" ]
curl -s "$BASE/download/v1beta/$responses_file_name:download?alt=media" \\
  -H "x-goog-api-key: $GEMINI_API_KEY" > batch_results.jsonl
wc -l < batch_results.jsonl | tr -d ' '
jq -r '.response.candidates[0].content.parts[0].text' batch_results.jsonl
curl -s "$BASE/v1beta/batches?pageSize=1" -H "x-goog-api-key: $GEMINI_API_KEY" \\
  | jq -r '.operations | length'
"""


with_curl = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq"
)


def shell(script: str, echo: Server, folder: Path) -> list[str]:
    """Run a script as a reader of the documentation would; gives the lines it printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "BASE": echo.base_url,
        "GEMINI_API_KEY": "any-key",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", POLL + script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@with_curl
def test_curl_creates_an_inline_batch_and_jq_reads_it(echo: Server, tmp_path: Path) -> None:
    assert shell(INLINE, echo, tmp_path) == [
        "JOB_STATE_SUCCEEDED",
        "JOB_STATE_SUCCEEDED",
        '{"key":"request-1"}',
        '{"key":"request-2"}',
        "Say one.",
        "Say two.",
    ]


@with_curl
def test_curl_uploads_in_single_quotes_runs_and_downloads(echo: Server, tmp_path: Path) -> None:
    assert shell(FILE, echo, tmp_path) == [
        "{}BatchInput",  # the first call's answer has no line end
        "1",
        "2",
        "Say one.",
        "Say two.",
        "1",
    ]


def test_the_counters_of_a_new_batch_are_strings(echo: Server) -> None:
    name = echo.submit(request_line("a", "x"))
    document = echo.finish(name)
    assert counters(document) == (1, 0, 1, 0)
    assert all(type(value) is str for value in document["metadata"]["batchStats"].values())
