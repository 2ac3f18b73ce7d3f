"""The ids of a conversation's calls, by which their results are found, for whoever wants such."""

from __future__ import annotations

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
        self._open: list[tuple[Call, str]] = []
        """Calls whose result has not come yet, and their ids."""

    def of_call(self, call: Call) -> str:
        """Give the id of the next call."""
        self._count += 1
        call_id = self._name(call, self._count)
        self._open.append((call, call_id))
        return call_id

    def of_result(self, result: CallResult) -> str | None:
        """Give the id of the call that a result belongs to; None if there is no such call.

        That of its own id comes first; where one of the two has none, the first open call of that
        name is meant.
        """
        for call, call_id in self._open:
            if result.call_id == (call.call_id or call_id):
                return self._closed(call, call_id)
        for call, call_id in self._open:
            if result.name == call.name and (result.call_id is None or call.call_id is None):
                return self._closed(call, call_id)
        return None

    def _closed(self, call: Call, call_id: str) -> str:
        self._open.remove((call, call_id))
        return call_id
