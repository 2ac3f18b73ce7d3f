"""``nightrate validate``: what is wrong with a file, and a status that says how much."""

from __future__ import annotations

import pytest

from tests.acceptance.server import request_line
from tests.cli.conftest import Commands

GOOD = request_line("a", "x")
BAD = b'{"key": "b", "request": {"generationConfig": {"temperature": "hot"}}}\n'


@pytest.mark.parametrize(
    ("content", "status", "counts"),
    [
        (GOOD * 3, 0, (3, 3, 0, 1)),
        (b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n\r\n") * 20, 0, (20, 20, 0, 2)),
        (GOOD + BAD + b"{torn", 1, (3, 1, 2, 1)),
        (BAD, 2, (1, 0, 1, 1)),
        (b"", 2, (0, 0, 0, 0)),
        (b"\n \n", 2, (0, 0, 0, 0)),
    ],
    ids=["all good", "windows", "some bad", "none good", "empty", "blank"],
)
def test_the_status_says_whether_all_some_or_no_lines_are_valid(
    commands: Commands, content: bytes, status: int, counts: tuple[int, ...]
) -> None:
    commands.write("in.jsonl", content)
    told = commands.run("validate", "in.jsonl")
    assert told.status == status, told.complaint
    whole, valid, invalid, shards = counts
    assert told.out[-1] == (
        f"in.jsonl: {whole} requests, {valid} valid, {invalid} not; {shards} shards"
    )
    figures = commands.run("validate", "in.jsonl", "--json")
    assert figures.status == status
    assert figures.json.pop("faults") == told.out[:-1]
    assert (
        tuple(figures.json[name] for name in ("requests", "valid", "invalid", "shards")) == counts
    )
    assert commands.names() == {"in.jsonl"}


def test_each_fault_names_its_line_and_the_rest_is_counted(commands: Commands) -> None:
    commands.write("in.jsonl", GOOD + BAD * 25)
    told = commands.run("validate", "in.jsonl")
    assert told.status == 1
    assert [line.partition(":")[0] for line in told.out[:20]] == [
        f"Error on line {number}" for number in range(2, 22)
    ]
    assert all("temperature" in line for line in told.out[:20])
    assert told.out[20] == "... and 5 more"


def test_the_lines_of_an_embedding_model_ask_for_vectors(commands: Commands) -> None:
    commands.write("in.jsonl", b'{"key": "a", "request": {"content": "x"}}\n')
    assert commands.run("validate", "in.jsonl", "--model", "gemini-embedding-001").status == 0
    assert commands.run("validate", "in.jsonl").status == 2


def test_the_model_is_held_against_the_lines(commands: Commands) -> None:
    line = b'{"request": {"model": "gemini-2.5-pro", "contents": "x"}}\n'
    commands.write("in.jsonl", line)
    assert commands.run("validate", "in.jsonl", "--model", "gemini-2.5-pro").status == 0
    other = commands.run("validate", "in.jsonl", "--model", "gemini-2.5-flash")
    assert other.status == 2
    assert "gemini-2.5-pro" in other.out[0]


@pytest.mark.parametrize(("name", "reason"), [("none", "does not exist"), (".", "is a directory")])
def test_what_is_no_file_is_refused(commands: Commands, name: str, reason: str) -> None:
    told = commands.run("validate", name)
    assert told.status == 2
    assert reason in told.complaint
