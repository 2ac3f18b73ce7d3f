"""The table of options names what exists, and all of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Struct, inspect, structs

from nightrate.dialects.gemini_embedding_shapes import EmbedContentRequest
from nightrate.dialects.gemini_option import Option, Treatment
from nightrate.dialects.gemini_options import EMBEDDING_OPTIONS, OPTIONS, refused_in
from nightrate.dialects.gemini_options_of_schemas import JSON, OWN
from nightrate.dialects.gemini_options_of_tools import FUNCTION
from nightrate.dialects.gemini_prompts import prompt_from_tree
from nightrate.dialects.gemini_shapes import GenerateContentRequest, GenerationConfig, Part
from nightrate.dialects.json_schema import KEYWORDS
from nightrate.errors import Refused
from tests.acceptance.options import SAMPLES

_FREE = (
    *("args", "response", "labels", "partMetadata", "mediaProcessing", "audioTranscription"),
    *("speechMetadata", "documentMetadata", "spreadsheetMetadata", "audioMetadata"),
    *("$defs", "definitions", "default", "example", "examples", "discriminator"),
)
"""Members that hold what the client likes."""
_UNUSED = f"{FUNCTION}.responseJsonSchema"
"""A schema that nothing is held to: what it has beyond ours does no harm."""

_INSTRUCTION = "systemInstruction.parts[]"


def shapes_in(kind: inspect.Type, path: str = "") -> Iterator[tuple[str, type[Struct]]]:
    """Walk over the shapes of a request, each with its path; a list comes before its lone item."""
    if isinstance(kind, inspect.StructType):
        yield path, kind.cls
        for member in kind.fields:
            below = f"{path}.{member.encode_name}" if path else member.encode_name
            yield from shapes_in(member.type, below)
    elif isinstance(kind, inspect.ListType):
        yield from shapes_in(kind.item_type, f"{path}[]")
    elif isinstance(kind, inspect.UnionType):
        lists = [inner for inner in kind.types if isinstance(inner, inspect.ListType)]
        for inner in lists or kind.types:
            yield from shapes_in(inner, path)


SHAPES = dict(shapes_in(inspect.type_info(GenerateContentRequest)))
EMBEDDING_SHAPES = {  # A content of a vector is one, whether it stands in a list or not.
    path.replace("content[]", "content"): kind
    for path, kind in shapes_in(inspect.type_info(EmbedContentRequest))
    if not path.startswith("contents")
}


def members_at(path: str, options: tuple[Option, ...]) -> set[str]:
    """Give the names that have a row right below a path."""
    start = f"{path}." if path else ""
    below = [option.path for option in options if option.path.startswith(start)]
    return {name for found in below if "." not in (name := found.removeprefix(start))}


def names_of(kind: type[Struct]) -> set[str]:
    return {member.encode_name for member in structs.fields(kind)}


@pytest.mark.parametrize("path", [path for path in SHAPES if path != _INSTRUCTION])
def test_every_member_of_a_request_has_a_row_and_every_row_a_member(path: str) -> None:
    assert members_at(path, OPTIONS) == names_of(SHAPES[path])


def test_a_part_of_an_instruction_has_a_row_where_it_is_not_read_as_in_a_turn() -> None:
    assert SHAPES[_INSTRUCTION] is Part
    assert members_at(_INSTRUCTION, OPTIONS) < names_of(Part)


@pytest.mark.parametrize("path", EMBEDDING_SHAPES)
def test_every_member_of_a_request_for_a_vector_has_a_row(path: str) -> None:
    assert members_at(path, EMBEDDING_OPTIONS) == names_of(EMBEDDING_SHAPES[path])


def test_every_keyword_of_a_schema_has_a_row_and_says_what_the_reader_does() -> None:
    served = {
        option.path.removeprefix(f"{JSON}.")
        for option in OPTIONS
        if option.path.startswith(f"{JSON}.") and option.treatment is not Treatment.REFUSED
    }
    assert served == KEYWORDS | {"x-..."}


def test_what_both_kinds_of_schemas_have_is_treated_alike() -> None:
    own, json = (
        {
            option.path.removeprefix(f"{at}."): option.treatment
            for option in OPTIONS
            if option.path.startswith(f"{at}.")
        }
        for at in (OWN, JSON)
    )
    assert own.pop("nullable") is not json["nullable"], "JSON Schema has a type for it"
    assert own.items() < json.items()


def test_every_row_stands_below_another() -> None:
    paths = {option.path for option in OPTIONS} | {_INSTRUCTION, FUNCTION}
    for path in paths:
        above = path.rpartition(".")[0].removesuffix("[]")
        assert not above or path.endswith("x-...") or above in paths | {"tools"}, path


@pytest.mark.parametrize("options", [OPTIONS, EMBEDDING_OPTIONS])
def test_no_option_has_two_rows(options: tuple[Option, ...]) -> None:
    paths = [option.path for option in options]
    assert len(paths) == len(set(paths))


def test_a_row_that_refuses_says_what_to_do() -> None:
    refused = [option for option in OPTIONS if option.treatment is Treatment.REFUSED]
    assert refused
    for option in refused:
        assert option.says.startswith(("Leave it out", "Send ", "Put ", "Use ", "Say "))
        assert option.needs is None


def test_a_row_that_is_passed_on_says_by_whom_or_stands_below_one_that_does() -> None:
    passed = {option.path: option for option in OPTIONS if option.treatment is Treatment.PASSED_ON}
    for path, option in passed.items():
        above = path.rpartition(".")[0].removesuffix("[]")
        assert "`gemini`" in option.says or above in passed, path


def test_the_gates_know_a_member_by_both_its_names() -> None:
    refused = refused_in(GenerationConfig, "generationConfig")
    assert refused["speech_config"] == "speechConfig"
    assert "temperature" not in refused


def objects_at(tree: Any, path: list[str]) -> list[dict[str, Any]]:
    """Find the objects at a path of a sample; a lone item may stand for a list."""
    if isinstance(tree, list):
        return [found for inner in tree for found in objects_at(inner, path)]
    if not isinstance(tree, dict):
        return []
    return objects_at(tree.get(path[0].removesuffix("[]")), path[1:]) if path else [tree]


OBJECTS = [
    option.path
    for option in OPTIONS
    if option.treatment is not Treatment.REFUSED
    and option.path != _UNUSED
    and option.path.rpartition(".")[2] not in _FREE
    and objects_at(SAMPLES.get(option.path), option.path.split("."))
]


@pytest.mark.parametrize("path", OBJECTS)
def test_a_name_without_a_row_is_refused_wherever_it_stands(path: str) -> None:
    sample = copy.deepcopy(SAMPLES[path])
    objects_at(sample, path.split("."))[-1]["fooBar"] = 1
    with pytest.raises(Refused) as refused:
        prompt_from_tree(sample, "gemini-2.5-flash")
    assert str(refused.value.field).endswith("fooBar"), refused.value.message


def test_objects_are_looked_at_on_every_level() -> None:
    assert {"contents[].parts[].functionCall", f"{OWN}.items", "toolConfig"} < {*OBJECTS}
    assert max(path.count(".") for path in OBJECTS) > 2


@pytest.mark.parametrize(
    "path", [option.path for option in OPTIONS if option.path.startswith("generationConfig.speech")]
)
def test_what_is_refused_is_named_by_its_innermost_part(path: str) -> None:
    with pytest.raises(Refused) as refused:
        prompt_from_tree(SAMPLES[path], "gemini-2.5-flash")
    assert refused.value.field == path
