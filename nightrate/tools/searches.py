"""The searches that can be had by name: by the setting ``search``.

A backend is a class and a line in `BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Callable

from nightrate.errors import SettingsFault
from nightrate.tools.search import EmptySearch, Search
from nightrate.tools.searxng import SearXNG

Make = Callable[[Search], Search | None]
"""Makes a search, or gives the index of the operator's documents, which is handed in; None when
searches are refused."""

BACKENDS: dict[str, Make] = {
    "index": lambda index: index,
    "empty": lambda _index: EmptySearch(),
    "refuse": lambda _index: None,
}


def search_of(setting: str) -> Make:
    """Find what makes the search that the setting names.

    Raises:
        SettingsFault: there is none of that name, and it is no web address.
    """
    if setting in BACKENDS:
        return BACKENDS[setting]
    if setting.lower().startswith(("http://", "https://")):
        search = SearXNG(setting)  # what is wrong with the address is told before anything begins
        return lambda _index: search
    names = ", ".join(sorted(BACKENDS))
    message = f"search {setting!r} is not known; there are: {names}, and the address of a SearXNG"
    raise SettingsFault([message])
