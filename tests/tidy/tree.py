"""The project's own files, as the tests of form look at them."""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "nightrate"

_PYTHON_FOLDERS = ("nightrate", "tests", "examples", "bench", "benchmarks", "scripts")
_FOREIGN_FOLDERS = {"build", "dist", "shared", "nightrate-data", "demo-data", "__pycache__"}
_TEXT = {"", ".py", ".md", ".toml", ".lock", ".sql", ".json", ".jsonl", ".sh", ".yaml", ".yml"}


@cache
def package_files() -> tuple[Path, ...]:
    """Give every module of the package."""
    return tuple(sorted(PACKAGE.rglob("*.py")))


@cache
def python_files() -> tuple[Path, ...]:
    """Give every Python file of the project."""
    return tuple(
        path for folder in _PYTHON_FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))
    )


@cache
def text_files() -> tuple[Path, ...]:
    """Give every file of the project that a person may read, built and fetched things left out."""
    found = []
    for folder, below, names in os.walk(ROOT):
        below[:] = [
            name
            for name in below
            if name not in _FOREIGN_FOLDERS and (name == ".ci" or not name.startswith("."))
        ]
        found += [Path(folder, name) for name in names if Path(name).suffix in _TEXT]
    # The records of tools (coverage and the like) begin with a dot and are not ours.
    return tuple(
        sorted(path for path in found if not path.name.startswith(".") or path.name == ".gitignore")
    )


@cache
def parse(path: Path) -> ast.Module:
    """Read a Python file as a tree."""
    return ast.parse(path.read_text("utf-8"), str(path))


def short(path: Path) -> str:
    """Name a file as messages do: from the root of the project."""
    return path.relative_to(ROOT).as_posix()


def in_package(path: Path) -> str:
    """Name a module of the package as the allow-lists do, such as ``work/plan.py``."""
    return path.relative_to(PACKAGE).as_posix()


def dotted(node: ast.AST) -> str:
    """Write ``a.b.c`` for the expression that says it; empty for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def imported(path: Path) -> set[str]:
    """Give the full names that a file imports: modules, and what is taken out of them."""
    names: set[str] = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def constants(path: Path) -> set[str]:
    """Give the strings that stand in a file."""
    return {
        node.value
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
