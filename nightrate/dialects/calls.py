"""Calls that came as text: is one what may be called, and are its arguments an object?"""

from __future__ import annotations

import msgspec
from msgspec import json

from nightrate.domain.calling import Call, Calling

_OBJECT = json.Decoder(dict)


def is_call(call: Call, calling: Calling) -> bool:
    """Tell whether a call is of one of some functions, with an object of arguments."""
    if all(function.name != call.name for function in calling.functions):
        return False
    try:
        _OBJECT.decode(call.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True
