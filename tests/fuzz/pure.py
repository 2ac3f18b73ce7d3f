"""Bytes for the readers that need no server: lines, rows and lenient JSON."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import msgspec

from nightrate.dialects import tolerant
from nightrate.dialects.gemini_lines import parse_line, parse_line_in_full
from nightrate.dialects.gemini_results import render_line
from nightrate.dialects.lines import LineSplitter, RawLine
from nightrate.domain.batch import BatchForm
from nightrate.domain.generation import Failure
from nightrate.errors import BadRequest, Code
from tests.fuzz.variants import TOKENS

_SEEDS = [
    b'{"key":"a","request":{"contents":[{"parts":[{"text":"hi"}]}]}}',
    b'{"contents":[{"role":"user","parts":[{"text":"a"},{"text":"\xc3\xa9"}]}],"model":"models/m"}',
    b'{"request":{"contents":"x","generationConfig":{"temperature":0.5}},"metadata":{"key":"k"}}',
    b"{'batch': {'display_name': 'it\\'s', 'input_config': {'file_name': 'files/a'}},} # end",
    b'[1, -2.5e3, true, null, "\\ud83d\\ude00\\n", {"a": [{}, []]}] // x',
    b'{"key":{"a":[1]},"request":{"system_instruction":{"parts":{"text":"s"}},"contents":[]}}',
]
_GLUE = [b"\n", b"\r\n", b"\n\n", b" \n", b"\r", b"\x0b", b"\x85", b"\xe2\x80\xa8\n", b""]
_LIMIT_BYTES = 64


def damaged(chance: random.Random) -> bytes:
    """Make a text that is nearly one that somebody would send."""
    text = bytearray(chance.choice(_SEEDS))
    for _ in range(chance.randint(0, 3)):
        place = chance.randrange(len(text) + 1)
        match chance.randrange(5):
            case 0:
                text[place:place] = chance.choice(TOKENS)
            case 1:
                del text[place : place + chance.randint(1, 9)]
            case 2 if place < len(text):
                text[place] = chance.randrange(256)
            case 3:
                other = chance.choice(_SEEDS)
                text[place:place] = other[chance.randrange(len(other)) :]
            case _:
                text[place:place] = text[: chance.randint(0, 20)]
    return bytes(text)


def cut_lines(chance: random.Random) -> str:
    """Cut bytes into lines, in blocks of any size: the cuts must not matter."""
    source = b"".join(
        chance.choice((damaged, lambda c: c.randbytes(c.randint(0, 90))))(chance)
        + chance.choice(_GLUE)
        for _ in range(chance.randint(0, 6))
    )
    whole = _split([source])
    ends = sorted(chance.choices(range(len(source) + 1), k=chance.randint(0, 8)))
    blocks = [source[a:b] for a, b in zip([0, *ends], [*ends, len(source)], strict=True)]
    assert _split(blocks) == whole, (source, ends)
    last = 0
    for line in whole:
        assert line.offset >= last, (source, line)
        last = line.offset + line.length
        if line.data is not None:
            assert line.data in source[line.offset : last], (source, line)
            assert b"\n" not in line.data
            assert line.data.strip()
    assert last <= len(source)
    return f"{min(len(whole), 3)} lines"


def _split(blocks: list[bytes]) -> list[RawLine]:
    splitter = LineSplitter(limit=_LIMIT_BYTES)
    return [line for block in blocks for line in splitter.feed(block)] + splitter.finish()


def read_row(chance: random.Random) -> str:
    """Read a row: it becomes a prompt or a failure, and either is answered by one line of JSON.

    The short way that plain rows go must not matter.
    """
    form = chance.choice(list(BatchForm))
    row = damaged(chance)
    parsed = parse_line(row, 7, form, "m")
    assert parsed == parse_line_in_full(row, 7, form, "m"), row
    failed = isinstance(parsed.prompt, Failure)
    why = parsed.prompt if isinstance(parsed.prompt, Failure) else Failure(Code.INTERNAL, "no")
    output = render_line(parsed.echo, why, form, "id")
    assert output.isascii(), row
    assert b"\n" not in output, row
    assert msgspec.json.decode(output)["error"]["message"] == why.message, row
    return "refused" if failed else "taken"


def read_leniently(chance: random.Random) -> str:
    """Read a body: what is strict JSON is read as such, and whatever is not, is so or refused."""
    body = damaged(chance)
    try:
        strict = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        strict = ...
    found, refusal = _leniently(body)
    if refusal is not None:
        assert strict is ... or "nested" in refusal.message, body
        return "refused"
    assert strict is ... or found == strict, body
    return "strict" if strict is not ... else "lenient"


READERS: dict[str, Callable[[random.Random], str]] = {
    "lines": cut_lines,
    "rows": read_row,
    "lenient JSON": read_leniently,
}


def _leniently(body: bytes) -> tuple[object, BadRequest | None]:
    try:
        return tolerant.loads(body), None
    except BadRequest as refusal:
        return None, refusal


def run(name: str, count: int, seed: int) -> Counter[str]:
    """Put so many texts through a reader; gives how many ended in which way."""
    chance = random.Random(seed)
    return Counter(READERS[name](chance) for _ in range(count))
