"""Grammars that spell the answers of a form, compactly: no white space, members in their order.

A JSON Schema given to a library lets white space in anywhere, and small models fill their whole
budget with it. What is written here is EBNF that both xgrammar and llama.cpp read: the names of
rules are letters and digits. Such a grammar may
spell less than the form allows: a number has its digits bounded, an object has the members that are
listed, in their order, and a text has no escapes but the short ones. It spells more only where a
form is loose (`Schema.loose`): counts and patterns that would take long to compile are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from msgspec import json

from nightrate import limits
from nightrate.domain.calling import CallMode, form_of_calls
from nightrate.domain.generation import Prompt
from nightrate.domain.pattern import Pattern
from nightrate.domain.schema import (
    ROOT,
    AnyValue,
    Array,
    Boolean,
    Choice,
    ChoiceForm,
    Form,
    Node,
    Null,
    Number,
    Object,
    Reference,
    Schema,
    String,
    StringFormat,
    Union,
    parts_of,
)
from nightrate.engines.number_ranges import INTEGER, NUMBER, grammar_of_number
from nightrate.engines.pattern_grammars import Effort, Unspellable, effort_of, grammar_of_pattern
from nightrate.errors import Code, RequestFailed

_CHARACTER = r'[^"\\\x00-\x1f] | "\\" ["\\/bfnrt]'

_YEAR_TO_DAY = '[12] [0-9]{3} "-" monthday'
_CLOCK = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9]'
_ZONE = '("Z" | [+-] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])'
_OCTET = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9] [0-9] | [1-9] [0-9] | [0-9])'
_HEX = "[0-9a-f]"
_LABEL = "[a-z0-9] ([a-z0-9-]{0,30} [a-z0-9])?"
_FORMATS = {
    StringFormat.DATE: _YEAR_TO_DAY,
    StringFormat.TIME: f'{_CLOCK} ("." [0-9]{{1,6}})? {_ZONE}',
    StringFormat.DATE_TIME: f'{_YEAR_TO_DAY} "T" {_CLOCK} ("." [0-9]{{1,6}})? {_ZONE}',
    StringFormat.UUID: f'{_HEX}{{8}} ("-" {_HEX}{{4}}){{3}} "-" {_HEX}{{12}}',
    StringFormat.IPV4: f'{_OCTET} ("." {_OCTET}){{3}}',
    StringFormat.EMAIL: f'[a-z0-9] [a-z0-9_+-]{{0,30}} "@" ({_LABEL} "."){{1,3}} [a-z]{{2,8}}',
    StringFormat.URI: f'"http" "s"? "://" ({_LABEL} "."){{1,3}} [a-z]{{2,8}}'
    ' ("/" [A-Za-z0-9_.~-]{0,40}){0,8}',
}
_SHARED = {
    "string": r'"\"" character* "\""',
    "character": _CHARACTER,
    "integer": INTEGER,
    "number": NUMBER,
    "boolean": '"true" | "false"',
    "value": 'object | array | string | number | boolean | "null"',
    "object": '"{" (string ":" value ("," string ":" value)*)? "}"',
    "array": '"[" (value ("," value)*)? "]"',
    # February has 28 days here: a grammar does not know the year.
    "monthday": (
        '("01" | "03" | "05" | "07" | "08" | "10" | "12") "-"'
        ' ("0" [1-9] | [12] [0-9] | "3" [01])'
        ' | ("04" | "06" | "09" | "11") "-" ("0" [1-9] | [12] [0-9] | "30")'
        ' | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8])'
    ),
}
"""Rules that any grammar may use; the reserved names hold no digits."""

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|([a-z_]+)')


def grammar_of_prompt(prompt: Prompt) -> str | None:
    """Write the grammar of the form or the call that a prompt demands; None if it is free.

    Raises:
        RequestFailed: as `grammar_of`.
    """
    form, calling = prompt.form, prompt.calling
    if calling is not None and calling.mode is CallMode.ANY:
        form = form_of_calls(calling)
    return None if form is None else grammar_of(form)


def grammar_of(form: Form) -> str:
    """Write the grammar of the answers that have a form.

    Raises:
        RequestFailed: the form has what no grammar of a bearable size spells; by its path.
    """
    if isinstance(form, ChoiceForm):
        return "root ::= " + " | ".join(_literal(choice) for choice in form.choices)
    return _Writer(form.schema, form.field).write()


class _Writer:
    """Writes one grammar: a rule for each node that needs one, and the shared rules it uses."""

    def __init__(self, schema: Schema, field: str) -> None:
        self._schema = schema
        self._field = field
        self._rules: dict[str, str] = {}
        self._names = {name: f"d{index}" for index, name in enumerate(schema.definitions)}
        self._names[ROOT] = "root"
        self._named: dict[str, str] = {}
        self._texts: dict[tuple[int, int | None], str] = {}
        self._characters = _Budget(limits.GRAMMAR_CHARACTERS_MAX, limits.GRAMMAR_CHARACTERS_MAX)
        self._loops = _Budget(limits.GRAMMAR_LOOPS_MAX, limits.GRAMMAR_LOOPS_MAX)
        self._items = _Budget(limits.GRAMMAR_ITEMS_MAX, limits.GRAMMAR_ITEMS_TOTAL_MAX)
        self._writers: dict[type, Callable[[Any, str], str]] = {
            AnyValue: lambda _node, _at: "value",
            Null: lambda _node, _at: '"null"',
            Boolean: lambda _node, _at: "boolean",
            Array: self._array,
            Object: self._object,
            Union: self._union,
            Choice: self._choice,
            Reference: self._reference,
            String: self._string,
            Number: self._number,
        }

    def write(self) -> str:
        self._rules["root"] = ""  # stands first
        for name, node in self._schema.definitions.items():
            self._rules[self._names[name]] = self._expression(node, f".$defs.{name}")
        self._rules["root"] = self._expression(self._schema.root, "")
        self._take_shared()
        if sum(map(len, self._rules.values())) > limits.GRAMMAR_CHARACTERS_TOTAL_MAX:
            raise self._refusal("", "of so many kinds: the schema is too large for it")
        return "".join(f"{name} ::= {body}\n" for name, body in self._rules.items())

    def _take_shared(self) -> None:
        """Add the shared rules that are used, and those that they use."""
        unread = list(self._rules.values())
        while unread:
            for name in _WORD.findall(unread.pop()):
                if name in _SHARED and name not in self._rules:
                    self._rules[name] = _SHARED[name]
                    unread.append(_SHARED[name])

    def _rule(self, body: str) -> str:
        """Name an expression, so that it can be used within others; equal ones are one rule."""
        if body not in self._named:
            self._named[body] = name = f"r{len(self._rules)}"
            self._rules[name] = body
        return self._named[body]

    def _expression(self, node: Node, at: str) -> str:
        return self._writers[type(node)](node, at)

    def _union(self, node: Union, at: str) -> str:
        return " | ".join(self._part(part, at + step) for step, part in parts_of(node))

    def _choice(self, node: Choice, _at: str) -> str:
        return " | ".join(_literal(json.encode(value).decode()) for value in node.values)

    def _reference(self, node: Reference, _at: str) -> str:
        return self._names[node.name]

    def _part(self, node: Node, at: str) -> str:
        """Give an expression that can stand within others."""
        expression = self._expression(node, at)
        return expression if expression.isalnum() else self._rule(expression)

    def _array(self, node: Array, at: str) -> str:
        least, most = self._items.take(node.items_min, node.items_max)
        parts = dict(parts_of(node))
        item = self._part(parts.pop(".items"), f"{at}.items") if ".items" in parts else None
        first = [self._part(part, at + step) for step, part in parts.items()]
        first = first if most is None else first[:most]
        tail = ""
        if item is not None:
            count = max(0, least - len(first)), None if most is None else most - len(first)
            tail = _separated(item, count) if not first else _repeated(f'("," {item})', count)
        for index in range(len(first) - 1, -1, -1):  # from the end: what comes later needs this one
            comma = '","' if index else ""
            inner = _joined(comma, first[index], tail)
            tail = inner if index < least else f"({inner})?"
        return _joined('"["', tail, '"]"')

    def _object(self, node: Object, at: str) -> str:
        if node.members:
            return self._listed(node, at)
        if node.others is None:
            return '"{}"'
        # Two members may get the same name, and then they are one: the least is not kept by this.
        least, most = self._items.take(node.members_min, node.members_max)
        value = self._part(node.others, f"{at}.additionalProperties")
        pair = self._rule(f'string ":" {value}')
        inner = _separated(pair, (least, most))
        return _joined('"{"', inner, '"}"')

    def _listed(self, node: Object, at: str) -> str:
        """Write listed members in their order, the optional ones present or not.

        From the end: ``begun`` is what may follow after a member, ``fresh`` what may stand first.
        """
        fresh, begun = "", ""
        for member in reversed(node.members):
            value = self._part(member.node, f"{at}.properties.{member.name}")
            pair = f"{_literal(json.encode(member.name).decode() + ':')} {value}"
            with_it, after_it = _joined(pair, begun), _joined('","', pair, begun)
            if member.required:
                fresh, begun = with_it, after_it
                continue
            begun_without, fresh_without = begun or '""', fresh or '""'
            begun = self._rule(f"{after_it} | {begun_without}")
            fresh = self._rule(f"{with_it} | {fresh_without}")
        return f'"{{" {fresh} "}}"'

    def _string(self, node: String, at: str) -> str:
        if node.format is not None:
            return self._rule(rf'"\"" {_FORMATS[node.format]} "\""')
        if node.pattern is not None:
            return self._pattern(node.pattern, at)
        least, most = node.characters_min, node.characters_max
        if not least and most is None:
            return "string"
        if (least, most) not in self._texts:
            count = _repeated("character", self._characters.take(least, most))
            self._texts[least, most] = self._rule(_joined(r'"\""', count, r'"\""'))
        return self._texts[least, most]

    def _pattern(self, pattern: Pattern, at: str) -> str:
        try:
            for root in (pattern.root, pattern.uncounted().root):
                rule = rf'"\"" {grammar_of_pattern(root)} "\""'
                if rule in self._named or self._bears(effort_of(root)):
                    return self._rule(rule)
        except Unspellable:
            message = f"{self._field}{at}.pattern: it wants a control character."
            raise RequestFailed(message, code=Code.UNIMPLEMENTED) from None
        return "string"

    def _bears(self, effort: Effort) -> bool:
        """Take an effort out of what is left, if there is enough of both."""
        if self._loops.holds(effort.loops) and self._characters.holds(effort.characters):
            self._loops.spend(effort.loops)
            self._characters.spend(effort.characters)
            return True
        return False

    def _number(self, node: Number, at: str) -> str:
        body = grammar_of_number(node)
        if body is None:
            raise self._refusal(at, "that leave no number of up to 15 digits and 6 decimals")
        if body in (INTEGER, NUMBER):
            return "integer" if body == INTEGER else "number"
        return body

    def _refusal(self, at: str, what: str) -> RequestFailed:
        message = f"{self._field}{at}: this engine cannot keep bounds {what}."
        return RequestFailed(message, code=Code.UNIMPLEMENTED)


class _Budget:
    """How much may still be counted: what a grammar counts takes long to compile."""

    def __init__(self, each_max: int, all_max: int) -> None:
        self._each_max = each_max
        self._left = all_max

    def holds(self, count: int) -> bool:
        """Tell whether a count is not too much."""
        return count <= min(self._each_max, self._left)

    def spend(self, count: int) -> None:
        """Take a count out of it that it holds."""
        self._left -= count

    def take(self, least: int, most: int | None) -> tuple[int, int | None]:
        """Give what can be counted of two bounds: both, the least, or whether there is one."""
        if self.holds(count := max(least, most or 0)):
            self.spend(count)
            return least, most
        if self.holds(least):
            self.spend(least)
            return least, None
        return 1, None


def _joined(*pieces: str) -> str:
    return " ".join(piece for piece in pieces if piece)


def _literal(text: str) -> str:
    """Write a text that is spelled as it stands."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    shown = (one if one.isprintable() else f"\\U{ord(one):08x}" for one in escaped)
    return f'"{"".join(shown)}"'


def _repeated(piece: str, count: tuple[int, int | None]) -> str:
    least, most = count
    if most is None:
        return f"{piece}*" if not least else f"{piece}{{{least},}}"
    return f"{piece}{{{least},{most}}}" if most > 0 else ""


def _separated(piece: str, count: tuple[int, int | None]) -> str:
    """Write a list of a count of pieces with commas between."""
    least, most = count
    if most == 0:
        return ""
    rest = _repeated(f'("," {piece})', (max(0, least - 1), None if most is None else most - 1))
    inner = _joined(piece, rest)
    return inner if least else f"({inner})?"
