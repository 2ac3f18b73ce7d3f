"""GGUF files: what the head says, and re-encoding."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from nightrate.engines.gguf_files import chat_template, control_words, inspect, is_gguf, reencode
from nightrate.errors import EngineDown
from tests.engines import tiny


def test_the_head_tells_architecture_context_and_types(tiny_gguf: Path, misread_gguf: Path) -> None:
    facts = inspect(tiny_gguf)
    assert (facts.architecture, facts.context_tokens) == ("llama", 77)
    assert facts.tensor_types == {"Q8_0", "F32"}
    assert inspect(misread_gguf).tensor_types == {"Q4_1", "F32"}


def test_words_that_may_steer_a_model_are_found_by_their_type_and_by_their_brackets(
    tiny_gguf: Path, tmp_path: Path
) -> None:
    assert control_words(tiny_gguf) == ["<|end|>"]  # it says nothing of types
    path = tmp_path / "typed.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "[INST]", "<>", "<think>", "<unk>", "<b"])
    writer.add_array("tokenizer.ggml.token_type", [1, 3, 1, 4, 2, 1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert control_words(path) == ["[INST]", "<think>", "<unk>"]


@pytest.mark.parametrize(
    ("templates", "found"),
    [({}, ""), ({"": "a"}, "a"), ({"": "a", ".tool_use": "b"}, "b"), ({"": "a", ".rag": "c"}, "a")],
)
def test_the_template_for_conversations_with_functions_is_found(
    tmp_path: Path, templates: dict[str, str], found: str
) -> None:
    path = tmp_path / "told.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for name, text in templates.items():
        writer.add_string(f"tokenizer.chat_template{name}", text)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert chat_template(path) == found


def test_a_file_is_known_by_its_first_bytes(tiny_gguf: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK")
    assert is_gguf(tiny_gguf)
    assert not is_gguf(other)


@pytest.mark.parametrize("kept", [4, 30, 120, 200])
def test_a_head_that_breaks_off_is_refused(tiny_gguf: Path, tmp_path: Path, kept: int) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_gguf.read_bytes()[:kept])
    with pytest.raises(EngineDown, match="not a whole GGUF file"):
        inspect(broken)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(EngineDown):
        inspect(tmp_path / "empty")


@pytest.mark.parametrize("kind", ["Q4_1", "F16", "F32", "Q8_0"])
def test_reencoding_keeps_the_weights_and_the_fields(tmp_path: Path, kind: str) -> None:
    source, target = tiny.write_gguf(tmp_path / "source", kind), tmp_path / "target"
    shares: list[float] = []
    reencode(source, target, shares.append)
    before, after = gguf.GGUFReader(source), gguf.GGUFReader(target)
    assert inspect(target).tensor_types == {"Q8_0", "F32"}
    for old, new in zip(before.tensors, after.tensors, strict=True):
        assert (old.name, list(old.shape)) == (new.name, list(new.shape))
        was = gguf.quants.dequantize(old.data, old.tensor_type)
        now = gguf.quants.dequantize(new.data, new.tensor_type)
        # Half a step of eight bits, at the largest weight of the matrix.
        np.testing.assert_allclose(now, was, atol=float(np.abs(was).max()) / 127 * 0.56)
    own = {"GGUF.version", "GGUF.tensor_count", "GGUF.kv_count"}
    assert before.fields.keys() - own == after.fields.keys() - own
    for name in before.fields.keys() - own:
        assert before.fields[name].contents() == after.fields[name].contents()
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_a_file_that_is_none_cannot_be_reencoded(tmp_path: Path) -> None:
    (tmp_path / "none").write_bytes(b"something else, long enough for a head")
    with pytest.raises(EngineDown, match="cannot be re-encoded"):
        reencode(tmp_path / "none", tmp_path / "target", lambda _share: None)
