"""Calls that came as text: is one what may be called, and are its arguments what they must be?"""

from __future__ import annotations

import msgspec
from msgspec import json

from nightrate.dialects.tolerant import check_depth_of
from nightrate.domain.calling import Call, Calling
from nightrate.domain.fitting import fits
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
