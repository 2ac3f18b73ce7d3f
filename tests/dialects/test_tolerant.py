"""JSON as people and shells write it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate import limits
from nightrate.dialects import tolerant
from nightrate.errors import BadRequest

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"{'file': {'display_name': 'BatchInput'}}", {"file": {"display_name": "BatchInput"}}),
        (
            rb"""{'it\'s': 'say \"hi\" or "ho" \\ \n \u00e9'}""",
            {"it's": 'say "hi" or "ho" \\ \n é'},
        ),
        (b"[1, 2, ]", [1, 2]),
        (b"{'a': [1,], 'b': 2,}", {"a": [1], "b": 2}),
        (
            b'{"a": "x,]", "b": "// no", \'c\': "# no\'s",}',
            {"a": "x,]", "b": "// no", "c": "# no's"},
        ),
        (b"// first\n{ # second\n 'a': 1, // third\n # fourth\n}", {"a": 1}),
        (b"\xef\xbb\xbf{}", {}),
        ("{'ключ': 'значение',}".encode(), {"ключ": "значение"}),
        (b"''", ""),
    ],
)
def test_lenient_json_is_understood(body: bytes, value: object) -> None:
    assert tolerant.loads(body) == value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Input data was truncated: line 1 column 1."),
        (b"{'a': 1\n 'b': 2}", "line 2 column 2."),
        (b"{'a': 'it\\'s \"x\"', b}", "Object keys must be strings: line 1 column 20."),
        ("{'é': 'ü',\n 'ß', }".encode(), "Expected ':': line 2 column 7."),
        (b"{'a': # no\n x}", "Invalid character: line 2 column 2."),
        (b"'abc", "Invalid character: line 1 column 1."),
        (b"'", "Invalid character: line 1 column 1."),
        (b'"abc', "Input data was truncated: line 1 column 5."),
        (b"[1,,]", "Trailing comma in array: line 1 column 5."),
        (b"{'a': NaN}", "Invalid character: line 1 column 7."),
        (b"[Infinity]", "Invalid character: line 1 column 2."),
        (b'["\\ud800"]', "line 1 column 11."),
        (b'["\\udc00"]', "Invalid utf-16 surrogate pair: line 1 column 9."),
        (b"{'a':\n '\xff'}", "The text is not UTF-8: line 2 column 3."),
        (b"[1e999]", "Number out of range."),
        (b"1" * 5_000, "Integer value out of range."),
        (b"{} {}", "Trailing characters: line 1 column 5."),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        tolerant.loads(body)
    assert refused.value.message.startswith("Invalid JSON payload received. ")
    assert refused.value.message.endswith(message)


def test_a_body_may_be_nested_to_the_limit_and_no_deeper() -> None:
    assert tolerant.loads(nested(limits.JSON_DEPTH_MAX))
    with pytest.raises(BadRequest, match="deeper than 100 levels"):
        tolerant.loads(nested(limits.JSON_DEPTH_MAX + 1))
    with pytest.raises(BadRequest, match="deeper than 100 levels"):
        tolerant.loads(b'{"a":' * 500 + b"1" + b"}" * 500)


@pytest.mark.parametrize("depth", [5_000, 400_000])
def test_the_deepest_body_does_not_break_the_parser(depth: int) -> None:
    with pytest.raises(BadRequest, match="deeper than 100 levels"):
        tolerant.loads(nested(depth))


def test_what_is_nested_too_deep_is_found_by_the_first_names_on_the_way() -> None:
    deep = b'{"items":' * 200 + b"{}" + b"}" * 200
    body = b'{"a": {"items": [[]]}, "b": [{}, {"schema": ' + deep + b"}]}"
    with pytest.raises(BadRequest) as refused:
        tolerant.check_depth_of(body)
    assert refused.value.field == "b[1].schema.items"
    assert refused.value.message == "b[1].schema.items: JSON is nested deeper than 100 levels."


def test_what_is_nested_too_deep_under_ever_new_names_is_told_by_the_first_of_them() -> None:
    tree: object = 1
    for number in reversed(range(limits.JSON_DEPTH_MAX + 1)):
        tree = {f"n{number}": tree}
    with pytest.raises(BadRequest) as refused:
        tolerant.check_depth(tree)
    assert refused.value.field == ".".join(f"n{number}" for number in range(16))


def test_a_scalar_has_no_depth() -> None:
    tolerant.check_depth(3)


def test_only_json_with_many_brackets_is_decoded_to_learn_its_depth() -> None:
    tolerant.check_depth_of(b"[" * limits.JSON_DEPTH_MAX)
    tolerant.check_depth_of(b'"' + b"{" * 200 + b'"')
    with pytest.raises(BadRequest, match="deeper than 100 levels"):
        tolerant.check_depth_of(nested(limits.JSON_DEPTH_MAX + 1))


def test_leniency_ends_at_its_limit() -> None:
    blanks = b" " * limits.LENIENT_BODY_BYTES_MAX
    assert tolerant.loads(b'{"a": 1}' + blanks) == {"a": 1}
    with pytest.raises(BadRequest, match=r"Invalid character\. Over 1 MiB, a body must be strict"):
        tolerant.loads(b"['a']" + blanks)


def test_line_ends_between_tokens_are_dropped() -> None:
    assert tolerant.on_one_line(b'{"a": [1,\r\n 2]}') == b'{"a":[1,2]}'
    assert tolerant.on_one_line(b'{"a": "\\n" }') == b'{"a": "\\n" }'


def test_a_line_end_inside_a_string_is_no_json() -> None:
    with pytest.raises(ValueError, match="invalid character"):
        tolerant.on_one_line(b'{"a": "x\ny"}')


@given(JSON_VALUES)
def test_strict_json_is_read_as_it_is(value: object) -> None:
    assert tolerant.loads(msgspec.json.encode(value)) == value


@given(JSON_VALUES)
def test_the_lenient_reader_agrees_with_the_strict_one(value: object) -> None:
    assert tolerant._loads_leniently(msgspec.json.encode(value)) == value


@given(st.text())
def test_any_text_survives_single_quotes(text: str) -> None:
    quoted = msgspec.json.encode(text).decode()[1:-1].replace('\\"', '"').replace("'", "\\'")
    assert tolerant.loads(f"['{quoted}',]".encode()) == [text]


@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [b"{", b"}", b"[", b"]", b",", b":", b"'", b'"', b"\\", b"a", b"1", b"//", b"#", b"\n"]
        ),
        max_size=40,
    ).map(b"".join)
)
def test_any_bytes_are_json_or_a_bad_request(body: bytes) -> None:
    with suppress(BadRequest):
        value = tolerant.loads(body)
        assert tolerant.loads(msgspec.json.encode(value)) == value
