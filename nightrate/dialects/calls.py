"""Calls that came as text: is one what may be called, and are its arguments what they must be?"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import json, structs

from nightrate.dialects.tolerant import check_depth_of
from nightrate.domain.calling import Call, Calling
from nightrate.domain.fitting import fits
from nightrate.domain.generation import Candidate, FinishReason
from nightrate.errors import BadRequest

_OBJECT = json.Decoder(dict)


def is_call(call: Call, calling: Calling) -> bool:
    """Tell whether a call is of one of some functions, with an object of arguments.

    Whether these fit is asked where the client may rely on it.
    """
    function = next((one for one in calling.functions if one.name == call.name), None)
    if function is None:
        return False
    try:
        check_depth_of(call.arguments.encode())
        arguments = _OBJECT.decode(call.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError, BadRequest):
        return False
    return not (calling.held or function.strict) or fits(arguments, function.parameters)


def with_calls(candidate: Candidate, written: Sequence[Call], calling: Calling) -> Candidate:
    """Add what is called to an answer; if one of the calls is none that may be, none goes on.

    Args:
        candidate: the words of the answer, which has come to its end.
        written: what it calls; none, where it only has words.
        calling: what may be called. Of several calls it takes one if it says so.
    """
    calls = tuple(written[:1] if calling.single else written)
    if not all(is_call(call, calling) for call in calls):
        return structs.replace(candidate, finish_reason=FinishReason.BAD_CALL)
    return structs.replace(candidate, calls=calls)
