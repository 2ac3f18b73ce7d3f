"""Grammars spell nothing that does not fit their form, and what they must spell they do."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightrate import limits
from nightrate.domain.schema import ChoiceForm, Number
from nightrate.engines.grammars import grammar_of
from nightrate.engines.number_ranges import grammar_of_number
from nightrate.engines.specimens import specimen_of
from nightrate.errors import Code, RequestFailed
from tests.engines.forms import FIELD, fits, form_of, regex_of, schemas


def matches(tree: object, text: str) -> bool:
    return re.fullmatch(regex_of(grammar_of(form_of(tree))), text) is not None


def refusal(tree: object) -> RequestFailed:
    with pytest.raises(RequestFailed) as failed:
        grammar_of(form_of(tree))
    return failed.value


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(schemas, st.data())
def test_what_a_grammar_spells_follows_the_schema(
    tree: dict[str, Any], data: st.DataObject
) -> None:
    text = data.draw(st.from_regex(re.compile(regex_of(grammar_of(form_of(tree)))), fullmatch=True))
    assert fits(text, tree)


@settings(max_examples=100, deadline=None)
@given(schemas)
def test_a_grammar_spells_the_plainest_answer(tree: dict[str, Any]) -> None:
    form = form_of(tree)
    if not any(
        bound in str(tree) for bound in ("inimum", "aximum")
    ):  # Numbers have decimals there.
        assert re.fullmatch(regex_of(grammar_of(form)), specimen_of(form))


@given(
    st.integers(-1300, 1300), st.integers(0, 1300), st.integers(-1500, 3000),
    st.frozensets(st.sampled_from(["low", "high"])),
)  # fmt: skip
def test_bounds_of_whole_numbers_are_exact(
    low: int,
    span: int,
    number: int,
    opened: frozenset[str],
) -> None:
    node = Number(
        whole=True,
        at_least=None if "low" in opened else low,
        above=low - 1 if "low" in opened else None,
        at_most=None if "high" in opened else low + span,
        below=low + span + 1 if "high" in opened else None,
    )
    body = grammar_of_number(node)
    assert body is not None
    found = re.fullmatch(regex_of(f"root ::= {body}"), str(number))
    assert bool(found) is (low <= number <= low + span)


@given(st.integers(-3000, 3000), st.integers(0, 3000), st.integers(-4000, 7000))
def test_bounds_of_other_numbers_are_exact_in_hundredths(low: int, span: int, number: int) -> None:
    node = Number(at_least=low / 100, at_most=(low + span) / 100)
    body = grammar_of_number(node)
    assert body is not None
    found = re.fullmatch(regex_of(f"root ::= {body}"), f"{number / 100:.2f}")
    assert bool(found) is (low <= number <= low + span)


@pytest.mark.parametrize(
    ("tree", "spelled", "not_spelled"),
    [
        ({"type": "integer"}, ["0", "-12", "9" * 15], ["01", "-", "1.0", "9" * 16]),
        ({"type": "number"}, ["0.5", "-3", "10.25"], ["1e5", ".5", "1."]),
        ({"type": "number", "minimum": 0, "maximum": 1}, ["0.00", "0.99", "1.00"], ["1.01", "0.9"]),
        ({"type": "number", "exclusiveMinimum": 0}, ["0.01", "12.50"], ["0.00", "-1.00"]),
        ({"type": "number", "minimum": 0.125}, ["0.125", "7.000"], ["0.124"]),
        ({"type": "integer", "minimum": 5}, ["5", "10", "999999999999999"], ["4", "05"]),
        ({"type": "integer", "maximum": -5}, ["-5", "-10"], ["-4", "5", "-05"]),
        ({"type": "string", "maxLength": 0}, ['""'], ['"a"']),
        ({"type": "string"}, ['""', '"é\\n\u2028"'], ['"\n"', '"a""', '"\\u0041"']),
        ({"items": {"type": "null"}}, ["[]", "[null]", "[null,null]"], ["[ null]", "[null,]"]),
        ({"items": False}, ["[]"], ["[1]"]),
        ({"prefixItems": [{"type": "null"}, True], "items": False, "maxItems": 1}, ["[]", "[null]"],
         ["[null,null]"]),
        ({"properties": {}}, ["{}"], ['{"a":1}']),
        ({"properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "required": ["b"]},
         ['{"b":null}', '{"a":null,"b":null}'], ['{"a":null}', "{}", '{"b":null,"a":null}']),
        ({"properties": {"a": {"type": "null"}, "b": {"type": "null"}},
          "propertyOrdering": ["b", "a"]},
         ["{}", '{"b":null}', '{"a":null}', '{"b":null,"a":null}'], ['{"a":null,"b":null}']),
        ({"additionalProperties": {"type": "null"}, "maxProperties": 2},
         ["{}", '{"x":null,"y":null}'], ['{"x":null,"y":null,"z":null}']),
        ({"additionalProperties": {"type": "null"}, "maxProperties": 0}, ["{}"], ['{"x":null}']),
        ({"format": "date"}, ['"2026-02-28"'], ['"2026-02-30"', '"2026-13-01"']),
    ],
)  # fmt: skip
def test_a_form_is_spelled_compactly(
    tree: object, spelled: list[str], not_spelled: list[str]
) -> None:
    assert [text for text in spelled if not matches(tree, text)] == []
    assert [text for text in not_spelled if matches(tree, text)] == []


def test_choices_are_spelled_as_they_stand() -> None:
    choices = ("plain", 'a "quoted"\\ one', "two\nlines\t\x7f", "é\u2028 漢")
    pattern = regex_of(grammar_of(ChoiceForm(choices, FIELD)))
    assert all(re.fullmatch(pattern, choice) for choice in choices)
    assert not re.fullmatch(pattern, "plai")


def test_a_definition_is_a_rule_that_may_name_itself() -> None:
    tree = {
        "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}, "all": {"$ref": "#"}}}},
        "items": {"$ref": "#/$defs/node"},
    }
    grammar = grammar_of(form_of(tree))
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())
    assert next(iter(rules)) == "root"
    assert rules["root"] == '"[" (d0 ("," d0)*)? "]"'
    assert "d0" in "".join(body for name, body in rules.items() if name != "root")


@settings(max_examples=50, deadline=None)
@given(schemas)
def test_every_rule_that_is_named_is_there(tree: dict[str, Any]) -> None:
    whole = {"anyOf": [tree, {}], "$defs": {"a": tree}, "description": "d"}
    grammar = grammar_of(form_of(whole))
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]', "", grammar)
    assert set(re.findall(r"\b[a-z_]+\d*\b", bare)) <= rules.keys()


@pytest.mark.parametrize(
    ("tree", "at"),
    [
        ({"prefixItems": [{"type": "number", "minimum": -n - 0.123456, "maximum": n + 9e9}
                          for n in range(900)]}, ""),
        ({"$defs": {"d": {"type": "integer", "minimum": 10**15}}, "items": {"$ref": "#/$defs/d"}},
         ".$defs.d"),
        ({"type": ["string", "number"], "above": 1, "exclusiveMinimum": 0,
          "exclusiveMaximum": 1e-7}, ""),
    ],
)  # fmt: skip
def test_a_bound_that_no_grammar_keeps_is_refused_by_its_path(
    tree: dict[str, Any], at: str
) -> None:
    tree.pop("above", None)
    error = refusal(tree)
    assert error.code is Code.UNIMPLEMENTED
    assert error.message.startswith(f"{FIELD}{at}: this engine cannot keep bounds ")
    assert not error.retriable


@pytest.mark.parametrize(
    ("pattern", "spelled", "not_spelled"),
    [
        ("^[A-Z]{2}-[0-9]{3}$", ['"AB-123"'], ['"AB-12"', '"ab-123"', '"xAB-123"']),
        ("yes|no", ['"yes"', '"no"'], ['"yesno"', '""']),
        ('[^a]"?', ['"b"', '"b\\""', '"\\\\"', '"\\n"', '"\U0001f642"'], ['"a"', '"\n"', '"""']),
        (".{2,}", ['"ab"', '"é\\t\U0001f642"'], ['"a"', '"a\\n"']),
        ("a*b+c?", ['"b"', '"aabbc"'], ['"a"', '"bcc"']),
        ("", ['""'], ['"a"']),
    ],
)
def test_a_pattern_is_spelled_between_the_quotes(
    pattern: str, spelled: list[str], not_spelled: list[str]
) -> None:
    tree = {"type": "string", "pattern": pattern}
    assert all(matches(tree, text) for text in spelled)
    assert not any(matches(tree, text) for text in not_spelled)


FLAG = {"type": "boolean"}


def test_a_pattern_that_no_grammar_keeps_is_refused_by_its_path() -> None:
    error = refusal({"items": {"type": "string", "pattern": "\\x00"}})
    assert error.code is Code.UNIMPLEMENTED
    assert error.message.startswith(f"{FIELD}.items.pattern: ")
    assert "control character" in error.message


@pytest.mark.parametrize(
    ("tree", "counts"),
    [
        ({"maxLength": limits.GRAMMAR_CHARACTERS_MAX}, "{0,120}"),
        ({"maxLength": limits.GRAMMAR_CHARACTERS_MAX + 1}, "*"),
        ({"minLength": 2, "maxLength": 500}, "{2,}"),
        ({"minLength": 400, "maxLength": 500}, "{1,}"),
        (
            {"prefixItems": [{"maxLength": 100}, {"maxLength": 21}], "items": False, "minItems": 2},
            "{0,100} *",
        ),
        ({"pattern": "[^a]{200}"}, "{1,}"),
        ({"pattern": "[0-9]" * 200}, ""),
        ({"pattern": "[^0]" * 200}, ""),
        ({"pattern": "(a+b*){12}"}, "{1,} * {12,12}"),
        ({"pattern": "(a+b*){13}"}, "{1,} * {1,}"),
        ({"pattern": "a+b*" * 13}, ""),
        ({"pattern": "([a-z]+-)*[a-z]+"}, "{1,} * {1,}"),
        ({"pattern": "([^-]+-)*[a-z]+"}, ""),
        (
            {
                "prefixItems": [{"pattern": "a+" * n} for n in (20, 4, 1)],
                "items": False,
                "minItems": 3,
            },
            " ".join(["{1,}"] * 24),
        ),
        (
            {"prefixItems": [{"pattern": "a+" * 20}] * 2, "items": False, "minItems": 2},
            " ".join(["{1,}"] * 20),
        ),
        (
            {
                "prefixItems": [{"pattern": "a+" * 9 + "[^a]{130}"}, {"pattern": "b+" * 8}],
                "items": False,
                "minItems": 2,
            },
            " ".join(["{1,}"] * 18),
        ),
        ({"pattern": "[ab]{3}c?([de]{0,90}){2}"}, "{1,} {0,1} * {1,}"),
        ({"items": FLAG, "maxItems": limits.GRAMMAR_ITEMS_MAX}, "{0,999} ?"),
        ({"items": FLAG, "maxItems": limits.GRAMMAR_ITEMS_MAX + 1}, "* ?"),
        ({"items": FLAG, "minItems": 2_000}, "*"),
        (
            {
                "prefixItems": [{"items": FLAG, "maxItems": 1_000}] * 11,
                "items": False,
                "minItems": 11,
            },
            "{0,999} ? * ?",
        ),
        ({"additionalProperties": FLAG, "minProperties": 2}, "{1,}"),
        ({"additionalProperties": FLAG, "maxProperties": 1_001}, "* ?"),
        ({"properties": {"a": FLAG}, "minProperties": 1}, ""),
        ({"properties": {"a": FLAG}, "maxProperties": 0}, ""),
    ],
)
def test_counts_that_make_a_grammar_large_are_left_to_those_who_look_afterwards(
    tree: dict[str, Any], counts: str
) -> None:
    form = form_of(tree)
    assert form.schema.loose
    assert matches(tree, specimen_of(form))
    lines = grammar_of(form).splitlines()
    own = " ".join(line for line in lines if re.match(r"(root|[rd]\d+) ", line))
    found = re.findall(
        r"(?<=[\w)\]])(?:[*?]|\{\d+(?:,\d*)?\})", re.sub(r'"(?:\\.|[^"\\])*"', "", own)
    )
    assert " ".join(found) == counts


def test_equal_bounds_of_texts_are_counted_once() -> None:
    text = {"type": "string", "maxLength": limits.GRAMMAR_CHARACTERS_MAX}
    assert matches({"prefixItems": [text, text], "items": False}, '["a","b"]')


def test_a_large_schema_makes_a_grammar_of_its_size() -> None:
    table = {f"name{number}": {"type": "string"} for number in range(900)}
    grammar = grammar_of(form_of({"properties": table}))
    assert len(grammar) < 200 * 900
    assert msgspec.json.decode(specimen_of(form_of({"properties": table}))).keys() == table.keys()
