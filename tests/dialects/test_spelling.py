"""Both spellings, at any depth, and faults in the client's own words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from nightrate import limits
from nightrate.dialects.spelling import Shape, camel, joined, quoted, snake, spelled, unknown_name
from nightrate.errors import BadRequest


class Leaf(Struct, rename="camel", forbid_unknown_fields=True):
    some_number: int | None = None
    big_name: str | None = None


class Tree(Struct, rename="camel", forbid_unknown_fields=True):
    one_leaf: Leaf | None = None
    all_leaves: list[Leaf | str] | Leaf | None = None
    leaf_by_name: dict[str, Leaf] | None = None
    leaf_list: list[Leaf] | None = None
    free_map: dict[str, str] | None = None
    free_values: list[int] | None = None
    free_form: Any = None
    scalar_only: int | str | None = None


TREE = Shape(Tree, {Leaf: {"fooBar": 'Use "bigName".'}})


def refusal(tree: object, at: str = "") -> BadRequest:
    with pytest.raises(BadRequest) as refused:
        TREE.read(tree, at)
    return refused.value


@pytest.mark.parametrize(
    "tree",
    [
        {"oneLeaf": {"someNumber": 1}, "allLeaves": [{"bigName": "b"}, "c"]},
        {"one_leaf": {"some_number": 1}, "all_leaves": [{"big_name": "b"}, "c"]},
        {"oneLeaf": {"some_number": "1"}, "all_leaves": [{"bigName": "b"}, "c"]},
        {"oneLeaf": {"some_number": 1.0, "bigName": None}, "all_leaves": [{"bigName": "b"}, "c"]},
    ],
)
def test_spellings_mix_freely_and_numbers_may_be_text(tree: object) -> None:
    assert TREE.read(tree) == Tree(one_leaf=Leaf(1), all_leaves=[Leaf(big_name="b"), "c"])


@pytest.mark.parametrize(
    ("tree", "field"),
    [
        ({"oneLeaf": {"bigName": "b", "big_name": "c"}}, "oneLeaf.big_name"),
        ({"one_leaf": {"bigName": "b"}, "oneLeaf": {"someNumber": 1}}, "oneLeaf"),
        ({"oneLeaf": {"some_number": 0, "someNumber": 1}}, "oneLeaf.someNumber"),
        ({"oneLeaf": {"some_number": 1, "someNumber": 0}}, "oneLeaf.someNumber"),
    ],
)
def test_a_member_in_both_spellings_is_refused(tree: object, field: str) -> None:
    error = refusal(tree)
    assert error.field == field
    assert "in its other spelling" in error.message


@pytest.mark.parametrize(
    "tree",
    [
        {"oneLeaf": {"bigName": "b"}, "one_leaf": {}},
        {"one_leaf": {}, "oneLeaf": {"bigName": "b"}},
        {"one_leaf": {"some_number": None}, "oneLeaf": {"bigName": "b"}},
        {"oneLeaf": {"bigName": "b", "big_name": None}},
    ],
)
def test_what_is_empty_in_one_spelling_is_absent_there(tree: object) -> None:
    assert TREE.read(tree) == Tree(one_leaf=Leaf(big_name="b"))


def test_a_lone_value_may_stand_for_a_list() -> None:
    assert TREE.read({"all_leaves": {"some_number": 3}}) == Tree(all_leaves=Leaf(3))


def test_free_maps_keep_their_keys() -> None:
    free = {"snake_case": {"deep_key": [{"other_key": 1}]}}
    tree = TREE.read(
        {
            "free_form": free,
            "free_map": {"my_key": "v"},
            "leaf_by_name": {"my_leaf": {"some_number": 2}},
            "free_values": [1],
            "scalar_only": "x",
        }
    )
    assert tree == Tree(
        free_form=free,
        free_map={"my_key": "v"},
        leaf_by_name={"my_leaf": Leaf(2)},
        free_values=[1],
        scalar_only="x",
    )


def test_null_is_absent_where_names_are_known() -> None:
    assert TREE.read({"oneLeaf": None, "free_form": {"kept": None}}) == Tree(
        free_form={"kept": None}
    )


def test_an_unknown_name_is_refused_with_its_path_and_a_remedy() -> None:
    error = refusal({"all_leaves": ["x", {"foo_bar": 1}]})
    assert error.message == (
        "Invalid JSON payload received. Unknown name \"foo_bar\" at 'all_leaves[1]': "
        'Cannot find field. Use "bigName".'
    )
    assert error.field == "all_leaves[1].foo_bar"


def test_an_unknown_name_on_top_has_no_place() -> None:
    error = refusal({"nonsense": 1})
    assert error.message == (
        'Invalid JSON payload received. Unknown name "nonsense": Cannot find field.'
    )
    assert error.field == "nonsense"


def test_a_path_begins_where_the_value_lies() -> None:
    assert refusal({"oneLeaf": {"x": 1}}, "request").field == "request.oneLeaf.x"
    assert refusal({"leafByName": {"k": {"x": 1}}}, "request").field == "request.leafByName.k.x"


@pytest.mark.parametrize(
    ("tree", "path", "what"),
    [
        ({"one_leaf": {"some_number": "x"}}, "one_leaf.some_number", "expected `int`, got `str`."),
        ({"oneLeaf": {"bigName": 3}}, "oneLeaf.bigName", "expected `str`, got `int`."),
        ({"all_leaves": [{}, {"bigName": []}]}, "all_leaves[1].bigName", "expected `str`,"),
        ({"all_leaves": 3}, "all_leaves", "got `int`."),
        ({"leaf_list": {}}, "leaf_list", "expected `array`, got `object`."),
        ({"all_leaves": [3]}, "all_leaves[0]", "got `int`."),
        ({"free_map": {"a": 1}}, "free_map", "expected `str`, got `int`."),
    ],
)
def test_a_wrong_type_is_refused_with_the_path_as_the_client_spelled_it(
    tree: object, path: str, what: str
) -> None:
    error = refusal(tree)
    assert error.field == path
    assert error.message.startswith(f"Invalid value at '{path}': expected")
    assert what in error.message


def test_a_wrong_type_on_top_has_no_path() -> None:
    error = refusal([])
    assert error.field is None
    assert error.message == "Invalid value: expected `object`, got `array`."


def test_a_long_name_is_cut_in_the_message() -> None:
    error = unknown_name("x" * 10_000, "", {})
    assert len(error.message) < 2 * limits.QUOTED_CHARACTERS_MAX
    assert quoted("x" * 101) == "x" * 100 + "…"
    assert quoted("x" * 100) == "x" * 100


def test_a_path_that_leads_nowhere_is_kept() -> None:
    assert spelled({"a_b": 1}, "aB.cD[3].eF") == "a_b.cD[3].eF"
    assert spelled({"a_b": [{"c_d": 1}]}, "aB[0].cD") == "a_b[0].c_d"
    assert spelled([], "") == ""


def test_paths_are_joined_by_points_where_names_meet() -> None:
    assert joined("a", "b") == "a.b"
    assert joined("a", "[0].b") == "a[0].b"
    assert joined("", "b") == "b"
    assert joined("a", "") == "a"


@given(st.from_regex(r"[a-z]{2,5}(_[a-z]{2,5}){0,3}", fullmatch=True))
def test_the_two_spellings_lead_to_each_other(name: str) -> None:
    assert snake(camel(name)) == name
