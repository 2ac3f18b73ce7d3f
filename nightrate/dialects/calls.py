"""Calls that came as text: is one what may be called, and are its arguments an object?"""

from __future__ import annotations

import msgspec
from msgspec import json

from nightrate.dialects.tolerant import check_depth_of
from nightrate.domain.calling import Call, Calling
from nightrate.errors import BadRequest

_OBJECT = json.Decoder(dict)


def is_call(call: Call, calling: Calling) -> bool:
    """Tell whether a call is of one of some functions, with an object of arguments."""
    if all(function.name != call.name for function in calling.functions):
        return False
    try:
        check_depth_of(call.arguments.encode())
        _OBJECT.decode(call.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError, BadRequest):
        return False
    return True
