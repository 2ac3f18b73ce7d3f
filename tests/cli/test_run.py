"""``nightrate run``: a file of requests without a server, resumed whenever it was broken off."""

from __future__ import annotations

import random
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightrate import local_run
from nightrate.engines.base import ignore_progress
from nightrate.errors import Precondition
from nightrate.settings import Settings
from tests.acceptance.counting import Counting
from tests.acceptance.server import request_line, text_of, until
from tests.cli.conftest import Commands, names

ECHO = ("--engine", "echo")


def requests(count: int) -> bytes:
    """Write a file whose keys and texts all differ."""
    return b"".join(request_line(f"key-{i}", f"text-{i}") for i in range(count))


def answers(path: Path) -> list[Any]:
    content = path.read_bytes()
    assert content.endswith(b"\n")
    return [msgspec.json.decode(line) for line in content.splitlines()]


def assert_whole(path: Path, count: int) -> None:
    """Check that every request has its one line, in order."""
    lines = answers(path)
    assert [line["key"] for line in lines] == [f"key-{i}" for i in range(count)]
    assert [text_of(line) for line in lines] == [f"text-{i}" for i in range(count)]


def test_a_file_is_answered_in_order_and_nothing_else_stays(commands: Commands) -> None:
    commands.write("in.jsonl", requests(2_500))
    ended = commands.run("run", "in.jsonl", *ECHO)
    assert ended.status == 0, ended.complaint
    assert_whole(commands.folder / "in.out.jsonl", 2_500)
    assert commands.names() == {"in.jsonl", "in.out.jsonl"}
    assert "in.out.jsonl: 2500 answered, 0 failed" in ended.out[0]


def test_a_file_of_embedding_requests_gives_vectors(commands: Commands) -> None:
    lines = [{"key": key, "request": {"content": key * 9}} for key in "ab"]
    commands.write("in.jsonl", b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    ended = commands.run("run", "in.jsonl", "--model", "gemini-embedding-001", *ECHO)
    assert ended.status == 0, ended.complaint
    written = answers(commands.folder / "in.out.jsonl")
    assert [line["key"] for line in written] == ["a", "b"]
    assert all(len(line["response"]["embedding"]["values"]) == 768 for line in written)


def test_the_figures_of_a_run_come_as_json(commands: Commands) -> None:
    commands.write("in.jsonl", requests(2) + b"{torn\n")
    ended = commands.run("run", "in.jsonl", "-o", "new/place.jsonl", "--json", *ECHO)
    assert ended.status == 0, ended.complaint
    figures = ended.json
    assert figures.pop("seconds") > 0
    assert float(figures["receipt"].pop("engineSeconds")) > 0
    assert figures == {
        "state": "succeeded",
        "output": "new/place.jsonl",
        "requests": 3,
        "succeeded": 2,
        "failed": 1,
        "promptTokens": 4,
        "outputTokens": 4,
        "receipt": {
            "lines": 3,
            "items": [
                {"of": "input", "tokens": 4},
                {"of": "cached", "tokens": 0},
                {"of": "output", "tokens": 4},
                {"of": "thinking", "tokens": 0},
            ],
        },
        "error": None,
    }
    lines = answers(commands.folder / "new" / "place.jsonl")
    assert [text_of(line) for line in lines[:2]] == ["text-0", "text-1"]
    assert "line 3" in lines[2]["error"]["message"]


TARIFF = """
currency = "USD"
machine_price_per_hour = 1
[models."gemini-*"]
input = 0.30
output = 2.50
cached = 0.03
"""


def test_a_run_ends_with_its_receipt(commands: Commands) -> None:
    commands.write("in.jsonl", requests(1_001))
    commands.write("tariff.toml", TARIFF)
    ended = commands.run("run", "in.jsonl", *ECHO, environment={"NIGHTRATE_TARIFF": "tariff.toml"})
    assert ended.status == 0, ended.complaint
    *table, seconds = ended.out[1:]
    assert table == [
        "receipt of 1,001 lines, in USD",
        "          tokens  a million       list       batch",
        "  input    2,003        0.3  0.0006009  0.00030045",
        "  output   2,003        2.5  0.0050075  0.00250375",
        "                             0.0056084  0.00280420",
        "  saved 0.0028042 USD",
    ]
    assert re.fullmatch(r"  engine 0\.[0-9]{6} s, for 0(\.0[0-9]*)? USD", seconds)


def test_a_run_that_is_killed_goes_on_and_answers_everything_once(
    commands: Commands, counting: Counting
) -> None:
    chance = random.Random(6)
    count, kills = 600, 6
    commands.write("in.jsonl", requests(count))
    config = counting.settings(requests=16, delay_seconds=0.05)
    command = ("run", "in.jsonl", "--config", config)
    for kills_left in range(kills, 0, -1):
        more = chance.randrange(2 * (count - len(counting.answered())) // (kills_left + 2))
        goal = counting.answers() + more
        process = commands.start(*command, environment=counting.environment)
        until(counting.answers_reach(goal), 30, every=0.005)
        process.kill()
        assert not (commands.folder / "in.out.jsonl").exists()
    ended = commands.run(*command, environment=counting.environment)
    assert ended.status == 0, ended.complaint
    assert_whole(commands.folder / "in.out.jsonl", count)
    assert commands.names() == {"in.jsonl", "in.out.jsonl"}


def test_an_interrupted_run_says_so_and_goes_on(commands: Commands, counting: Counting) -> None:
    commands.write("in.jsonl", requests(200))
    config = counting.settings(requests=8, delay_seconds=0.05)
    command = ("run", "in.jsonl", "--config", config)
    process = commands.start(*command, environment=counting.environment)
    until(counting.answers_reach(50), 30)
    process.popen.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert "Traceback" not in process.said
    assert commands.names() == {"in.jsonl", "in.out.jsonl.nightrate"}
    ended = commands.run(*command, environment=counting.environment)
    assert ended.status == 0, ended.complaint
    assert_whole(commands.folder / "in.out.jsonl", 200)
    assert counting.answered().total() < 300, "most of what was answered is kept"


def test_an_output_that_exists_is_not_touched(commands: Commands) -> None:
    commands.write("in.jsonl", requests(1))
    output = commands.write("in.out.jsonl", b"precious")
    ended = commands.run("run", "in.jsonl", *ECHO)
    assert ended.status == 1
    assert "in.out.jsonl exists already" in ended.complaint
    assert output.read_bytes() == b"precious"
    assert commands.names() == {"in.jsonl", "in.out.jsonl"}


def test_a_changed_input_or_model_is_not_mixed_into_a_run(
    commands: Commands, counting: Counting
) -> None:
    source = commands.write("in.jsonl", requests(200))
    config = counting.settings(requests=4, delay_seconds=0.05)
    command = ("run", "in.jsonl", "--config", config)
    process = commands.start(*command, environment=counting.environment)
    until(counting.answers_reach(10), 30)
    process.kill()
    other_model = commands.run(
        *command, "--model", "gemini-2.5-pro", environment=counting.environment
    )
    assert other_model.status == 1
    assert "another input or model" in other_model.complaint
    source.write_bytes(requests(200) + request_line("late", "late"))
    other_input = commands.run(*command, environment=counting.environment)
    assert other_input.status == 1
    assert "another input or model" in other_input.complaint
    source.write_bytes(requests(200))
    assert commands.run(*command, environment=counting.environment).status == 0
    assert_whole(commands.folder / "in.out.jsonl", 200)


def test_two_runs_do_not_share_a_state(commands: Commands, counting: Counting) -> None:
    commands.write("in.jsonl", requests(400))
    config = counting.settings(requests=4, delay_seconds=0.05)
    command = ("run", "in.jsonl", "--config", config)
    first = commands.start(*command, environment=counting.environment)
    until(counting.answers_reach(1), 30)
    second = commands.run(*command, environment=counting.environment)
    assert second.status == 1
    assert "in use by another nightrate" in second.complaint
    assert first.wait(60) == 0, first.said
    assert_whole(commands.folder / "in.out.jsonl", 400)


def test_a_file_without_a_valid_request_fails_and_can_be_tried_again(commands: Commands) -> None:
    source = commands.write("in.jsonl", b"no JSON\n\nneither\n")
    ended = commands.run("run", "in.jsonl", *ECHO)
    assert ended.status == 1
    assert "Error on line 1" in ended.complaint
    assert "Error on line 3" in ended.complaint
    assert commands.names() == {"in.jsonl"}
    source.write_bytes(b"no JSON\n" * 200_000)  # too much to be seen before it is planned
    ended = commands.run("run", "in.jsonl", "--json", *ECHO)
    assert ended.status == 1
    assert (ended.json["state"], ended.json["output"]) == ("failed", None)
    assert "Error on line 1" in ended.json["error"]
    source.write_bytes(requests(1))
    assert commands.run("run", "in.jsonl", *ECHO).status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("in.jsonl", "--model", "no-such", *ECHO), 1, "models/no-such is not found"),
        (("empty.jsonl", *ECHO), 1, "is empty"),
        (("missing.jsonl", *ECHO), 1, "missing.jsonl is not a file"),
        ((".", *ECHO), 2, "is a directory"),
        (("in.jsonl", "--engine", "no-such"), 2, "engine 'no-such' is not known"),
        (("in.jsonl", "-o", "in.jsonl/out", *ECHO), 1, "cannot be used as the data directory"),
        (("in.jsonl", "-o", "in.jsonl", *ECHO), 1, "in.jsonl exists already"),
        ((), 2, "Missing argument"),
    ],
)
def test_a_run_that_cannot_be_is_refused_and_leaves_nothing(
    commands: Commands, arguments: tuple[str, ...], status: int, complaint: str
) -> None:
    commands.write("in.jsonl", requests(1))
    commands.write("empty.jsonl", b"")
    ended = commands.run("run", *arguments)
    assert ended.status == status
    assert complaint in ended.complaint
    assert commands.names() == {"in.jsonl", "empty.jsonl"}


async def test_a_kill_while_the_state_is_deleted_does_not_run_it_all_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(requests(3))
    real = shutil.rmtree

    def dies_halfway(path: Path, *, ignore_errors: bool = False) -> None:
        real(path / "blobs", ignore_errors=ignore_errors)
        if not ignore_errors:
            (path / "state.sqlite").unlink()
            raise KeyboardInterrupt

    async def run() -> None:
        settings = Settings(engine="echo")
        await local_run.run_file(
            settings, source, output, "gemini-2.5-pro", progress=ignore_progress, watch=_ignore
        )

    monkeypatch.setattr(shutil, "rmtree", dies_halfway)
    with pytest.raises(KeyboardInterrupt):
        await run()
    monkeypatch.undo()
    assert_whole(output, 3)
    with pytest.raises(Precondition, match="exists already"):
        await run()
    output.unlink()
    await run()
    assert_whole(output, 3)
    assert names(tmp_path) == {"in.jsonl", "out.jsonl"}


def _ignore(batch: object) -> None:
    del batch
