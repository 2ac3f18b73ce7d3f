"""The tools that a server runs itself: a search and the reading of pages; others are refused."""

from __future__ import annotations

from typing import Any, Final

from nightrate.dialects.gemini_calls import DECLARATIONS
from nightrate.dialects.gemini_options import REMEDIES, names_below, refusal_of
from nightrate.dialects.gemini_values import check_number, name_in, object_in
from nightrate.dialects.refusals import members_of, wrong
from nightrate.dialects.spelling import camel, quoted
from nightrate.domain.grounding import LookupWish

_PAGES: Final = "urlContext"
_RETRIEVAL: Final = "tools[].googleSearchRetrieval"
_DYNAMIC: Final = "dynamicRetrievalConfig"

_OPTIONS: Final = {
    name: names_below(f"tools[].{name}")
    for name in ("googleSearch", "googleSearchRetrieval", _PAGES)
}
"""The names of the tools that are run, and of what can be set for them."""
_OF_TYPES: Final = names_below("tools[].googleSearch.searchTypes")
_OF_DYNAMIC: Final = names_below(f"{_RETRIEVAL}.{_DYNAMIC}")
_MODES: Final = ("MODE_UNSPECIFIED", "MODE_DYNAMIC")


def lookup_of(tools: list[dict[str, Any]]) -> LookupWish | None:
    """Find among the tools what is to be looked up.

    Raises:
        BadRequest: a tool is unknown, or has an unknown option.
        NotSupported: another tool is asked for, or an option that changes what is found.
    """
    search: str | None = None
    pages: str | None = None
    for index, tool in enumerate(tools):
        for name, value in tool.items():
            if value is None or camel(name) == DECLARATIONS:
                continue
            field = f"tools[{index}].{quoted(name)}"
            options = _OPTIONS.get(camel(name))
            if options is None:
                if f"tools[].{camel(name)}" in REMEDIES:
                    raise refusal_of(f"tools[].{camel(name)}", field)
                raise wrong(field, "there is no such field.")
            _check(value, field, camel(name), options)
            if camel(name) == _PAGES:
                pages = pages or field
            else:
                search = search or field
    return LookupWish(search, pages) if search or pages else None


def _check(value: object, field: str, name: str, options: tuple[str, ...]) -> None:
    """Check what is set for a tool; what would change what is found is refused."""
    members = members_of(value, field, options)
    _refuse(members, field, f"tools[].{name}")
    # A search of the web is what there is; one of pictures would change what is answered.
    types = object_in(members, "searchTypes", field, _OF_TYPES)
    _refuse(types, f"{field}.searchTypes", f"tools[].{name}.searchTypes", even_empty=True)
    object_in(types, "webSearch", f"{field}.searchTypes", ())
    dynamic = object_in(members, _DYNAMIC, field, _OF_DYNAMIC)
    name_in(dynamic, "mode", f"{field}.{_DYNAMIC}", _MODES)
    check_number(dynamic, "dynamicThreshold", f"{field}.{_DYNAMIC}", 0, 1)


def _refuse(members: dict[str, Any], field: str, path: str, *, even_empty: bool = False) -> None:
    """Refuse members that the table refuses; an empty one may ask for nothing."""
    for name, value in members.items():
        if f"{path}.{name}" in REMEDIES and (value or even_empty):
            raise refusal_of(f"{path}.{name}", f"{field}.{name}")
