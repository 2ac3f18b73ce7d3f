"""Which batches a list is to show.

The grammar is a small part of Google's: conditions with ``AND`` between them, each
``state = NAME`` or ``displayName = "text"``, each at most once.
"""

from __future__ import annotations

import re
from typing import Final

from nightrate.dialects.gemini_batches import WIRE_STATES
from nightrate.dialects.refusals import wrong
from nightrate.dialects.spelling import camel, quoted
from nightrate.domain.batch import ANY_BATCH, BatchFilter
from nightrate.domain.states import BatchState

_FORM: Final = 'Say state=RUNNING, displayName="text", or both with AND between them.'
_CONDITION: Final = re.compile(
    r'\s*(?P<name>[A-Za-z_.]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s"]+))\s*'
)
_AND: Final = re.compile(r"AND\b")


def parse_filter(text: str) -> BatchFilter:
    """Read the ``filter`` of a list.

    Raises:
        BadRequest: it is not of this grammar.
    """
    if not text.strip():
        return ANY_BATCH
    found: dict[str, str] = {}
    place = 0
    while True:
        condition = _CONDITION.match(text, place)
        if condition is None:
            raise wrong("filter", f'"{quoted(text)}" is not understood. {_FORM}')
        name = camel(condition["name"].removeprefix("metadata."))
        if name not in ("state", "displayName") or name in found:
            why = "is there twice" if name in found else "cannot be asked for"
            raise wrong("filter", f'"{quoted(name)}" {why}. {_FORM}')
        found[name] = _value(condition)
        place = condition.end()
        if place == len(text):
            break
        joint = _AND.match(text, place)
        if joint is None:
            raise wrong("filter", f'"{quoted(text[place:])}" is not understood. {_FORM}')
        place = joint.end()
    states = _states(found["state"]) if "state" in found else None
    return BatchFilter(states=states, display_name=found.get("displayName"))


def _value(condition: re.Match[str]) -> str:
    bare = condition["bare"]
    return re.sub(r"\\(.)", r"\1", condition["quoted"]) if bare is None else str(bare)


def _states(name: str) -> frozenset[BatchState]:
    short = name.upper().removeprefix("JOB_STATE_").removeprefix("BATCH_STATE_")
    states = frozenset(state for state, shown in WIRE_STATES.items() if shown == short)
    if not states:
        names = ", ".join(dict.fromkeys(WIRE_STATES.values()))
        raise wrong("filter", f'"{quoted(name)}" is no state; there are {names}.')
    return states
