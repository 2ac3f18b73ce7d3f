"""What becomes of the troubles of an endpoint that speaks Gemini's protocol.

Those that all endpoints have in common are tried in `test_endpoint`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from nightrate.domain.guidance import Withheld
from nightrate.engines.base import Capacity
from nightrate.engines.gemini import GeminiEngine
from nightrate.errors import Code, EngineBusy, EngineDown, EngineFault, RequestFailed
from nightrate.testing.engine_samples import asked, pieces_of, text_of
from tests.engines.gemini_upstream import (
    ABROAD,
    WRONG_KEY,
    GeminiUpstream,
    denial,
    detail,
    engine_of,
)
from tests.engines.upstream import breaks, refuses, says, serving


@pytest.fixture
async def upstream() -> AsyncIterator[GeminiUpstream]:
    async with serving(GeminiUpstream) as upstream:
        yield upstream


@pytest.fixture
async def engine(upstream: GeminiUpstream) -> AsyncIterator[GeminiEngine]:
    engine = engine_of(upstream)
    await engine.open()
    yield engine
    await engine.close()


async def fault_of(engine: GeminiEngine, text: str = "SECRET WORDS") -> EngineFault:
    with pytest.raises(EngineFault) as caught:
        await engine.generate(asked(text))
    assert "SECRET" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("fault", [WRONG_KEY, ABROAD], ids=["key", "place"])
async def test_a_refusal_that_nobody_escapes_takes_the_engine_down_and_no_request_with_it(
    engine: GeminiEngine, upstream: GeminiUpstream, fault: Any
) -> None:
    upstream.faults = [fault]
    down = await fault_of(engine)
    assert isinstance(down, EngineDown)
    assert not down.in_flight
    with pytest.raises(EngineDown, match="status 400"):
        await engine.ready()
    await engine.open()
    assert text_of(await engine.generate(asked("again"))) == "again"


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (400, "INVALID_ARGUMENT", Code.INVALID_ARGUMENT),
        (400, "FAILED_PRECONDITION", Code.FAILED_PRECONDITION),
        (400, "OUT_OF_RANGE", Code.OUT_OF_RANGE),
        (501, "UNIMPLEMENTED", Code.UNIMPLEMENTED),
    ],
)
async def test_what_one_request_is_refused_for_is_told_by_its_kind(
    engine: GeminiEngine, upstream: GeminiUpstream, code: int, status: str, expected: Code
) -> None:
    violations = [{"field": "generationConfig.topK", "description": "SECRET"}]
    upstream.faults = [denial(code, status, detail("BadRequest", fieldViolations=violations))]
    failed = await fault_of(engine)
    assert isinstance(failed, RequestFailed)
    assert (failed.code, failed.retriable) == (expected, False)
    assert failed.message.endswith(f"(status {code}): member generationConfig.topK.")
    assert text_of(await engine.generate(asked("next"))) == "next"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (408, "DEADLINE_EXCEEDED", Code.DEADLINE_EXCEEDED),
        (499, "CANCELLED", Code.INTERNAL),
        (500, "INTERNAL", Code.INTERNAL),
        (504, "DEADLINE_EXCEEDED", Code.DEADLINE_EXCEEDED),
    ],
)
async def test_what_may_pass_is_tried_again(
    engine: GeminiEngine, upstream: GeminiUpstream, code: int, status: str, kind: Code
) -> None:
    upstream.faults = [denial(code, status)]
    failed = await fault_of(engine)
    assert isinstance(failed, RequestFailed)
    assert (failed.code, failed.retriable) == (kind, True)


async def test_a_used_up_quota_is_waited_for_as_long_as_its_body_says(
    engine: GeminiEngine, upstream: GeminiUpstream
) -> None:
    upstream.faults = [
        denial(
            *(429, "RESOURCE_EXHAUSTED"),
            detail("QuotaFailure", violations=[{"quotaId": "PerMinute-FreeTier"}]),
            detail("RetryInfo", retryDelay="26.5s"),
        )
    ]
    busy = await fault_of(engine)
    assert isinstance(busy, EngineBusy)
    assert busy.code is Code.RESOURCE_EXHAUSTED
    assert busy.after_seconds == pytest.approx(26.5, abs=0.5)
    sent = len(upstream.headers)
    held = await fault_of(engine)
    assert isinstance(held, EngineBusy)
    assert len(upstream.headers) == sent


async def test_the_longer_of_two_words_about_a_wait_counts(
    engine: GeminiEngine, upstream: GeminiUpstream
) -> None:
    upstream.faults = [refuses(503, after="9")]
    busy = await fault_of(engine)
    assert isinstance(busy, EngineBusy)
    assert busy.code is Code.UNAVAILABLE
    assert busy.after_seconds == pytest.approx(9, abs=0.5)


async def test_a_blocked_prompt_has_its_answer_and_the_endpoint_is_as_well_as_before(
    engine: GeminiEngine, upstream: GeminiUpstream
) -> None:
    upstream.fault = says(b'{"promptFeedback":{"blockReason":"SAFETY"}}')
    for _ in range(40):
        assert (await engine.generate(asked("a"))).blocked is Withheld.SAFETY
    assert engine.capacity == Capacity(56, live=8)
    upstream.fault = None
    assert text_of(await engine.generate(asked("next"))) == "next"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html>SECRET WORDS</html>",
        b'{"candidates":[{"content":{"parts":[{"text":"SECRET WO',
        b'{"candidates":[]}',
        b'{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"text":"\xff"}]},"finishReason":"STOP"}]}',
        b"[" * 100_000,
    ],
)
async def test_a_body_that_is_no_answer_fails_its_request_and_may_be_tried_again(
    engine: GeminiEngine, upstream: GeminiUpstream, body: bytes
) -> None:
    upstream.faults = [says(body)]
    failed = await fault_of(engine)
    assert isinstance(failed, RequestFailed)
    assert (failed.code, failed.retriable) == (Code.INTERNAL, True)
    assert text_of(await engine.generate(asked("again"))) == "again"


@pytest.mark.parametrize(
    "fault",
    [breaks(), breaks(b'{"candidates":[{"con'), breaks(b'{"candidates":[]}', length=400)],
    ids=["before", "in the middle", "short of its length"],
)
async def test_a_broken_connection_is_nobodys_fault(
    engine: GeminiEngine, upstream: GeminiUpstream, fault: Any
) -> None:
    upstream.faults = [fault]
    busy = await fault_of(engine)
    assert isinstance(busy, EngineBusy)
    assert busy.in_flight
    assert text_of(await engine.generate(asked("again"))) == "again"


EVENT = b'data: {"candidates":[{"content":{"parts":[{"text":"Once "}]},"index":0}]}\r\n\r\n'


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (says(EVENT, "text/event-stream"), RequestFailed),
        (says(EVENT + b'data: {"error":{"message":"SECRET"}}\n\n'), RequestFailed),
        (says(EVENT + b"data: {SECRET\n\n"), RequestFailed),
        (says(EVENT + b"data: " + b" " * (1 << 20)), RequestFailed),
        (breaks(EVENT), EngineBusy),
    ],
    ids=["ends", "error", "rubbish", "endless", "breaks"],
)
async def test_a_stream_that_does_not_come_to_its_end_is_no_answer(
    engine: GeminiEngine, upstream: GeminiUpstream, fault: Any, kind: type[EngineFault]
) -> None:
    upstream.faults = [fault]
    pieces = engine.stream(asked("Tell."))
    assert await anext(pieces) == "Once "
    with pytest.raises(kind) as caught:
        await anext(pieces)
    assert "SECRET" not in str(caught.value)
    texts, _ = await pieces_of(engine, asked("again and again"))
    assert "".join(texts) == "again and again"
    assert upstream.paths[-1] == "/v1beta/models/the-model:streamGenerateContent?alt=sse"


async def test_a_server_that_cannot_count_answers_all_the_same(
    engine: GeminiEngine, upstream: GeminiUpstream
) -> None:
    upstream.faults = [refuses(404)]
    with pytest.raises(RequestFailed, match="knows no such call") as refused:
        await engine.count_tokens(asked("a"))
    assert refused.value.code is Code.UNIMPLEMENTED
    assert text_of(await engine.generate(asked("next"))) == "next"
