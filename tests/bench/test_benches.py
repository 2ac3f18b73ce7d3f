"""Every benchmark runs to its end, over little; what it says of speed means nothing here."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from bench import alternatives, doors, llama_cpp, planning, restart
from bench.engine import Load
from bench.restart_child import STEPS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures by /proc")


def test_planning_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert planning.report(line_bytes=200, file_bytes=100_000, rounds=1) > 0
    assert "plan / typed" in capsys.readouterr().out


def test_uploads_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    doors.report_uploads(file_bytes=2 << 20, rounds=1)
    said = capsys.readouterr().out
    assert "ours, one call" in said
    assert "ours, pieces of 8 MiB" in said


def test_downloads_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    doors.report_downloads(file_bytes=200_000, rounds=1)
    assert "ours, checked on the way" in capsys.readouterr().out


def test_a_restart_is_taken_apart(capsys: pytest.CaptureFixture[str]) -> None:
    restart.report(requests=3_500, open_shards=1, rounds=1)
    said = capsys.readouterr().out
    assert "5 shards, 2 sealed, 1 in the hands of a killed server" in said
    for step in STEPS[: STEPS.index("first ask")]:
        assert step in said


def test_the_script_answers_every_request(tmp_path: Path) -> None:
    _, theirs = alternatives.write_inputs(tmp_path, 50)
    with alternatives.endpoint(1) as base_url:
        run = alternatives.run_script(theirs, base_url, 50, memory_of=os.getpid())
    assert run.requests_per_second > 0
    assert run.private_mib > 0


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
@pytest.mark.skipif(not importlib.util.find_spec("xllamacpp"), reason="xllamacpp is not installed")
def test_the_embedded_engine_is_compared_with_a_server_of_llama_cpp(
    capsys: pytest.CaptureFixture[str],
) -> None:
    llama_cpp.report(concurrency=2, requests=2, rounds=1, load=Load(64, 4), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["ratio"] > 0
    assert found["promptTokens"] == 64


def test_a_server_that_does_not_start_is_left_out_with_its_last_words(
    tmp_path: Path,
) -> None:
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho this machine is too old >&2\nexit 3\n", "ascii")
    program.chmod(0o700)
    server = llama_cpp.llama_server(tmp_path, tmp_path, 2, 512, str(program))
    with pytest.raises(llama_cpp.NoServerError, match="too old"), server:
        pass
