"""Prints the pages about options and schemas: ``python -m tests.tidy.options_page``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nightrate.dialects.gemini_option import Option
from nightrate.dialects.gemini_options import EMBEDDING_OPTIONS, OPTIONS
from nightrate.dialects.gemini_options_of_schemas import JSON, OWN
from nightrate.domain.generation import Capability
from nightrate.engines.registry import create_engine
from tests.dialects.answer_fields import ANSWER_FIELDS, VECTOR_FIELDS, AnswerField

_GUIDE = Path(__file__).parents[2] / "docs" / "guide"
PAGE = _GUIDE / "options.md"
BEGIN = (
    "<!-- printed from the tables in nightrate/dialects/gemini_options.py and "
    "tests/dialects/answer_fields.py -->"
)
SCHEMAS_PAGE = _GUIDE / "structured.md"
SCHEMAS_BEGIN = "<!-- printed from the table in nightrate/dialects/gemini_options_of_schemas.py -->"
SCHEMAS_END = "<!-- end of what is printed -->"

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
            "## Fields of answers",
            "",
            *_fields(ANSWER_FIELDS),
            "",
            "## Fields of vectors",
            "",
            *_fields(VECTOR_FIELDS),
            "",
            "## What engines can do",
            "",
            *_engines(),
            "",
        ]
    )


def printed_schemas() -> str:
    """Give the table of keywords, which stands amid the words of its page."""
    rows = {option.path: option for option in OPTIONS}
    names = {
        path.removeprefix(f"{at}."): None
        for at in (JSON, OWN)
        for path in rows
        if path.startswith(f"{at}.")
    }
    cells = [
        f"| `{name}` | {_here(rows, OWN, name)} | {_here(rows, JSON, name)} | "
        f"{(rows.get(f'{JSON}.{name}') or rows[f'{OWN}.{name}']).says} |"
        for name in names
    ]
    heads = ["| Keyword | `responseSchema` | `responseJsonSchema` | |", "|---|---|---|---|"]
    return "\n".join([SCHEMAS_BEGIN, "", *heads, *cells, "", SCHEMAS_END])


def _here(rows: dict[str, Option], at: str, name: str) -> str:
    option = rows.get(f"{at}.{name}")
    return "unknown" if option is None else option.treatment.value


def with_schemas(page: str) -> str:
    """Put the table of keywords into its page, in the place of the one that is there."""
    before, _, rest = page.partition(SCHEMAS_BEGIN)
    _, _, after = rest.partition(SCHEMAS_END)
    return before + printed_schemas() + after


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


def _fields(fields: Iterable[AnswerField]) -> list[str]:
    rows = [f"| `{field.path}` | {field.presence.value} | {field.says} |" for field in fields]
    return ["| Field | Here it is | What it tells and when, or why not |", "|---|---|---|", *rows]


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
    """Write the pages anew, beside the words that a person wrote."""
    words, _, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(words + printed(), encoding="utf-8")
    page = SCHEMAS_PAGE.read_text(encoding="utf-8")
    SCHEMAS_PAGE.write_text(with_schemas(page), encoding="utf-8")


if __name__ == "__main__":
    main()
