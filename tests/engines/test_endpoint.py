"""What becomes of an endpoint's troubles: who is to blame, and what others notice of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from nightrate.engines.base import Capacity
from nightrate.engines.openai import OpenAIEngine
from nightrate.errors import Code, EngineBusy, EngineDown, EngineFault, RequestFailed
from nightrate.testing.engine_samples import asked, pieces_of, text_of
from tests.engines.upstream import Upstream, breaks, made, refuses, says


async def fault_of(engine: OpenAIEngine, text: str = "SECRET WORDS") -> EngineFault:
    with pytest.raises(EngineFault) as caught:
        await engine.generate(asked(text))
    assert "SECRET" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>SECRET WORDS</html>",
        b'{"choices":[{"message":{"content":"SECRET WO',
        b'{"choices":[]}',
        b'{"choices":[{"message":{"content":5},"finish_reason":"stop"}]}',
        b'{"choices":[{"message":{"content":"a"},"finish_reason":"tool_calls"}]}',
        b'{"choices":[{"message":{"content":"a"},"finish_reason":null}]}',
        b'{"choices":[{"message":{"content":"\xff"},"finish_reason":"stop"}]}',
        b"[" * 100_000,
    ],
)
async def test_a_body_that_is_no_answer_fails_its_request_and_may_be_tried_again(
    engine: OpenAIEngine, upstream: Upstream, body: bytes
) -> None:
    upstream.faults = [says(body)]
    fault = await fault_of(engine)
    assert isinstance(fault, RequestFailed)
    assert (fault.code, fault.retriable) == (Code.INTERNAL, True)
    assert text_of(await engine.generate(asked("again"))) == "again"


@pytest.mark.parametrize(
    ("status", "code", "retriable"),
    [
        (400, Code.INVALID_ARGUMENT, False),
        (413, Code.INVALID_ARGUMENT, False),
        (422, Code.INVALID_ARGUMENT, False),
        (408, Code.DEADLINE_EXCEEDED, True),
        (409, Code.INTERNAL, True),
        (500, Code.INTERNAL, True),
        (504, Code.DEADLINE_EXCEEDED, True),
        (204, Code.INTERNAL, True),
    ],
)
async def test_what_the_endpoint_says_of_one_request_fails_that_one(
    engine: OpenAIEngine, upstream: Upstream, status: int, code: Code, *, retriable: bool
) -> None:
    upstream.faults = [refuses(status)]
    fault = await fault_of(engine)
    assert isinstance(fault, RequestFailed)
    assert (fault.code, fault.retriable) == (code, retriable)
    assert str(status) in fault.message
    assert text_of(await engine.generate(asked("next"))) == "next"


async def test_a_refusal_says_what_is_to_blame_in_words_of_ours(
    engine: OpenAIEngine, upstream: Upstream
) -> None:
    upstream.faults = [refuses(400, code="context_length_exceeded", param="messages")]
    fault = await fault_of(engine)
    assert fault.message.endswith("(status 400): context_length_exceeded, member messages.")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, Code.RESOURCE_EXHAUSTED),
        (503, Code.UNAVAILABLE),
        (529, Code.UNAVAILABLE),
        (502, Code.UNAVAILABLE),
    ],
)
async def test_an_endpoint_that_takes_nobody_is_asked_nothing_for_a_while(
    engine: OpenAIEngine, upstream: Upstream, status: int, code: Code
) -> None:
    upstream.faults = [refuses(status, after="7")]
    fault = await fault_of(engine)
    assert isinstance(fault, EngineBusy)
    assert fault.code is code
    assert fault.after_seconds == pytest.approx(7, abs=0.5)
    sent = len(upstream.headers)
    held = await fault_of(engine)
    assert isinstance(held, EngineBusy)
    assert held.after_seconds == pytest.approx(7, abs=0.5)
    assert held.code is code
    assert len(upstream.headers) == sent
    assert engine.capacity == Capacity(28, live=4)


@pytest.mark.parametrize("status", [401, 402, 404, 405, 301, 307, 501])
async def test_a_wrong_configuration_takes_the_engine_down_and_no_request_with_it(
    engine: OpenAIEngine, upstream: Upstream, status: int
) -> None:
    upstream.faults = [refuses(status)]
    fault = await fault_of(engine)
    assert isinstance(fault, EngineDown)
    assert not fault.in_flight
    assert str(status) in fault.message
    sent = len(upstream.headers)
    assert isinstance(await fault_of(engine), EngineDown)
    with pytest.raises(EngineDown, match=str(status)):
        await engine.ready()
    assert len(upstream.headers) == sent
    await engine.open()
    assert text_of(await engine.generate(asked("again"))) == "again"


async def test_a_request_that_is_forbidden_waits_until_others_show_whose_fault_it_is(
    engine: OpenAIEngine, upstream: Upstream
) -> None:
    upstream.faults = [refuses(403)]
    fault = await fault_of(engine)
    assert isinstance(fault, EngineBusy)
    assert fault.code is Code.PERMISSION_DENIED
    await engine.generate(asked("another"))
    upstream.faults = [refuses(403)]
    fault = await fault_of(engine)
    assert isinstance(fault, RequestFailed)
    assert (fault.code, fault.retriable) == (Code.PERMISSION_DENIED, False)


async def test_an_endpoint_that_fails_for_most_is_ill_and_none_of_them_is_to_blame(
    engine: OpenAIEngine, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("nightrate.clock.monotonic", lambda: now[0])
    upstream.faults = [refuses(500), says(b"<html>"), refuses(504)] * 10
    kinds = []
    while upstream.faults:
        fault = await fault_of(engine)
        kinds.append(type(fault))
        assert isinstance(fault, RequestFailed) or fault.in_flight  # type: ignore[attr-defined]
        now[0] += 100
    healthy = kinds.count(RequestFailed)
    assert 5 < healthy < 15
    assert kinds[healthy:] == [EngineBusy] * (len(kinds) - healthy)
    for _ in range(20):
        await engine.generate(asked("well"))
    upstream.faults = [refuses(500)]
    assert isinstance(await fault_of(engine), RequestFailed)


# connections ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [breaks(), breaks(b'{"choices":[{"mess'), breaks(b'{"choices":[]}', length=400)],
    ids=["before", "in the middle", "short of its length"],
)
async def test_a_broken_connection_is_nobodys_fault(
    engine: OpenAIEngine, upstream: Upstream, fault: Any
) -> None:
    upstream.faults = [fault]
    busy = await fault_of(engine)
    assert isinstance(busy, EngineBusy)
    assert busy.in_flight
    assert text_of(await engine.generate(asked("again"))) == "again"


async def test_an_endpoint_that_died_is_waited_for(
    upstream: Upstream, engine: OpenAIEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, now = upstream.port, [0.0]
    monkeypatch.setattr("nightrate.clock.monotonic", lambda: now[0])
    lasting = asyncio.create_task(engine.generate(asked("[[delay 3600]]")))
    await engine.count_tokens(asked("Are you there?"))
    await upstream.stop()
    with pytest.raises(EngineDown) as died:
        await lasting
    assert died.value.in_flight
    with pytest.raises(EngineFault) as gone:
        await engine.generate(asked("hello"))
    assert not getattr(gone.value, "in_flight", False)

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        await upstream.start(port)

    monkeypatch.setattr("nightrate.clock.sleep", sleep)
    await engine.ready()
    assert text_of(await engine.generate(asked("hello"))) == "hello"


async def test_an_endpoint_that_stays_away_is_down(
    upstream: Upstream, engine: OpenAIEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upstream.stop()
    for _ in range(10):
        await asyncio.sleep(0)  # The idle connection is seen to be closed.
    fault = await fault_of(engine)
    assert isinstance(fault, EngineDown)
    assert not fault.in_flight
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("nightrate.clock.monotonic", lambda: now[0])
    monkeypatch.setattr("nightrate.clock.sleep", sleep)
    with pytest.raises(EngineDown, match="could not be reached for 600 seconds"):
        await engine.ready()
    with pytest.raises(EngineDown, match="cannot be reached"):
        await engine.open()


async def test_cancelling_a_request_closes_its_connection(
    upstream: Upstream, engine: OpenAIEngine
) -> None:
    lasting = asyncio.create_task(engine.generate(asked("[[delay 3600]]")))
    await engine.count_tokens(asked("Are you there?"))
    lasting.cancel()
    await upstream.left.wait()


async def test_an_answer_that_takes_too_long_counts_as_a_try(upstream: Upstream) -> None:
    engine = made(upstream, timeout_seconds=0.05)
    await engine.open()
    fault = await fault_of(engine, "[[delay 3600]]")
    assert isinstance(fault, RequestFailed)
    assert (fault.code, fault.retriable) == (Code.DEADLINE_EXCEEDED, True)
    assert engine.capacity == Capacity(28, live=4)
    await engine.close()


async def test_an_endless_answer_is_not_held(
    upstream: Upstream, engine: OpenAIEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightrate.limits.LINE_BYTES_MAX", 1000)
    upstream.faults = [says(b" " * 1001), breaks(b" " * 1001)]
    for _ in range(2):
        fault = await fault_of(engine)
        assert isinstance(fault, RequestFailed)
        assert (fault.code, fault.retriable) == (Code.OUT_OF_RANGE, False)


async def test_connections_are_used_again(upstream: Upstream, engine: OpenAIEngine) -> None:
    seen = set()

    async def note(request: Any) -> None:
        seen.add(request.transport.get_extra_info("peername"))

    upstream.fault = note
    for number in range(5):
        await engine.generate(asked(str(number)))
        await pieces_of(engine, asked(f"{number} and more"))
    assert len(seen) == 1


# streams --------------------------------------------------------------------------------------

EVENT = b'data: {"choices":[{"delta":{"content":"Once "}}]}\n\n'


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (says(EVENT, "text/event-stream"), RequestFailed),
        (says(EVENT + b"data: [DONE]\n\n", "text/event-stream"), RequestFailed),
        (says(EVENT + b'data: {"error":{"message":"SECRET"}}\n\n'), RequestFailed),
        (says(EVENT + b"data: {SECRET\n\n"), RequestFailed),
        (says(EVENT + b"data: " + b" " * (1 << 20)), RequestFailed),
        (breaks(EVENT), EngineBusy),
    ],
    ids=["ends", "done", "error", "rubbish", "endless", "breaks"],
)
async def test_a_stream_that_does_not_come_to_its_end_is_no_answer(
    engine: OpenAIEngine, upstream: Upstream, fault: Any, kind: type[EngineFault]
) -> None:
    upstream.faults = [fault]
    pieces = engine.stream(asked("Tell."))
    assert await anext(pieces) == "Once "
    with pytest.raises(kind) as caught:
        await anext(pieces)
    assert "SECRET" not in str(caught.value)
    texts, _ = await pieces_of(engine, asked("again and again"))
    assert "".join(texts) == "again and again"


async def test_a_refused_stream_is_refused_like_a_request(
    engine: OpenAIEngine, upstream: Upstream
) -> None:
    upstream.faults = [refuses(429, after="3")]
    with pytest.raises(EngineBusy) as busy:
        await anext(engine.stream(asked("Tell.")))
    assert busy.value.after_seconds == pytest.approx(3, abs=0.5)
