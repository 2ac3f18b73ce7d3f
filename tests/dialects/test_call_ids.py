"""Results find the calls of a conversation that they belong to."""

from __future__ import annotations

from nightrate.dialects.call_ids import CallIds
from nightrate.domain.calling import Call, CallResult


def ids() -> CallIds:
    return CallIds(lambda call, number: call.call_id or f"call_{number}")


def result(name: str, call_id: str | None = None) -> CallResult:
    return CallResult(name, "{}", call_id)


def test_a_result_without_an_id_is_of_the_first_open_call_of_its_name() -> None:
    calls = ids()
    for name in ("f", "g", "f"):
        calls.of_call(Call(name, "{}"))
    found = [calls.of_result(result(name)) for name in ("f", "f", "g", "f")]
    assert found == ["call_1", "call_3", "call_2", None]


def test_an_id_comes_before_a_name() -> None:
    calls = ids()
    calls.of_call(Call("f", "{}"))
    calls.of_call(Call("f", "{}", "a"))
    calls.of_call(Call("f", "{}"))
    found = [calls.of_result(result("f", call_id)) for call_id in ("a", "a", "x", None)]
    assert found == ["a", "call_1", "call_3", None]


def test_a_call_that_was_answered_by_its_name_is_not_answered_again_by_its_id() -> None:
    calls = ids()
    calls.of_call(Call("f", "{}", "a"))
    calls.of_call(Call("f", "{}", "a"))
    assert [calls.of_result(result("f")) for _ in range(1)] == ["a"]
    assert [calls.of_result(result("g", "a")) for _ in range(2)] == ["a", None]


def test_thousands_of_calls_take_no_time() -> None:
    calls, count = ids(), 100_000
    for number in range(count):
        calls.of_call(Call("f", "{}", f"{number}"))
    for number in reversed(range(count)):
        assert calls.of_result(result("f", f"{number}")) == f"{number}"
