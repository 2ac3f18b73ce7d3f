"""Calls that a model wrote as text: as one JSON object that was demanded, or as it was trained."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct, json, structs

from nightrate.dialects.calls import is_call, with_calls
from nightrate.domain.calling import Call, Calling, CallMode
from nightrate.domain.generation import Candidate, FinishReason, Reply
from nightrate.engines.call_syntaxes import CallSyntax


class _Written(Struct, forbid_unknown_fields=True):
    name: str
    arguments: Raw


_WRITTEN = json.Decoder(_Written)


def candidate_of(
    text: str,
    finish_reason: FinishReason,
    calling: Calling | None,
    syntax: CallSyntax | None = None,
    *,
    stopped: bool = False,
) -> Candidate:
    """Give the answer of a model: its words, the call that it had to make, or both as it chose.

    Args:
        text: what the model wrote.
        finish_reason: why it ended.
        calling: the functions, if there are any.
        syntax: how the model writes calls where it decides; None, where it never does.
        stopped: whether a stop sequence has ended it, perhaps within a call.
    """
    if calling is None:
        return Candidate(text, finish_reason)
    if syntax is not None and calling.mode is CallMode.AUTO:
        return _candidate_of_choice(text, finish_reason, calling, syntax, stopped=stopped)
    return candidate_of_call(text, finish_reason, calling)


def _candidate_of_choice(
    text: str,
    finish_reason: FinishReason,
    calling: Calling,
    syntax: CallSyntax,
    *,
    stopped: bool,
) -> Candidate:
    """Give the answer of a model that was free to call functions; half a call is never given."""
    if finish_reason is FinishReason.STOP:
        written = syntax.read(text)
        if written.whole and (written.calls or not stopped):
            return with_calls(Candidate(written.text), written.calls, calling)
        if not stopped:
            return Candidate(written.text, FinishReason.BAD_CALL)
    return Candidate(syntax.words_of_cut(text), finish_reason)


def candidate_of_call(text: str, finish_reason: FinishReason, calling: Calling) -> Candidate:
    """Give the answer of a model that had to call a function.

    What was cut off at the output limit, or is no call of one of the functions, is never handed
    out: half a call would be taken for an answer.

    Args:
        text: what the model wrote.
        finish_reason: why it ended.
        calling: the functions; a grammar has held the model to them.
    """
    if finish_reason is not FinishReason.STOP:
        return Candidate("", finish_reason)
    call = called(text, calling)
    return Candidate("", FinishReason.BAD_CALL) if call is None else Candidate("", calls=(call,))


def with_read_calls(reply: Reply, calling: Calling) -> Reply:
    """Give the reply of a model that wrote each of its answers as a call."""
    candidates = tuple(
        candidate_of_call(one.text, one.finish_reason, calling)
        if one.withheld is None
        else structs.replace(one, text="")
        for one in reply.candidates
    )
    return structs.replace(reply, candidates=candidates)


def called(text: str, calling: Calling) -> Call | None:
    """Read a text as a call of one of some functions; None when it is none."""
    try:
        written = _WRITTEN.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    call = Call(written.name, bytes(written.arguments).decode())
    return call if is_call(call, calling) else None
