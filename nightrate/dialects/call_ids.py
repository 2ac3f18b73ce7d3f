"""The ids of a conversation's calls, by which their results are found, for whoever wants such."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from nightrate.domain.calling import Call, CallResult


class CallIds:
    """Gives ids to the calls of one conversation, as they come.

    Args:
        name: makes an id of a call and its number in the conversation, which counts from one.
    """

    def __init__(self, name: Callable[[Call, int], str]) -> None:
        self._name = name
        self._count = 0
        self._open: dict[int, str] = {}
        """The ids of calls whose result has not come yet, by their numbers."""
        self._by_id: dict[str, deque[int]] = {}
        self._by_name: dict[str, deque[int]] = {}
        self._unnamed: dict[str, deque[int]] = {}
        """Those of calls that had no id of their own, by the name of their function."""

    def of_call(self, call: Call) -> str:
        """Give the id of the next call."""
        self._count = number = self._count + 1
        self._open[number] = call_id = self._name(call, number)
        self._by_id.setdefault(call.call_id or call_id, deque()).append(number)
        self._by_name.setdefault(call.name, deque()).append(number)
        if call.call_id is None:
            self._unnamed.setdefault(call.name, deque()).append(number)
        return call_id

    def of_result(self, result: CallResult) -> str | None:
        """Give the id of the call that a result belongs to; None if there is no such call.

        That of its own id comes first; where one of the two has none, the first open call of that
        name is meant.
        """
        if result.call_id is None:
            return self._first_open(self._by_name.get(result.name))
        found = self._first_open(self._by_id.get(result.call_id))
        return found or self._first_open(self._unnamed.get(result.name))

    def _first_open(self, numbers: deque[int] | None) -> str | None:
        """Give the id of the first of some calls that is open, and close it."""
        while numbers:
            call_id = self._open.pop(numbers.popleft(), None)
            if call_id is not None:
                return call_id
        return None
