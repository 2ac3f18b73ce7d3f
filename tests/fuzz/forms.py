"""Forms of answers for the embedded model: whatever is asked of it must come, or be refused.

A grammar that the engine's library does not understand ends the engine's process, and one that it
understands otherwise makes answers that do not fit: neither may happen.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import msgspec

from nightrate.domain.fitting import fits
from nightrate.domain.generation import FinishReason, Reply
from nightrate.domain.schema import JSONForm
from nightrate.engines.base import Engine
from nightrate.engines.openvino import OpenVINOEngine, OpenVINOOptions
from nightrate.errors import BadRequest, Code, NotSupported, RequestFailed
from nightrate.testing.engine_wishes import formed
from tests.engines.forms import form_of

TOKENS = 24
"""Enough for many answers to come to their end."""

AT_ONCE = 8

ENDS = ("fits", "cut", "beyond a count", "refused by its reader", "refused by the engine")

_ONE_OF = [
    *(
        "a-f",
        "A-Z",
        "0-9",
        " ",
        "\\-",
        "é-ü",
        "一-龥",
        "\\d",
        "\\w",
        "\\s",
        '"',
        "\\\\",
        "\\]",
        "\\^",
    ),
    *("!-/", "&-a", "\\u0080-\\u00ff", "🙂-🙏", "\x7f", "ﬀ-ﬆ", "\\u2028", "`"),
]
_ALONE = [
    *("a", "Z", "0", " ", "-", "_", "\\.", "\\\\", '"', "'", "é", "中", "🙂", "\\d", "\\w", "\\s"),
    *("\\D", "\\W", "\\S", ".", "\\n", "\\t", "/", "\\[", "\\]", "\\^", "#", "\x7f", "[^]"),
]
_TIMES = ["*", "+", "?", "{2}", "{1,3}", "{2,}", "{0}", "{0,2}", "{90}", "{3,200}"]
_NAMES = ["a", "b_c", "dE", 'f"\\', "é\n", "^", "x-y", " ", "🙂", "\u2028"]
_VALUES = ["x", 'y"\\\n', 3, 1.5, None, False, "é\u2028", "^", "[a]", "\x7f", -0.25, 10**14]
_FORMATS = ["date", "time", "date-time", "uuid", "email", "ipv4", "uri"]


def pattern(chance: random.Random, depth: int = 3) -> str:
    """Make a pattern."""
    kind = chance.random()
    if depth == 0 or kind < 0.35:
        if chance.random() < 0.5:
            return chance.choice(_ALONE)
        inner = "".join(chance.choices(_ONE_OF, k=chance.randint(1, 4)))
        return f"[{chance.choice(['', '', '^'])}{inner}]"
    parts = [pattern(chance, depth - 1) for _ in range(chance.randint(1, 3))]
    if kind < 0.6:
        return "".join(parts)
    if kind < 0.75:
        return f"({'|'.join(parts)})"
    return f"({parts[0]}){chance.choice(_TIMES)}"


def tree(chance: random.Random, depth: int = 3) -> dict[str, Any]:
    """Make a JSON Schema."""
    makers = [_text, _number, _plain] + ([_list, _object, _any_of] if depth else [])
    return chance.choice(makers)(chance, depth)


def _counts(chance: random.Random, least: str, most: str, sizes: list[int]) -> dict[str, int]:
    low, high = sorted(chance.choices(sizes, k=2))
    return {name: count for name, count in ((least, low), (most, high)) if chance.random() < 0.4}


def _text(chance: random.Random, _depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "string"}
    found |= _counts(chance, "minLength", "maxLength", [0, 1, 3, 9, 30, 120, 121, 500])
    if chance.random() < 0.7:
        found["pattern"] = pattern(chance)
    elif chance.random() < 0.5:
        found["format"] = chance.choice(_FORMATS)
    return found


def _number(chance: random.Random, _depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": chance.choice(["integer", "number"])}
    low, high = sorted(chance.choice([-1, 1]) * chance.choice([0, 0.5, 7, 99, 1e6]) for _ in "12")
    if chance.random() < 0.5:
        found[chance.choice(["minimum", "exclusiveMinimum"])] = low
    if chance.random() < 0.5:
        found[chance.choice(["maximum", "exclusiveMaximum"])] = high + 3
    return found


def _plain(chance: random.Random, _depth: int) -> dict[str, Any]:
    return chance.choice(
        [
            {"type": chance.choice(["null", "boolean"])},
            {"enum": chance.sample(_VALUES, k=chance.randint(1, 5))},
            {"type": ["string", "null"], "maxLength": 9},
            {},
        ]
    )


def _list(chance: random.Random, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "array", "items": tree(chance, depth - 1)}
    found |= _counts(chance, "minItems", "maxItems", [0, 1, 2, 5, 1_000, 1_001])
    if chance.random() < 0.3:
        found["prefixItems"] = [tree(chance, depth - 1) for _ in range(chance.randint(1, 3))]
    return found


def _object(chance: random.Random, depth: int) -> dict[str, Any]:
    if chance.random() < 0.2:
        others = tree(chance, depth - 1)
        counts = _counts(chance, "minProperties", "maxProperties", [0, 1, 2, 1_001])
        return {"type": "object", "additionalProperties": others, **counts}
    names = chance.sample(_NAMES, k=chance.randint(0, 4))
    return {
        "type": "object",
        "properties": {name: tree(chance, depth - 1) for name in names},
        "required": [name for name in names if chance.random() < 0.7],
    }


def _any_of(chance: random.Random, depth: int) -> dict[str, Any]:
    return {"anyOf": [tree(chance, depth - 1) for _ in range(chance.randint(1, 3))]}


async def run(engine: Engine, count: int, seed: int) -> Counter[str]:
    """Ask for answers of so many forms.

    Returns:
        how many came whole, were cut at the limit, went beyond counts that are looked at
        afterwards, or were refused, and where.

    Raises:
        AssertionError: an answer does not have the form that the grammar should have kept, or the
            engine gave up on one.
        ExceptionGroup: of `EngineDown`: the engine's process ended.
    """
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    trees = (tree(chance) for _ in range(count))

    async def one_after_the_other() -> None:
        for wanted in trees:
            ends[await _end(engine, wanted)] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other())
    assert ends.keys() <= set(ENDS), ends
    return ends


async def ask_the_model(count: int, seed: int) -> Counter[str]:
    """Open the embedded engine, and `run`."""
    engine = OpenVINOEngine(OpenVINOOptions())
    await engine.open()
    try:
        return await run(engine, count, seed)
    finally:
        await engine.close()


async def _end(engine: Engine, wanted: dict[str, Any]) -> str:
    try:
        form = form_of(wanted)
    except (BadRequest, NotSupported):
        return "refused by its reader"
    try:
        reply = await engine.generate(formed("Go.", form, max_output_tokens=TOKENS))
    except RequestFailed as failure:
        # Any other code would say that it gave up.
        return "refused by the engine" if failure.code is Code.UNIMPLEMENTED else failure.message
    return _judged(reply, form, wanted)


def _judged(reply: Reply, form: JSONForm, wanted: dict[str, Any]) -> str:
    candidate = reply.candidates[0]
    if candidate.finish_reason is not FinishReason.STOP:
        return "cut"
    if fits(msgspec.json.decode(candidate.text), form.schema):
        return "fits"
    assert form.schema.loose, (wanted, candidate.text)
    return "beyond a count"
