"""The tables of what the protocol leaves open: complete, decided, and shown by tests that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.tidy.tree import ROOT, parse

TABLE = (ROOT / "docs" / "decisions" / "0006-what-the-protocol-leaves-open.md").read_text("utf-8")
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in TABLE.splitlines()
    if re.match(r"\| [CHT]\d", line)
]
COUNTS = {"C": 30, "H": 28, "T": 14}
"""How many conflicts, habits and troubles there are."""


def test_every_row_is_there_once_and_in_order() -> None:
    wanted = [f"{letter}{number + 1}" for letter, n in COUNTS.items() for number in range(n)]
    assert [row[0] for row in ROWS] == wanted


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_is_decided_is_shown_by_a_test(row: tuple[str, ...]) -> None:
    _, what, decision, test = row
    assert what
    assert decision
    if decision == "not served yet":
        assert not test
        return
    path, _, name = test.strip("`").partition("::")
    functions = {
        node.name
        for node in ast.walk(parse(ROOT / path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name.startswith("test_")
    assert name in functions
