"""The tools that a server runs itself: a search and the reading of pages; others are refused."""

from __future__ import annotations

from typing import Any, Final

from nightrate.dialects.gemini_calls import DECLARATIONS
from nightrate.dialects.refusals import unserved, wrong
from nightrate.dialects.spelling import camel, quoted
from nightrate.domain.grounding import LookupWish

_REFUSED: Final = "Leave it out: this tool is not run."

_PAGES: Final = "urlContext"

_OPTIONS: Final = {
    "googleSearch": ("searchTypes", "timeRangeFilter", "excludeDomains", "blockingConfidence"),
    # When the model itself would decide to search; here a search is made each time.
    "googleSearchRetrieval": ("dynamicRetrievalConfig",),
    _PAGES: (),
}
"""The names of the tools, and of what can be set for them."""

_HINTS: Final = ("dynamicRetrievalConfig",)
_NO_OPTION: Final = "Leave it out: searches take no such option."


def lookup_of(tools: list[dict[str, Any]]) -> LookupWish | None:
    """Find among the tools what is to be looked up.

    Raises:
        BadRequest: a tool has an unknown option.
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
                raise unserved(field, _REFUSED)
            _check(value, field, options)
            if camel(name) == _PAGES:
                pages = pages or field
            else:
                search = search or field
    return LookupWish(search, pages) if search or pages else None


def _check(value: object, field: str, options: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise wrong(field, "it is not an object.")
    for name, option in value.items():
        place = f"{field}.{quoted(name)}"
        if camel(name) not in options:
            raise wrong(place, "there is no such field.")
        if camel(name) == "searchTypes":
            _check_types(option, place)
        elif option and camel(name) not in _HINTS:
            raise unserved(place, _NO_OPTION)


def _check_types(types: object, field: str) -> None:
    """A search of the web is what there is; one of pictures would change what is answered."""
    if types is not None and not isinstance(types, dict):
        raise wrong(field, "it is not an object.")
    for name, asked in (types or {}).items():
        if asked is not None and camel(name) != "webSearch":
            raise unserved(f"{field}.{quoted(name)}", _NO_OPTION)
