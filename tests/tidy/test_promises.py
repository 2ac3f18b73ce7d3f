"""The page of promises: ten of them, each whole, and shown by tests and campaigns that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.faults.__main__ import campaigns
from tests.tidy.tree import ROOT, parse

PAGE = (ROOT / "docs" / "operate" / "promises.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", PAGE, re.MULTILINE))
PROMISES = [title for title in SECTIONS if title[0].isdigit()]
PARTS = ("Exactly", "Not", "How", "Shown by")

CAMPAIGNS = {campaign.name for campaign in campaigns()}


def part(promise: str, name: str) -> str:
    """Give a part of a promise."""
    found = re.search(rf"^\*\*{name}\.\*\* ((?:.+\n)+)", SECTIONS[promise], re.MULTILINE)
    assert found, f"{promise} does not say: {name}"
    return " ".join(found[1].split())


def test_there_are_ten_promises_and_what_is_not_promised() -> None:
    assert [int(title.split(".")[0]) for title in PROMISES] == list(range(1, 11))
    assert len(SECTIONS["Not promised"].split("\n* ")) > 1


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_has_its_parts(promise: str) -> None:
    for name in PARTS:
        assert part(promise, name)
    assert part(promise, "How").count(". ") == 0, "one sentence says how"


@pytest.mark.parametrize("promise", PROMISES)
def test_every_test_that_is_named_exists(promise: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", part(promise, "Shown by"))
    assert named
    for path, name in named:
        functions = {
            node.name
            for node in ast.walk(parse(ROOT / path))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in functions, f"{path} has no {name}"


def test_every_campaign_that_is_named_exists() -> None:
    lists = re.findall(
        r"\bcampaigns? (`[a-z-]+`(?:(?:, | and )`[a-z-]+`)*)", " ".join(PAGE.split())
    )
    named = set(re.findall(r"`([a-z-]+)`", " ".join(lists)))
    assert len(named) > len(PROMISES)
    assert not named - CAMPAIGNS
