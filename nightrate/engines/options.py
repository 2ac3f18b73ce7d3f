"""An engine's options, read from its table of the settings file with every problem at once."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from nightrate.engines.base import Options
from nightrate.errors import SettingsFault

Read = TypeVar("Read", bound=msgspec.Struct)


def options_of(engine: str, options: Options, kind: type[Read]) -> Read:
    """Read the options of an engine.

    Raises:
        SettingsFault: some are unknown, missing or wrong; all of them are named.
    """
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    problems, good = [], dict[str, Any]()
    for name, value in options.items():
        if name not in fields:
            known = ", ".join(fields)
            problems.append(f"engines.{engine}.{name}: unknown option; there are: {known}")
            continue
        try:
            good[name] = msgspec.convert(value, fields[name].type)
        except msgspec.ValidationError as error:
            problems.append(f"engines.{engine}.{name}: {error}")
    problems += [
        f"engines.{engine}.{name}: it is missing"
        for name, field in fields.items()
        if field.required and name not in options
    ]
    if problems:
        raise SettingsFault(problems)
    return kind(**good)
