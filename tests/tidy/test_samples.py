"""The table of documented samples: complete, in fixed words, and with tests that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.tidy.tree import ROOT, parse

TABLE = (ROOT / "docs" / "guide" / "samples.md").read_text("utf-8")
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in TABLE.splitlines()
    if re.match(r"\| [A-Z]\d", line)
]
COUNTS = {"B": 6, "D": 43, "O": 30, "X": 9}
"""How many samples each source has."""

STATUSES = {"runs", "runs with help", "not served yet"}


def test_every_sample_is_listed_once_and_in_order() -> None:
    wanted = [f"{letter}{number + 1}" for letter, n in COUNTS.items() for number in range(n)]
    assert [row[0] for row in ROWS] == wanted


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_sample_that_runs_has_a_test_and_another_says_what_is_missing(
    row: tuple[str, ...],
) -> None:
    _, does, status, note, test = row
    assert does
    assert status in STATUSES
    assert bool(note) == (status != "runs")
    if status == "not served yet":
        assert not test
        return
    path, _, name = test.strip("`").partition("::")
    functions = {
        node.name
        for node in parse(ROOT / path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name.startswith("test_")
    assert name in functions
