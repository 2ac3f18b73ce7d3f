"""Prints the page about options from the table: ``python -m tests.tidy.options_page``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nightrate.dialects.gemini_options import EMBEDDING_OPTIONS, OPTIONS, Option
from nightrate.domain.generation import Capability
from nightrate.engines.registry import create_engine

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "options.md"
BEGIN = "<!-- printed from the table in nightrate/dialects/gemini_options.py -->"

_ENGINES: dict[str, dict[str, str]] = {
    "openvino": {},
    "llama_cpp": {},
    "vllm": {"model": "any"},
    "minilm": {},
    "illustrator": {},
    "echo": {},
}
"""By name, the options without which an engine cannot be made."""


def printed() -> str:
    """Give the part of the page that follows from the table."""
    return "\n".join(
        [
            BEGIN,
            "",
            "## Generation",
            "",
            *_table(OPTIONS),
            "",
            "## Embeddings",
            "",
            *_table(EMBEDDING_OPTIONS),
            "",
            "## What engines can do",
            "",
            *_engines(),
            "",
        ]
    )


def _table(options: Iterable[Option]) -> list[str]:
    rows = [
        f"| `{option.path}` | {option.treatment.value} | {option.needs or ''} | {option.says} |"
        for option in options
    ]
    return [
        "| Option | Here it is | Needs | What it does, or what to do instead |",
        "|---|---|---|---|",
        *rows,
    ]


def _engines() -> list[str]:
    able = {name: create_engine(name, options).capabilities for name, options in _ENGINES.items()}
    rows = [
        f"| {capability.value} | "
        + " | ".join(_mark(capability in able[name]) for name in _ENGINES)
        + " |"
        for capability in Capability
    ]
    heads = " | ".join(f"`{name}`" for name in _ENGINES)
    return [f"| | {heads} |", "|---|" + "---|" * len(_ENGINES), *rows]


def _mark(able: bool) -> str:  # noqa: FBT001 - a cell
    return "yes" if able else ""


def main() -> None:
    """Write the page anew, below the words that a person wrote."""
    words, _, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(words + printed(), encoding="utf-8")


if __name__ == "__main__":
    main()
