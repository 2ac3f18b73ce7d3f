"""``nightrate doctor``: what is checked, and what to do about what is wrong."""

from __future__ import annotations

from tests.cli.conftest import Commands

CHECKS = [
    "Python",
    "SQLite",
    "file system",
    "disk space",
    "disk sync",
    "engine echo",
    "echo: answer",
    "echo: vector",
]


def test_a_machine_that_is_fit_gives_status_0_and_nothing_is_made(commands: Commands) -> None:
    told = commands.run("doctor", "--engine", "echo")
    assert told.status == 0, told.complaint
    assert [line.split(":")[0].removeprefix("ok").strip() for line in told.out] == [
        check.split(":")[0] for check in CHECKS
    ]
    assert commands.names() == set()


def test_the_findings_come_as_json(commands: Commands) -> None:
    told = commands.run("doctor", "--engine", "echo", "--json")
    assert told.status == 0, told.complaint
    assert [finding["check"] for finding in told.json] == CHECKS
    assert all(finding["ok"] and finding["found"] for finding in told.json)


def test_an_engine_that_is_not_there_is_a_finding_with_a_remedy(commands: Commands) -> None:
    told = commands.run("doctor", "--engine", "no-such", "--json")
    assert told.status == 1
    last = told.json[-1]
    assert (last["check"], last["ok"]) == ("engine no-such", False)
    assert "there are: echo" in last["found"]
    assert last["remedy"]


def test_a_data_directory_that_cannot_be_is_a_finding(commands: Commands) -> None:
    commands.write("file", b"")
    for place in ("file", "file/inside"):
        told = commands.run("doctor", "--engine", "echo", "--data", place, "--json")
        assert told.status == 1, told.complaint
        (bad,) = [finding for finding in told.json if not finding["ok"]]
        assert bad["check"] == "disk sync"
        assert "cannot be written to" in bad["found"]
        assert bad["remedy"]
