"""A real server with keys and limits, through the clients that people have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from google import genai
from google.genai import errors, types

from nightrate import client as small
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server import Process, Server, request_line, text_of, until

MODEL = "gemini-2.5-flash"


def new_key(server: Server, tenant: str) -> str:
    """Make a key as an administrator does, while the server runs."""
    process = Process(("keys", "create", "--tenant", tenant, "--data", str(server.data)))
    assert process.wait(60) == 0, process.said
    (key,) = process.stdout.lines
    return key


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str, str]]:
    """Give a server and the keys of two tenants."""
    server = Server(tmp_path_factory.mktemp("keyed") / "data", "--engine", "echo")
    try:
        server.start()
        yield server, new_key(server, "acme"), new_key(server, "other")
    finally:
        server.close()


def google(server: Server, key: str) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=server.base_url))


def test_googles_client_works_with_its_key_and_sees_its_own_things_only(
    keyed: tuple[Server, str, str], tmp_path: Path
) -> None:
    server, ours, theirs = keyed
    path = tmp_path / "input.jsonl"
    path.write_bytes(request_line("a", "one") + request_line("b", "two"))
    with google(server, ours) as client, google(server, theirs) as stranger:
        file = client.files.upload(file=path, config={"mime_type": "jsonl"})
        assert file.name is not None
        job = client.batches.create(model=MODEL, src=file.name)
        name = job.name
        assert name is not None
        done = until(lambda: (found := client.batches.get(name=name)).done and found, 60)
        assert done.dest.file_name is not None
        lines = client.files.download(file=done.dest.file_name).splitlines()
        assert [text_of(json.loads(line)) for line in lines] == ["one", "two"]
        assert list(stranger.files.list()) == []
        assert list(stranger.batches.list()) == []
        for call in (
            lambda: stranger.batches.get(name=name),
            lambda: stranger.files.get(name=str(file.name)),
            lambda: stranger.files.download(file=done.dest.file_name),
            lambda: stranger.batches.create(model=MODEL, src=str(file.name)),
        ):
            with pytest.raises(errors.ClientError) as caught:
                call()
            assert caught.value.code == 404
    folder = server.data / "blobs" / "batches" / "acme" / name.removeprefix("batches/")
    assert folder.is_dir()


def test_googles_client_is_told_that_its_key_is_wrong(keyed: tuple[Server, str, str]) -> None:
    server, key, _ = keyed
    with google(server, key[:-1] + "~") as client:
        with pytest.raises(errors.ClientError, match="API key not valid") as caught:
            client.models.generate_content(model=MODEL, contents="x")
        assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
        assert caught.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"


def test_our_client_works_with_its_key(
    keyed: tuple[Server, str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server, key, _ = keyed
    monkeypatch.setattr(small, "_configured", {"base_url": server.base_url})
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    path = tmp_path / "input.jsonl"
    path.write_bytes(request_line("a", "one"))
    with pytest.raises(small.CallFailed, match="needs an API key"):
        small.upload_file(path)
    small.configure(api_key=key)
    job = small.create_batch_job(model=MODEL, requests=small.upload_file(path))
    until(lambda: small.get_batch_job(job.name).result_file, 60)


def test_limits_are_those_of_the_settings(make_server: MakeServer, tmp_path: Path) -> None:
    line = request_line("a", "x" * 100)
    config = tmp_path / "my.toml"
    config.write_text(
        f"file_storage_bytes_max = {2 * len(line)}\n"
        f'[enqueued_tokens_max]\n"{MODEL}" = {len(line) // 4 - 1}\n',
        "utf-8",
    )
    server = make_server("--engine", "echo", "--config", str(config))
    name = server.upload(line)
    server.upload(line)
    headers = {"x-goog-upload-protocol": "raw"}
    full = server.ask("POST", "/upload/v1/files", b"x", headers)
    assert (full.status, full.headers["x-should-retry"]) == (429, "false")
    assert "1 more bytes of files were asked for" in full.message
    assert "0 are free" in full.message
    refused = server.create(name)
    assert refused.status == 429
    assert "The batch can never fit as a whole" in refused.message
    assert server.create(name, "gemini-2.5-pro").status == 200


def test_a_batch_continues_the_cached_contents_of_its_tenant_only(make_server: MakeServer) -> None:
    server = make_server("--engine", "echo")
    ours, theirs = new_key(server, "acme"), new_key(server, "other")
    with google(server, ours) as client, google(server, theirs) as stranger:
        config = types.CreateCachedContentConfig(contents="a secret book")
        cache = client.caches.create(model=MODEL, config=config)
        asking = types.GenerateContentConfigDict(cached_content=cache.name)
        errors_of = []
        for one in (client, stranger):
            src: list[types.InlinedRequestDict] = [{"contents": "Who?", "config": asking}]
            job = one.batches.create(model=MODEL, src=src)
            name = job.name
            assert name is not None
            done = until(partial(_ended, one, name), 60)
            (item,) = done.dest.inlined_responses
            errors_of.append(item.error)
        assert errors_of[0] is None
        assert errors_of[1].code == 5
        assert f"permission denied): {cache.name}" in errors_of[1].message


def _ended(client: genai.Client, name: str) -> types.BatchJob | None:
    found = client.batches.get(name=name)
    return found if found.done else None
