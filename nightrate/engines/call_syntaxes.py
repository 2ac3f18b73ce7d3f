"""How models that were trained to call functions write calls: found from their template, and read.

A chat template tells its model how a call is written, and writes earlier calls so. Only where that
is one of the syntaxes here, answers are looked through for calls: a guess would take words for a
call, or a call for words.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Final

import msgspec
from msgspec import Raw, Struct, json

from nightrate.domain.calling import Call
from nightrate.engines.certainty import certain

_TOOLS: Final = re.compile(r"\btools\b")
_OTHER_TAGS: Final = re.compile(r"<function=|<arg_key>|<parameter")
"""In templates of models that write calls in tags alike, but not in JSON between them."""
_LLAMA: Final = re.compile(r'"parameters": dictionary|<\|python_tag\|>')

_THOUGHT_ENDS: Final = "</think>"

_PARTS: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[][{}]', re.DOTALL)
"""What the end of a JSON value is found by: whole strings, and brackets outside of them. The
quantifiers are possessive, so that no text takes long."""


_SPACE: Final = re.compile(r"\s++")


class Written(Struct, frozen=True):
    """What was read from the text of an answer."""

    text: str
    """Its words: those before the calls, between them and behind them."""
    calls: tuple[Call, ...] = ()
    whole: bool = True
    """Whether all that begins like a call is written like one; otherwise there are no calls."""


class _Called(Struct):
    name: str = ""
    function: str = ""
    arguments: Raw = Raw()
    parameters: Raw = Raw()


_NO_ARGUMENTS: Final = b"{}"
_CALLED: Final = json.Decoder(_Called)
_SEVERAL_CALLED: Final = json.Decoder(list[_Called])


class _Malformed(Exception):
    """What begins like a call is none."""


class CallSyntax(ABC):
    """A way to write calls.

    Args:
        template: of the model that writes so.
    """

    openings: tuple[str, ...]
    """What begins a call, where words can stand before it."""
    markers: tuple[str, ...]
    """Words that must stand in a text for it to be read, though they may be control words, which
    are left out of an answer otherwise."""

    def __init__(self, template: str) -> None:
        self._thinks = _THOUGHT_ENDS in template
        self.tells_calls = "tool_calls" in template
        """Whether the template also tells calls and results of earlier turns."""

    def read(self, text: str) -> Written:
        """Read an answer that has come to its end."""
        begin = self._begin(text, self._behind_thoughts(text))
        if begin is None:
            return Written(text)
        before = text[:begin].rstrip()
        calls: list[Call] = []
        try:
            words = self._read_calls(text, begin, calls)
        except (_Malformed, msgspec.DecodeError, UnicodeError, RecursionError):
            return Written(before, whole=False)
        said = "\n".join(part for part in (before, *map(str.strip, words)) if part)
        return Written(said, tuple(calls))

    def words_of_cut(self, text: str) -> str:
        """Give the words of an answer that was cut: without calls, and what may begin one.

        However the answer goes on, its words begin with these, but for white space at their end.
        """
        behind = self._behind_thoughts(text)
        begin = self._begin_if_cut(text, behind)
        return text if begin is None else text[:begin].rstrip()

    def _behind_thoughts(self, text: str) -> int:
        """Give where a model that thinks begins to answer: it may think of calls as well."""
        end = text.find(_THOUGHT_ENDS) if self._thinks else -1
        return end + len(_THOUGHT_ENDS) if end >= 0 else 0

    def _begin(self, text: str, behind: int) -> int | None:
        """Give where the first call begins; None where there is none."""
        found = [at for opening in self.openings if (at := text.find(opening, behind)) >= 0]
        return min(found, default=None)

    def _begin_if_cut(self, text: str, behind: int) -> int | None:
        """Give where the first call begins, or may begin in a text that was cut."""
        begin = self._begin(text, behind)
        said = text[behind:].rstrip()
        sure = certain(said, self.openings)
        return behind + len(sure) if begin is None and len(sure) < len(said) else begin

    @abstractmethod
    def _read_calls(self, text: str, at: int, calls: list[Call]) -> list[str]:
        """Gather the calls that begin at a place; give the words between and behind them.

        Raises:
            _Malformed: one of them is none.
            msgspec.DecodeError: likewise.
        """


class _Tagged(CallSyntax):
    """Each call in tags, as Hermes and Qwen write it: ``<tool_call>{...}</tool_call>``."""

    _END: Final = "</tool_call>"
    openings = ("<tool_call>",)
    markers = (*openings, _END)

    def _read_calls(self, text: str, at: int, calls: list[Call]) -> list[str]:
        (opening,) = self.openings
        words = []
        while at >= 0:
            at = _skip(text, at + len(opening))
            end = _end_of_value(text, at)
            calls.append(_call(_CALLED.decode(text[at:end])))
            end = _skip(text, end)
            if text.startswith(self._END, end):
                end += len(self._END)
            elif end < len(text) and not text.startswith(opening, end):
                raise _Malformed  # The last tag may be missing: some models end before it.
            at = text.find(opening, end)
            words.append(text[end:at] if at >= 0 else text[end:])
        return words


class _Bare(CallSyntax):
    """The whole answer is a call, as Llama writes it, or several, with semicolons between."""

    openings = ("<|python_tag|>",)
    markers = openings

    _BEGINS: Final = re.compile(
        r'\s*+\{\s*+(?:"type"\s*+:\s*+"function"\s*+,\s*+)?"(?:name|function)"\s*+:\s*+"[^"]*+"'
        r'\s*+,\s*+"(?:parameters|arguments)"\s*+:'
    )
    _NAMED: Final = re.compile(r'\{(?:"type":"function",)?"(?:name|function)":"[^"]*+",')
    _HEADS: Final = '{"name":', '{"type":"function","', '{"function":'
    _MEMBERS: Final = '"parameters":', '"arguments":'

    def _begin(self, text: str, behind: int) -> int | None:
        return behind if self._BEGINS.match(text, behind) else super()._begin(text, behind)

    def _begin_if_cut(self, text: str, behind: int) -> int | None:
        said = "".join(text[behind:].split())
        named = self._NAMED.match(said)
        rest, heads = (said[named.end() :], self._MEMBERS) if named else (said, self._HEADS)
        if said and any(head.startswith(rest) or rest.startswith(head) for head in heads):
            return behind
        return super()._begin_if_cut(text, behind)

    def _read_calls(self, text: str, at: int, calls: list[Call]) -> list[str]:
        (opening,) = self.openings
        while True:
            if text.startswith(opening, at):
                at += len(opening)
            at = _skip(text, at)
            end = _end_of_value(text, at)
            calls.append(_call(_CALLED.decode(text[at:end])))
            at = _skip(text, end)
            if text.startswith(";", at):
                at = _skip(text, at + 1)
            if not text.startswith(("{", opening), at):
                return [text[at:]]


class _Listed(CallSyntax):
    """Behind a control word, as Mistral writes it: a list of calls, or each with its name first."""

    openings = ("[TOOL_CALLS]",)
    markers = (*openings, "[CALL_ID]", "[ARGS]")

    _NAME: Final = re.compile(r"([\w.:-]++)\s*+(?:\[CALL_ID\]\s*+\w*+\s*+)?(?:\[ARGS\])?\s*+(?=\{)")

    def _read_calls(self, text: str, at: int, calls: list[Call]) -> list[str]:
        (opening,) = self.openings
        words = []
        while at >= 0:
            at = _skip(text, at + len(opening))
            named = self._NAME.match(text, at)
            at = named.end() if named else at
            end = _end_of_value(text, at)
            value = text[at:end]
            if named:
                calls.append(Call(named[1], value))
            elif value.startswith("["):
                calls += map(_call, _SEVERAL_CALLED.decode(value))
            else:
                calls.append(_call(_CALLED.decode(value)))
            at = text.find(opening, end)
            words.append(text[end:at] if at >= 0 else text[end:])
        return words


def syntax_of(template: str, remedy: str = "Set `functions = false`") -> CallSyntax:
    """Find out from its chat template how a model writes calls.

    Args:
        template: a text in Jinja.
        remedy: what the user is told to do where that fails.

    Raises:
        RuntimeError: it was not trained to call functions, or calls them in a way not known here.
    """
    if _TOOLS.search(template) is None:
        raise RuntimeError(
            "its chat template does not look for `tools`, so the model was not trained to call "
            f"functions. {remedy}"
        )
    if "[TOOL_CALLS]" in template:
        return _Listed(template)
    if "<tool_call>" in template and "arguments" in template and not _OTHER_TAGS.search(template):
        return _Tagged(template)
    if _LLAMA.search(template):
        return _Bare(template)
    raise RuntimeError(
        "its chat template knows `tools`, but writes calls in none of the ways that are read here, "
        f"which are those of Hermes and Qwen, of Llama 3 and of Mistral. {remedy}"
    )


def _call(called: _Called) -> Call:
    arguments = bytes(called.arguments or called.parameters or _NO_ARGUMENTS)
    arguments = _NO_ARGUMENTS if arguments == b"null" else arguments
    return Call(called.name or called.function, arguments.decode())


def _skip(text: str, at: int) -> int:
    """Give the place behind white space."""
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _end_of_value(text: str, at: int) -> int:
    """Give where the JSON object or list ends that begins at a place.

    Raises:
        _Malformed: none begins there, or it does not end.
    """
    depth = 0
    for part in _PARTS.finditer(text, at) if text[at : at + 1] in ("{", "[") else ():
        if part[0] in ("{", "["):
            depth += 1
        elif part[0] in ("}", "]"):
            depth -= 1
            if not depth:
                return part.end()
    raise _Malformed
