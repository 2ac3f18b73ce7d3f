"""Plain requests for embeddings are read in one go, and mean exactly what the full reading says."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate import limits
from nightrate.dialects.gemini_lines import parse_embedding_line, parse_embedding_line_in_full
from nightrate.dialects.gemini_plain_passages import PlainPassageRequest, plain_passage
from nightrate.dialects.rows import sound_reader
from nightrate.domain.batch import BatchForm, Kind, Method
from nightrate.domain.embedding import EmbeddingTask, Passage
from nightrate.domain.generation import Failure
from tests.dialects.test_gemini_plain import KEYS
from tests.fuzz.pure import damaged

BLANKS = [chr(code) for code in range(0x3100) if chr(code).isspace() or not chr(code).strip()]
TEXTS = st.sampled_from(["", "hi", " \n", "a\n", "\u2028\x1c", "ü\U0001f600", '"\\', None, 7])
PARTS = st.dictionaries(
    st.sampled_from(["text", "text", "text", "thought", "thoughtSignature", "inlineData", "x"]),
    st.one_of(TEXTS, st.booleans()),
    max_size=2,
)
CONTENTS = st.one_of(
    st.fixed_dictionaries(
        {"parts": st.one_of(st.lists(PARTS, max_size=3), PARTS, TEXTS)},
        optional={"role": st.sampled_from([None, "", "user", "model", "system", 1]), "x": TEXTS},
    ),
    TEXTS,
)
DIMENSIONS: st.SearchStrategy[object] = st.sampled_from(
    [None, 0, 1, 7, 7.0, "7", True, -1, limits.EMBEDDING_DIMENSIONS_MAX, 2**20, 2**70, []]
)
TASKS = st.sampled_from([*EmbeddingTask.__members__, "clustering", "TASK_TYPE_UNSPECIFIED", "x", 1])
SETTINGS = {
    "taskType": TASKS,
    "task_type": TASKS,
    "title": TEXTS,
    "outputDimensionality": DIMENSIONS,
}
REQUESTS = st.fixed_dictionaries(
    {"content": st.one_of(CONTENTS, st.lists(CONTENTS, max_size=2))},
    optional={
        **SETTINGS,
        "contents": CONTENTS,
        "model": st.sampled_from(["m", "models/m", "other", ""]),
        "embedContentConfig": st.fixed_dictionaries({}, optional=SETTINGS),
    },
)
LINES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"request": REQUESTS}, optional={"key": KEYS, "metadata": KEYS, "extra": KEYS}
)


def agree(line: bytes, form: BatchForm) -> None:
    in_full = parse_embedding_line_in_full(line, 7, form, "m")
    assert parse_embedding_line(line, 7, form, "m") == in_full
    if surely_sound(line, form):
        assert not isinstance(in_full.prompt, Failure)


def surely_sound(line: bytes, form: BatchForm) -> bool:
    """Tell what planning takes without a closer look."""
    try:
        sound_reader(Kind(form, Method.EMBED))(line)
    except (ValueError, RecursionError):
        return False
    return True


@given(line=LINES, form=st.sampled_from(BatchForm))
def test_a_line_is_read_in_one_go_as_it_is_in_full(line: dict[str, Any], form: BatchForm) -> None:
    agree(msgspec.json.encode(line), form)


@pytest.mark.parametrize("form", BatchForm)
def test_a_damaged_line_is_read_in_one_go_as_it_is_in_full(form: BatchForm) -> None:
    chance = random.Random(7)
    for _ in range(2_000):
        agree(damaged(chance), form)


@pytest.mark.parametrize("texts", [["%"], ["%%"], ["a%"], ["a", "%"], ["%", "%"]])
def test_what_is_blank_is_blank_in_both_readings(texts: list[str]) -> None:
    for blank in BLANKS:
        parts = [{"text": text.replace("%", blank)} for text in texts]
        agree(msgspec.json.encode({"request": {"content": {"parts": parts}}}), BatchForm.FILE)


@pytest.mark.parametrize("name", EmbeddingTask.__members__)
def test_every_task_is_plain(name: str) -> None:
    request = {"content": {"parts": [{"text": "hi"}], "role": "user"}, "taskType": name}
    line = msgspec.json.encode({"request": request, "key": "k"})
    assert surely_sound(line, BatchForm.FILE)
    assert parse_embedding_line(line, 7, BatchForm.FILE, "m").prompt == Passage(
        text="hi", task=EmbeddingTask[name]
    )


def test_the_usual_request_is_plain() -> None:
    request = b"""{
        "content": {"parts": [{"text": "a"}, {"text": "b"}]},
        "taskType": "RETRIEVAL_DOCUMENT",
        "outputDimensionality": 128
    }"""
    assert surely_sound(b'{"request":' + request + b',"key":"k"}\r', BatchForm.FILE)
    assert surely_sound(b'{"request":' + request + b',"metadata":{"a":"k"}}', BatchForm.INLINE)
    passage = plain_passage(msgspec.json.decode(request, type=PlainPassageRequest), "m")
    assert passage == Passage(text="a\nb", task=EmbeddingTask.RETRIEVAL_DOCUMENT, dimensions=128)
