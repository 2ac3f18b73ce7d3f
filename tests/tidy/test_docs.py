"""The documents: what they name exists, and what they show can be read by a machine."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest

from nightrate.cli import commands as group
from tests.tidy.tree import PACKAGE, ROOT, parse, short, text_files

DOCUMENTS = [path for path in text_files() if path.suffix == ".md"]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SECTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n)*)", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Give the blocks of code in a language, each with the name of its document."""
    for path in DOCUMENTS:
        for found, body in _BLOCK.findall(path.read_text("utf-8")):
            if found == language:
                yield short(path), body


def commands() -> Iterator[tuple[str, str]]:
    """Give each line that a reader may type, with the name of its document."""
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for language, body in _BLOCK.findall(text):
            if language == "bash":
                yield from ((short(path), line) for line in body.splitlines())
        yield from ((short(path), words) for words in _INLINE.findall(_BLOCK.sub("", text)))


def anchors(path: Path) -> set[str]:
    """Give the places in a document that a link may name."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_opens_with_the_two_commands() -> None:
    opening = (ROOT / "README.md").read_text("utf-8").split("\n## ")[0]
    assert re.search(r"^make demo\b", opening, re.MULTILINE)
    assert re.search(r"^make test\b", opening, re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=short)
def test_every_link_leads_somewhere(document: Path) -> None:
    dead = []
    for link in _LINK.findall(document.read_text("utf-8")):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def test_every_command_that_is_shown_exists() -> None:
    shown = {
        (document, match[1])
        for document, line in commands()
        if (match := re.match(r"(?:\.venv/bin/|/opt/nightrate/bin/)?nightrate ([a-z]+)\b", line))
        and match[1] != "ready"  # what the server prints
    }
    assert shown
    assert not {(document, name) for document, name in shown if name not in group.commands}


def test_every_option_that_is_shown_exists() -> None:
    wrong = []
    for document, line in commands():
        match = re.search(r"(?:^|\$\()nightrate ([a-z]+)\b(.*)", line.split("#")[0])
        if not match or match[1] not in group.commands:
            continue
        command = group.commands[match[1]]
        if isinstance(command, click.Group):  # the word behind it names one of its own
            below = match[2].split()
            if not below:
                continue
            if below[0] not in command.commands:
                wrong.append(f"{document}: {match[1]} {below[0]}")
                continue
            command = command.commands[below[0]]
        known = {name for option in command.params for name in option.opts}
        wrong += [
            f"{document}: {match[1]} {option}"
            for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", match[2])
            if option not in known | {"--help"}
        ]
    assert not wrong


def test_every_command_is_documented() -> None:
    shown = {match[1] for _, line in commands() if (match := re.match(r"nightrate ([a-z]+)", line))}
    assert not group.commands.keys() - shown


def test_every_target_that_is_shown_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    shown = {match[1] for _, line in commands() if (match := re.match(r"make ([a-z]+)", line))}
    assert shown
    assert not shown - targets


def test_the_table_of_settings_is_what_the_program_says() -> None:
    (table,) = (
        node
        for node in parse(PACKAGE / "settings.py").body
        if isinstance(node, ast.ClassDef) and node.name == "Settings"
    )
    rows = [
        f"| `{field.target.id}` | `{ast.get_source_segment(_source(), field.value)}` | {meaning} |"
        for field, says in pairwise(table.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value
        for meaning in [_sentence(says)]
    ]
    text = (ROOT / "docs" / "operate" / "settings.md").read_text("utf-8")
    assert [line for line in text.splitlines() if line.startswith("| `")] == rows


def _source() -> str:
    return (PACKAGE / "settings.py").read_text("utf-8")


def _sentence(node: ast.stmt) -> str:
    """Give the docstring of a field, as Markdown."""
    assert isinstance(node, ast.Expr)
    assert isinstance(node.value, ast.Constant)
    return " ".join(str(node.value.value).split()).replace("``", "`")


def test_every_option_of_an_engine_is_documented() -> None:
    tables = {
        table.name: (path.stem, table)
        for path in sorted((PACKAGE / "engines").glob("*.py"))
        for table in parse(path).body
        if isinstance(table, ast.ClassDef) and table.name.endswith("Options")
    }

    def bases(table: ast.ClassDef) -> list[str]:
        names = [base.id for base in table.bases if isinstance(base, ast.Name)]
        return [name for name in names if name in tables]

    def options(table: ast.ClassDef) -> list[str]:
        own = [
            field.target.id
            for field in table.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        ]
        return own + [option for name in bases(table) for option in options(tables[name][1])]

    shared = {name for _, table in tables.values() for name in bases(table)}
    text = (ROOT / "docs" / "operate" / "engines.md").read_text("utf-8")
    sections = {title.split(":")[0]: body for title, body in re.findall(_SECTION, text)}
    undocumented = [
        f"{engine}.{option}"
        for name, (engine, table) in tables.items()
        if name not in shared
        for option in options(table)
        if f"| `{option}` |" not in sections.get(engine, "")
    ]
    assert len(tables) > len(shared) > 0
    assert not undocumented


def test_the_code_that_is_shown_can_be_read() -> None:
    for document, body in blocks("python"):
        compile(body, document, "exec")
    for _, body in blocks("json"):
        for line in body.splitlines():
            json.loads(line)
    for _, body in blocks("toml"):
        tomllib.loads(body)


def test_every_decision_says_why_and_when_to_look_again() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text("utf-8")
        assert "**Decided.**" in text, path.name
        assert "**Why" in text, path.name
        assert "**Look again**" in text, path.name
