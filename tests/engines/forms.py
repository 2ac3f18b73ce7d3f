"""Random schemas, grammars as regular expressions, and a judge of answers that is not ours."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import msgspec
from hypothesis import strategies as st

from nightrate.dialects.json_schema import read_schema
from nightrate.domain.schema import JSONForm

FIELD = "field"

_TOKEN = re.compile(
    r'"((?:[^"\\]|\\.)*)"|(\[(?:[^\]\\]|\\.)*\])|([A-Za-z_]\w*)|([()|*+?]|\{[\d,]+\})|\s+'
)
_ESCAPE = re.compile(r"\\(U[0-9a-f]{8}|.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def form_of(tree: object) -> JSONForm:
    """Read a JSON Schema into a form."""
    return JSONForm(read_schema(tree), FIELD)


def fits(text: str, tree: Any) -> bool:
    """Ask the judge whether a text is JSON that follows a JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(tree)
    validator = jsonschema.Draft202012Validator(
        tree, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    return bool(validator.is_valid(msgspec.json.decode(text)))


def regex_of(grammar: str) -> str:
    """Turn a grammar without recursion into a regular expression."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())
    return _expanded(rules, "root")


def _expanded(rules: dict[str, str], name: str) -> str:
    pieces = []
    at = 0
    body = rules[name]
    while at < len(body):
        found = _TOKEN.match(body, at)
        assert found, f"cannot be read: {body[at:]}"
        literal, one_of, rule, operator = found.groups()
        if literal is not None:
            pieces.append(f"(?:{re.escape(_ESCAPE.sub(_unescaped, literal))})")
        elif rule:
            pieces.append(_expanded(rules, rule))
        else:
            pieces.append(one_of or operator or "")
        at = found.end()
    return f"(?:{''.join(pieces)})"


def _unescaped(found: re.Match[str]) -> str:
    what = found[1]
    return chr(int(what[1:], 16)) if len(what) > 1 else _ESCAPES.get(what, what)


_bound = st.integers(-1200, 1200) | st.integers(-4000, 4000).map(lambda number: number / 100)
_nothing: st.SearchStrategy[Any] = st.just(value=False)
_names = st.sampled_from(["a", "b_c", "dE", 'f"\\', "é\n"])
_described: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"title": "T"}, {"description": "d"}]
)


@st.composite
def _numbers(draw: st.DrawFn) -> dict[str, Any]:
    tree: dict[str, Any] = {"type": draw(st.sampled_from(["integer", "number"]))}
    low, high = sorted([draw(_bound), draw(_bound)])
    if draw(st.booleans()):
        tree[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        tree[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = high + 2
    return tree


@st.composite
def _strings(draw: st.DrawFn) -> dict[str, Any]:
    tree: dict[str, Any] = {"type": "string"}
    if draw(st.booleans()):
        tree["minLength"] = draw(st.integers(0, 6))
    if draw(st.booleans()):
        tree["maxLength"] = tree.get("minLength", 0) + draw(st.integers(0, 6))
    return tree


_plain: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"type": "null"},
        {"type": "boolean"},
        {"type": ["string", "null"]},
        {"enum": ["x", 'y"\\\n', 3, 1.5, None, False]},
        {"const": "é\u2028"},
        {"type": "string", "pattern": "^[A-Z]{2}-\\d{4}$"},
        {"type": "string", "pattern": '^(?:a|"[a-c]*")$'},
        {"type": "string", "pattern": "^[ -`é-ř]{0,3}$"},
        {"type": "string", "pattern": "^(é+|\\t)?\\\\$"},
        *({"type": "string", "format": name} for name in ("date", "time", "date-time", "uuid")),
        *({"type": "string", "format": name} for name in ("email", "ipv4", "uri")),
    ]
)


@st.composite
def _arrays(draw: st.DrawFn, items: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    tree: dict[str, Any] = {"type": "array", "items": draw(items | _nothing)}
    first = draw(st.lists(items, max_size=2))
    if first:
        tree["prefixItems"] = first
    most = len(first) if tree["items"] is False else 4
    if draw(st.booleans()):
        tree["minItems"] = draw(st.integers(0, most))
    if draw(st.booleans()):
        tree["maxItems"] = tree.get("minItems", 0) + draw(st.integers(0, 3))
    return tree


@st.composite
def _objects(draw: st.DrawFn, values: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    if draw(st.integers(0, 4)) == 0:
        return {"type": "object", "additionalProperties": draw(values), "minProperties": 1}
    table = draw(st.dictionaries(_names, values, max_size=4))
    required = [name for name in table if draw(st.booleans())]
    order = draw(st.permutations(list(table)))
    return {
        "type": "object",
        "properties": table,
        "required": required,
        "propertyOrdering": order,
        "additionalProperties": False,
    }


schemas = st.recursive(
    _plain | _numbers() | _strings(),
    lambda inner: (
        _arrays(inner)
        | _objects(inner)
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts})
    ),
    max_leaves=5,
).flatmap(lambda tree: _described.map(lambda extra: {**tree, **extra}))
"""JSON Schemas without references, each satisfiable."""
