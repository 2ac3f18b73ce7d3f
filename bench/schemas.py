"""What it costs to hold answers to a JSON Schema, and how well they are held.

* cost: the embedded engine with 8 prompts in flight, in turns free and held to a schema whose
  answer is longer than the output limit, so that both make as many tokens. The free ones are told
  of the schema too: what they read is the same.
* keeping: a hundred requests with ten schemas of daily use, of which every answer that was not cut
  by its limit must be JSON that follows its schema, by the judgement of another library.

Run with ``python -m bench.schemas``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import uvloop
from msgspec import Struct, structs

from bench.batch import print_speeds, ratio
from bench.engine import ROUNDS, Figures, prompts, run_engine
from bench.passes import tell
from nightrate.dialects.json_schema import read_schema
from nightrate.domain.generation import Candidate, FinishReason, Message, Prompt, Sampling
from nightrate.domain.schema import JSONForm
from nightrate.engines.instructions import instruction_of
from nightrate.engines.openvino import OpenVINOEngine, OpenVINOOptions

CONCURRENCY = 8
REQUESTS = 64
KEPT_REQUESTS = 100
KEPT_TOKENS = 256
COST_MAX = 0.15
KEPT_MIN = 0.99


def _object(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members)}


_TEXT = {"type": "string", "maxLength": 60}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 1000}
_THING = _object(name=_TEXT, count=_COUNT, kind={"enum": ["tool", "food", "toy"]})
LONG = {"type": "array", "items": _THING, "minItems": 60}
"""No answer of a benchmark comes to its end."""

DAILY: list[tuple[str, Any]] = [
    ("Is the text friendly?", {"type": "boolean"}),
    ("Rate the text.", _object(score={"type": "integer", "minimum": 1, "maximum": 5})),
    ("Classify the text.", {"type": "string", "enum": ["praise", "complaint", "question"]}),
    ("Name a thing for sale.", _THING),
    ("List three colours.", {"type": "array", "items": _TEXT, "minItems": 3, "maxItems": 3}),
    ("Who wrote it?", _object(author={"anyOf": [_TEXT, {"type": "null"}]}, year=_COUNT)),
    ("Where is it?", _object(place=_object(town=_TEXT, country=_TEXT))),
    ("Name a price.", {"type": "number", "minimum": 0.5, "maximum": 99.75}),
    ("Give a day.", _object(day={"type": "string", "format": "date"}, open={"type": "boolean"})),
    ("Mark words.", {"type": "array", "maxItems": 4, "items": _object(word=_TEXT, noun=_COUNT)}),
]


class Kept(Struct):
    """Answers that came to their end, and how many of these follow their schema."""

    ended: int = 0
    followed: int = 0


def _form(tree: Any) -> JSONForm:
    return JSONForm(read_schema(tree), "schema")


def _held(asked: Iterator[Prompt], *, held: bool) -> Iterator[Prompt]:
    form = _form(LONG)
    for prompt in asked:
        if held:
            yield structs.replace(prompt, form=form)
        else:
            yield structs.replace(prompt, system=instruction_of(form))


async def measure_cost(requests: int, rounds: int) -> dict[str, list[Figures]]:
    """Measure free and held answers in turns."""
    found: dict[str, list[Figures]] = {"free": [], "held": []}
    engine = OpenVINOEngine(OpenVINOOptions(requests=CONCURRENCY, ignore_eos=True))
    await engine.open()
    try:
        firsts = itertools.count(0, 1_000_000)
        for number in range(rounds + 1):
            for name, passes in found.items():
                # Different prompts in every pass: none is answered from another one's cache.
                asked = itertools.islice(prompts(next(firsts), "fast"), requests)
                held = _held(asked, held=name == "held")
                passes.append(await run_engine(engine, held, CONCURRENCY))
                tell(number, rounds + 1, name, passes[-1].speed)
    finally:
        await engine.close()
    return {name: passes[1:] for name, passes in found.items()}  # The first compiled the grammar.


async def measure_kept(requests: int) -> Kept:
    """Ask for answers of many forms at once, and have them judged."""
    kept = Kept()
    engine = OpenVINOEngine(OpenVINOOptions(requests=32))
    await engine.open()

    async def ask(number: int) -> None:
        question, tree = DAILY[number % len(DAILY)]
        text = f"{question} The text: number {number} came late but tasted well."
        sampling = Sampling(max_output_tokens=KEPT_TOKENS, temperature=1.0)
        prompt = Prompt(messages=(Message("user", text),), sampling=sampling, form=_form(tree))
        (candidate,) = (await engine.generate(prompt)).candidates
        if candidate.finish_reason is FinishReason.STOP:
            kept.ended += 1
            kept.followed += _follows(candidate, tree)

    try:
        await asyncio.gather(*map(ask, range(requests)))
    finally:
        await engine.close()
    return kept


def _follows(candidate: Candidate, tree: Any) -> bool:
    try:
        value = msgspec.json.decode(candidate.text)
    except msgspec.DecodeError:
        return False
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return bool(jsonschema.Draft202012Validator(tree, format_checker=checker).is_valid(value))


def report(requests: int, rounds: int) -> None:
    """Measure and print."""
    found = uvloop.run(measure_cost(requests, rounds))
    print(f"Schemas: {requests} requests, {CONCURRENCY} at once; {rounds} rounds, in turns")
    print_speeds(found)
    print(f"  cost {1 - ratio(found, 'held', 'free'):.0%}   (wanted: at most {COST_MAX:.0%})")
    kept = uvloop.run(measure_kept(KEPT_REQUESTS))
    print(
        f"  {kept.followed} of {kept.ended} answers follow their schema;"
        f" {KEPT_REQUESTS - kept.ended} of {KEPT_REQUESTS} were cut"
        f"   (wanted: at least {KEPT_MIN:.0%})"
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    wanted = parser.parse_args()
    report(wanted.requests, wanted.rounds)


if __name__ == "__main__":
    main()
