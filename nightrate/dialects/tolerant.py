"""JSON as Google's parser takes it.

Documents and shell snippets carry single-quoted JSON, trailing commas and comments. Strict JSON is
tried first; what it refuses is rewritten into strict JSON, one token at a time, and read again, so
that only one parser ever decides what a value is. Faults are located in what the client sent.
"""

from __future__ import annotations

import bisect
import codecs
import re
import sys
from typing import Any

from msgspec import json

from nightrate import limits
from nightrate.dialects.spelling import quoted
from nightrate.errors import BadRequest

_TOKEN = re.compile(
    r"""
      (?P<double>"[^"\\]*+(?:\\.[^"\\]*+)*+"?)
    | (?P<single>'[^'\\]*+(?:\\.[^'\\]*+)*+'?)
    | (?P<comment>(?://|\#)[^\n]*+)
    | (?P<comma>,(?=(?:\s|(?://|\#)[^\n]*+)*+[}\]]))
    """,
    re.VERBOSE | re.DOTALL,
)
"""What differs from strict JSON, and the strings that must not be looked into.

The quantifiers are possessive: no input can make them go back, so the time is linear. A string that
does not end matches up to the end of the text.
"""

_IN_SINGLE_QUOTES = re.compile(r"\\.|\"", re.DOTALL)
_BYTE = re.compile(r" \(byte (\d+)\)$")
_STEPS_NAMED = 16
"""So many names lead at most to what is nested too deep; all of them would be no help."""
_MALFORMED = re.compile(r"^JSON is malformed: ")


def loads(body: bytes) -> object:
    """Read a client's JSON body.

    Raises:
        BadRequest: it is not JSON even with leniency, or nested too deep. The message says where.
    """
    try:
        tree: object = json.decode(body)
    except (ValueError, RecursionError) as error:
        if len(body) > limits.LENIENT_BODY_BYTES_MAX:
            most = limits.LENIENT_BODY_BYTES_MAX // limits.MIB
            message = f"Invalid JSON payload received. {reason(error)}. "
            message += f"Over {most} MiB, a body must be strict JSON."
            raise BadRequest(message) from error
        tree = _loads_leniently(body.removeprefix(codecs.BOM_UTF8))
    check_depth(tree)
    return tree


def check_depth(tree: object) -> None:
    """Refuse a value that is nested deeper than `limits.JSON_DEPTH_MAX`.

    Raises:
        BadRequest: it is.
    """
    level: list[Any] = [tree] if isinstance(tree, dict | list) else []
    for _ in range(limits.JSON_DEPTH_MAX):
        if not level:
            return
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
    if level:
        raise _too_deep(_place_of_depth(tree))


def check_depth_of(body: bytes) -> None:
    """Refuse JSON that is nested too deep; almost always at the cost of counting its brackets.

    Raises:
        BadRequest: it is.
        ValueError, RecursionError: it has many brackets and is no JSON.
    """
    if body.count(b"{") + body.count(b"[") > limits.JSON_DEPTH_MAX:
        check_depth(json.decode(body))


def on_one_line(text: bytes) -> bytes:
    """Drop line ends between the tokens of JSON text that was not checked yet.

    Raises:
        ValueError, RecursionError: it has line ends and is no JSON.
    """
    if b"\n" not in text and b"\r" not in text:
        return text
    json.decode(text)  # The writer below copies strings without a look at them.
    return json.format(text, indent=-1)


def reason(error: ValueError | RecursionError) -> str:
    """Say in a few words why strict JSON was refused, without its position."""
    if isinstance(error, UnicodeDecodeError):
        return "The text is not UTF-8"
    if isinstance(error, RecursionError):
        return _too_deep().message.removesuffix(".")
    words = _MALFORMED.sub("", _BYTE.sub("", str(error))).partition(" - at ")[0]
    return words[:1].upper() + words[1:]


def position(error: ValueError | RecursionError, length: int) -> int | None:
    """Give the byte at which strict JSON was refused; None when the fault has no place."""
    if isinstance(error, UnicodeDecodeError):
        return None
    found = _BYTE.search(str(error))
    if found:
        return int(found[1])
    return length if "truncated" in str(error) else None


def _loads_leniently(body: bytes) -> object:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        before = body[: error.start].decode()
        raise _refused(reason(error), before) from error
    strict, marks = _strictly(text)
    encoded = strict.encode()
    try:
        return json.decode(encoded)
    except (ValueError, RecursionError) as error:
        byte = position(error, len(encoded))
        if byte is None:
            raise BadRequest(f"Invalid JSON payload received. {reason(error)}.") from error
        offset = _original(len(encoded[:byte].decode(errors="ignore")), marks)
        raise _refused(reason(error), text[:offset]) from error


def _strictly(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Rewrite lenient JSON as strict JSON.

    Returns:
        the text, and pairs of offsets (rewritten, original) right behind each rewritten token.
    """
    pieces: list[str] = []
    marks = [(0, 0)]
    written = copied = 0
    for token in _TOKEN.finditer(text):
        instead = _rewritten(token)
        if instead is None:
            continue
        start, end = token.span()
        pieces += (text[copied:start], instead)
        written += start - copied + len(instead)
        copied = end
        marks.append((written, end))
    pieces.append(text[copied:])
    return "".join(pieces), marks


def _rewritten(token: re.Match[str]) -> str | None:
    """Give the strict form of a token, or None when it can stay (or never ends)."""
    if token.lastgroup == "double":
        return None
    if token.lastgroup == "single":
        text = token[0]
        ends = len(text) > 1 and text.endswith("'")
        return f'"{_IN_SINGLE_QUOTES.sub(_escaped, text[1:-1])}"' if ends else None
    return ""


def _escaped(found: re.Match[str]) -> str:
    if found[0] == '"':
        return '\\"'
    return "'" if found[0] == "\\'" else found[0]


def _original(offset: int, marks: list[tuple[int, int]]) -> int:
    rewritten, original = marks[bisect.bisect_right(marks, (offset, sys.maxsize)) - 1]
    return original + offset - rewritten


def _refused(why: str, before: str) -> BadRequest:
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    return BadRequest(f"Invalid JSON payload received. {why}: line {line} column {column}.")


def _too_deep(field: str = "") -> BadRequest:
    why = f"JSON is nested deeper than {limits.JSON_DEPTH_MAX} levels."
    return BadRequest(f"{field}: {why}" if field else why, field=field or None)


def _place_of_depth(tree: object) -> str:
    """Follow the names down to what is nested too deep, up to where they begin to repeat."""
    steps: list[str] = []
    while len(steps) < _STEPS_NAMED:
        # Of all that stands here, something is as deep as the rest of the way is long.
        step, tree = max(_inside(tree), key=lambda found: _depth(found[1]))
        if not step.startswith("[") and step in steps:
            break
        if step.startswith("[") and (not steps or steps[-1].startswith("[")):
            break
        steps.append(step)
    return "".join(steps).removeprefix(".")


def _inside(tree: object) -> list[tuple[str, object]]:
    if isinstance(tree, dict):
        return [(f".{quoted(name)}", inner) for name, inner in tree.items()]
    assert isinstance(tree, list), "the way goes on behind every step that is named"
    return [(f"[{index}]", inner) for index, inner in enumerate(tree)]


def _depth(tree: object) -> int:
    """Count the levels of a value, up to one more than are allowed."""
    level, depth = [tree], 0
    while level and depth <= limits.JSON_DEPTH_MAX:
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        depth += 1
    return depth
