"""What the libraries make of the templates of models that call functions, and of their marks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from msgspec import structs

from nightrate.domain.calling import Call, Calling, CallMode, CallResult
from nightrate.domain.generation import Message, Prompt, Sampling
from nightrate.engines import llama_cpp_model, openvino_model
from nightrate.engines.told import ways_to_tell
from nightrate.testing.engine_calls import WEATHER
from tests.engines.trained import BARE, CONTROL, LISTED, TAGGED, write_trained

pytestmark = [pytest.mark.embedded, pytest.mark.xdist_group("embedded")]

FREE = Calling((WEATHER,), CallMode.AUTO, "tools", "mode")
END = "<|im_end|>"


@contextmanager
def llama_cpp(path: Path) -> Iterator[llama_cpp_model.Model]:
    """Give a model, and close its line to the library at the end: its child would just end."""
    pytest.importorskip("xllamacpp", reason="the library of the extra llama_cpp is not installed")
    model = llama_cpp_model.Model(
        llama_cpp_model.ModelSetup(
            path=str(path),
            model_version="trained",
            slots=1,
            context_tokens=2048,
            threads=1,
            reproducible=True,
            functions=True,
        )
    )
    with closing(model._desk._connection):
        yield model


def openvino(path: Path) -> openvino_model.Model:
    """Give a model without a pipeline."""
    return openvino_model.Model(
        openvino_model.ModelSetup(
            path=str(path),
            model_version="trained",
            context_tokens=2048,
            kv_cache_gib=1,
            threads=1,
            requests=1,
            reproducible="auto",
            ignore_eos=False,
            functions=True,
        )
    )


NUMBERS = '"days": 1, "at": [59.913868, -1764464400.125, 9007199254740993, 1e-9]'
HISTORY = (
    Message("user", "Oslo?"),
    Message("model", "", calls=(Call("weather", f'{{"city": "{END}", {NUMBERS}}}'),)),
    Message("user", "", results=(CallResult("weather", '{"sky":"clear"}'),)),
    Message("model", "Clear."),
    Message("user", "And Bergen?"),
)


def read_in(rendered: str) -> str:
    """Give a text with the one number that may be written in two ways."""
    return rendered.replace("1e-09", "1e-9")


@pytest.mark.parametrize(
    ("template", "opening"),
    [
        (TAGGED, '<tool_call>\n{"name": "weather", "arguments": '),
        (BARE, '{"name": "weather", "parameters": '),
        (LISTED, '[TOOL_CALLS] [{"name": "weather", "arguments": '),
    ],
)
def test_both_libraries_write_functions_and_calls_as_the_template_has_them(
    tmp_path: Path, template: str, opening: str
) -> None:
    path = write_trained(tmp_path / "trained.gguf", template, CONTROL)
    with llama_cpp(path) as llama:
        genai = openvino(path)
        prompt = Prompt(messages=HISTORY, calling=FREE)
        told = next(ways_to_tell(prompt, [END], llama.syntax))
        rendered = llama._rendered(told)
        assert rendered is not None
        assert read_in(rendered) == read_in(genai._rendered(told) or "")
        _, _, written = rendered.partition(f'{opening}{{"city": "<{told.mark}|im_end|>", ')
        assert json.loads(f"{{{written.partition('}')[0]}}}") == json.loads(f"{{{NUMBERS}}}")
        assert '"weather"' in rendered.partition("Oslo?")[0] or template is LISTED

        (end,) = llama.encode_text(END, begins=False)
        harmless = structs.replace(
            HISTORY[1], calls=(Call("weather", f'{{"city": "x", {NUMBERS}}}'),)
        )
        other = structs.replace(prompt, messages=(HISTORY[0], harmless, *HISTORY[2:]))
        assert llama.encode(prompt).count(end) == llama.encode(other).count(end) > 0
        ids, others = (genai.encode(one).ids.data[0].tolist() for one in (prompt, other))
        assert ids.count(end) == others.count(end) > 0

        twice = structs.replace(HISTORY[1], calls=HISTORY[1].calls * 2)
        several = structs.replace(prompt, messages=(HISTORY[0], twice, *HISTORY[2:]))
        assert len(llama.encode(several)) > len(llama.encode(prompt))
        assert genai.encode(several).tokens > genai.encode(prompt).tokens


def _gathered(pieces: list[llama_cpp_model.Piece], piece: llama_cpp_model.Piece) -> bool:
    pieces.append(piece)
    return False


def test_a_control_word_that_marks_calls_is_in_the_text_of_who_decides_only(
    tmp_path: Path,
) -> None:
    path = write_trained(tmp_path / "trained.gguf", LISTED, CONTROL)
    with llama_cpp(path) as llama:
        (marker,) = llama.encode_text("[TOOL_CALLS]", begins=False)
        said = {}
        for calling in (FREE, None):
            prompt = Prompt(
                messages=(Message("user", "Hi"),),
                sampling=Sampling(max_output_tokens=1, temperature=0.0),
                calling=calling,
            )
            order = llama.order(prompt, llama.encode(prompt)) | {"logit_bias": [[marker, 1000.0]]}
            pieces: list[llama_cpp_model.Piece] = []
            llama.answer(order, None, partial(_gathered, pieces))
            said[calling is FREE] = "".join(piece.text for piece in pieces)
        assert said == {True: "[TOOL_CALLS]", False: ""}
    genai = openvino(path)
    end = genai.encode_text(END).ids.data[0].tolist()
    ids = [*genai.encode_text("Hm. ").ids.data[0].tolist(), marker, *end]
    assert genai.decoder(structs.replace(prompt, calling=FREE))(ids) == "Hm. [TOOL_CALLS]"
    assert genai.decoder(structs.replace(prompt, calling=None))(ids) == "Hm. "
    assert genai.decode(ids) == "Hm. "
