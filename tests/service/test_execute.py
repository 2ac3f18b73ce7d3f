"""One request to one outcome, live or from a batch; a bad row hurts only itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
from msgspec import structs

from nightrate import limits
from nightrate.dialects.lines import RawLine
from nightrate.dialects.rows import hand_of
from nightrate.domain.batch import Dialect, Kind, Method
from nightrate.domain.cache import Reach, continued
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Candidate, Failure, Message, Outcome, Prompt, Reply, Usage
from nightrate.domain.grounding import Grounding, LookupWish
from nightrate.domain.model import Model
from nightrate.domain.shard import Answer, Tally
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.errors import BadRequest, Code, Damaged, EngineDown, MissingCache, StoreFault
from nightrate.service import execute as execute_module
from nightrate.service.execute import Executor
from nightrate.service.grounding import Grounder
from nightrate.service.lane import Lane
from nightrate.service.models import Models
from nightrate.service.prefixes import Prefixes
from nightrate.tools.search import EmptySearch
from tests.service.lanes import lane_of
from tests.tallies import timeless

MODEL = Models({"*": "echo"}).resolve("gemini-2.5-flash")


def raw(text: str, key: str | None = "k", number: int = 7) -> RawLine:
    row: dict[str, Any] = {"request": {"contents": [{"parts": [{"text": text}]}]}}
    if key is not None:
        row["key"] = key
    data = msgspec.json.encode(row)
    return RawLine(number, 0, len(data) + 1, data)


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    async with lane_of(EchoEngine(EchoOptions(requests=4))) as lane:
        yield lane


@pytest.fixture
def executor(lane: Lane) -> Executor:
    return Executor({"echo": lane})


async def answered(executor: Executor, lane: Lane, line: RawLine) -> Answer:
    return await executor.rows(lane, MODEL.name, Kind()).answer(line, "b1-0")


async def test_a_row_becomes_its_output_line_and_its_tally(executor: Executor, lane: Lane) -> None:
    answer = await answered(executor, lane, raw("good day"))
    row = msgspec.json.decode(answer.line)
    assert row["key"] == "k"
    assert row["response"]["responseId"] == "b1-0"
    assert row["response"]["candidates"][0]["content"]["parts"] == [{"text": "good day"}]
    assert timeless(answer.tally) == Tally(1, 0, 2, 2, 0)
    assert b"\n" not in answer.line


class Hourly(EchoEngine):
    """Takes an hour for each answer, of a clock that it holds."""

    def __init__(self) -> None:
        super().__init__(EchoOptions(requests=4))
        self.now = 0.0

    async def generate(self, prompt: Prompt) -> Reply:
        self.now += 3600
        reply = await super().generate(prompt)
        return structs.replace(reply, usage=Usage(5, 4, 0, 3))

    async def embed(self, passage: Passage) -> Embedding:
        await asyncio.sleep(0)  # all of a row's passages are inside
        self.now += 3600
        return await super().embed(passage)


CONTENTS = b'{"request":{"contents":[{"parts":[{"text":"%s"}]}]%s}}'
HOUR = 3600 * 10**9


@pytest.mark.parametrize(
    ("row", "kind", "tally"),
    [
        (CONTENTS % (b"a", b""), Kind(), Tally(1, 0, 5, 4, 0, 3, HOUR)),
        (CONTENTS % (b"[[fail 3]]", b""), Kind(), Tally(0, 1, 0, 0, 0, 0, HOUR)),
        (
            CONTENTS % (b"a", b',"tools":[{"googleSearch":{}}]'),
            *(Kind(), Tally(1, 0, 5, 4, 0, 3, HOUR)),
        ),
        (
            b'{"request":{"content":{"parts":[{"text":"a"}]}}}',
            *(Kind(method=Method.EMBED), Tally(1, 0, 1, 0, 0, 0, HOUR)),
        ),
        (
            (
                b'{"custom_id":"k","method":"POST","url":"/v1/embeddings",'
                b'"body":{"model":"m","input":["a","b"]}}'
            ),
            *(Kind(method=Method.EMBED, dialect=Dialect.OPENAI), Tally(1, 0, 2, 0, 0, 0, 2 * HOUR)),
        ),
    ],
    ids=["prompt", "failure", "search", "passage", "passages"],
)
async def test_the_engines_time_is_counted_with_the_row_however_it_ends(
    row: bytes, kind: Kind, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Hourly()
    monkeypatch.setattr("nightrate.clock.monotonic", lambda: engine.now)
    async with lane_of(engine) as lane:
        executor = Executor({"echo": lane}, None, Grounder(EmptySearch()))
        rows = executor.rows(lane, "m", kind)
        answer = await rows.answer(RawLine(1, 0, len(row) + 1, row), "b1-0")
        assert answer.tally == tally
        bad = await rows.answer(RawLine(1, 0, 4, b"bad"), "b1-1")
        assert bad.tally == Tally(0, 1)  # it never reached the engine


async def test_a_row_that_the_engine_fails_becomes_an_error_line(
    executor: Executor, lane: Lane
) -> None:
    answer = await answered(executor, lane, raw("[[fail 8]]"))
    row = msgspec.json.decode(answer.line)
    assert row["key"] == "k"
    assert row["error"]["code"] == Code.RESOURCE_EXHAUSTED
    assert timeless(answer.tally) == Tally(0, 1)


@pytest.mark.parametrize("data", [b"rubbish", b"{}", b"\xff\xfe", None])
async def test_a_bad_row_becomes_an_error_line_that_names_its_line(
    executor: Executor, lane: Lane, data: bytes | None
) -> None:
    answer = await answered(executor, lane, RawLine(7, 0, 9, data))
    error = msgspec.json.decode(answer.line)["error"]
    assert error["code"] == Code.INVALID_ARGUMENT
    assert "line 7" in error["message"]
    assert timeless(answer.tally) == Tally(0, 1)


async def test_a_row_whose_engine_gave_up_has_no_outcome_yet(
    executor: Executor, lane: Lane
) -> None:
    await lane.engine.close()
    with pytest.raises(EngineDown):
        await answered(executor, lane, raw("hello"))


@pytest.mark.parametrize("where", ["parse", "run", "render"])
async def test_a_mistake_of_ours_costs_one_row_and_leaves_a_trace(
    executor: Executor,
    lane: Lane,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
) -> None:
    def mistake(*_arguments: Any) -> Any:
        raise ZeroDivisionError("our own mistake")

    def render(echo: Any, outcome: Any, *rest: Any) -> bytes:
        return hand.render(echo, outcome, *rest) if isinstance(outcome, Failure) else mistake()

    hand = hand_of(Kind())
    clumsy = {
        "parse": structs.replace(hand, parse=mistake),
        "render": structs.replace(hand, render=render),
    }
    with monkeypatch.context() as patch:
        if where == "run":
            patch.setattr(lane.engine, "generate", mistake)
        else:
            patch.setattr(execute_module, "hand_of", lambda _kind: clumsy[where])
        answer = await answered(executor, lane, raw("hello"))
    row = msgspec.json.decode(answer.line)
    assert row["error"]["code"] == Code.INTERNAL
    assert "our own mistake" not in row["error"]["message"]
    assert row.get("key") == (None if where == "parse" else "k")
    assert timeless(answer.tally) == Tally(0, 1)
    assert "our own mistake" in caplog.text
    assert lane.places.requests == 0
    assert (await answered(executor, lane, raw("hello"))).tally.succeeded == 1


# cached contents ------------------------------------------------------------------------------


class Kept(Prefixes):
    """One cached content of 5 tokens, on a disk that refuses at times."""

    def __init__(self, *faults: Exception) -> None:
        self.reaches: list[Reach] = []
        self._faults = list(faults)

    async def whole(self, prompt: Prompt, model: str, reach: Reach) -> Prompt:
        assert model == MODEL.name
        self.reaches.append(reach)
        if self._faults:
            raise self._faults.pop(0)
        return continued(Prompt(messages=(Message("user", "a book"),)), prompt, 5)


def naming(text: str = "hello you") -> RawLine:
    contents = [{"parts": [{"text": text}]}]
    row = {"request": {"contents": contents, "cachedContent": "cachedContents/c1"}}
    data = msgspec.json.encode(row)
    return RawLine(7, 0, len(data) + 1, data)


REACH = Reach("ours", 3)


async def test_a_row_that_continues_a_cached_content_counts_its_tokens(lane: Lane) -> None:
    kept = Kept()
    executor = Executor({"echo": lane}, kept)
    answer = await executor.rows(lane, MODEL.name, Kind(), reach=REACH).answer(naming(), "b1-0")
    usage = msgspec.json.decode(answer.line)["response"]["usageMetadata"]
    assert usage == {
        "promptTokenCount": 5,
        "cachedContentTokenCount": 5,
        "candidatesTokenCount": 3,
        "totalTokenCount": 8,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 5}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
    }
    assert timeless(answer.tally) == Tally(1, 0, 5, 3, 5)
    assert kept.reaches == [REACH]


async def test_no_more_tokens_are_cached_than_there_are(lane: Lane) -> None:
    executor = Executor({"echo": lane}, Kept())
    answer = await executor.rows(lane, MODEL.name, Kind(), reach=REACH).answer(naming("x"), "b1-0")
    assert timeless(answer.tally) == Tally(1, 0, 3, 1, 3)


class Forgetful(EchoEngine):
    """Computes a cached content again for each request that continues it."""

    async def generate(self, prompt: Prompt) -> Reply:
        return await super().generate(structs.replace(prompt, cached_tokens=0))


async def test_only_what_the_engine_reused_counts_as_cached() -> None:
    async with lane_of(Forgetful(EchoOptions())) as lane:
        executor = Executor({"echo": lane}, Kept())
        rows = executor.rows(lane, MODEL.name, Kind(), reach=REACH)
        answer = await rows.answer(naming(), "b1-0")
    usage = msgspec.json.decode(answer.line)["response"]["usageMetadata"]
    assert "cachedContentTokenCount" not in usage
    assert timeless(answer.tally) == Tally(1, 0, 5, 3)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (MissingCache("CachedContent not found"), Code.NOT_FOUND),
        (BadRequest("must be the same"), Code.INVALID_ARGUMENT),
        (Damaged("caches/c1 is missing"), Code.DATA_LOSS),
        (ZeroDivisionError("our own mistake"), Code.INTERNAL),
    ],
)
async def test_a_row_whose_cached_content_cannot_be_had_is_an_error_line(
    lane: Lane, fault: Exception, code: Code
) -> None:
    executor = Executor({"echo": lane}, Kept(fault))
    answer = await executor.rows(lane, MODEL.name, Kind(), reach=REACH).answer(naming(), "b1-0")
    assert msgspec.json.decode(answer.line)["error"]["code"] == code
    assert timeless(answer.tally) == Tally(0, 1)


@pytest.mark.parametrize("fault", [StoreFault("the disk is full"), OSError("the disk refuses")])
async def test_a_row_waits_for_a_disk_that_refuses_its_cached_content(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("nightrate.clock.sleep", sleep)
    executor = Executor({"echo": lane}, Kept(fault))
    answer = await executor.rows(lane, MODEL.name, Kind(), reach=REACH).answer(naming(), "b1-0")
    assert answer.tally.succeeded == 1
    assert slept == [limits.DISK_PAUSE_SECONDS]


@pytest.mark.parametrize("reach", [None, REACH])
async def test_where_none_are_kept_none_is_found(
    executor: Executor, lane: Lane, reach: Reach | None
) -> None:
    answer = await executor.rows(lane, MODEL.name, Kind(), reach=reach).answer(naming(), "b1-0")
    error = msgspec.json.decode(answer.line)["error"]
    assert error["code"] == Code.NOT_FOUND
    assert "cachedContents/c1" in error["message"]


async def test_live_answers_and_streams_count_cached_tokens_too(lane: Lane) -> None:
    executor = Executor({"echo": lane}, Kept())
    prompt = await executor.whole(
        Prompt(messages=(Message("user", "good day"),), cache="c1"), MODEL.name, REACH
    )
    reply = Reply((Candidate("good day"),), Usage(4, 2, 4), "echo")
    assert await executor.live(MODEL, prompt) == reply
    async with aclosing(executor.stream(MODEL, prompt)) as pieces:
        assert [piece async for piece in pieces] == ["good", " day", reply]


# live -----------------------------------------------------------------------------------------


def asked(text: str) -> Prompt:
    return Prompt(messages=(Message("user", text),))


async def test_a_live_passage_becomes_a_vector(executor: Executor) -> None:
    outcome = await executor.live(MODEL, Passage(text="good day", dimensions=8))
    assert isinstance(outcome, Embedding)
    assert len(outcome.values) == 8


async def test_a_live_request_opens_an_engine_on_demand() -> None:
    engine = EchoEngine(EchoOptions())
    engine.on_demand = True
    async with lane_of(engine) as lane:
        assert isinstance(await Executor({"echo": lane}).live(MODEL, Passage(text="x")), Embedding)


async def test_a_live_request_waits_for_an_engine_on_demand_no_longer_than_its_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "OPENING_PATIENCE_SECONDS", 0.01)
    engine = EchoEngine(EchoOptions())
    engine.on_demand = True
    lane = Lane("echo", engine)  # nobody keeps it open
    outcome = await Executor({"echo": lane}).live(MODEL, Passage(text="x"))
    assert isinstance(outcome, Failure)
    assert outcome.code is Code.UNAVAILABLE
    assert "being loaded" in outcome.message


async def test_the_passages_of_a_call_succeed_or_fail_together(executor: Executor) -> None:
    texts = ("one", "two", "[[fail 8]]", "[[fail 3]]")
    passages = [Passage(text=text) for text in texts]
    good = await executor.live_all(MODEL, passages[:2])
    assert good == tuple([await executor.live(MODEL, passage) for passage in passages[:2]])
    bad = await executor.live_all(MODEL, passages)
    assert bad == Failure(Code.RESOURCE_EXHAUSTED, "Request 3: The script failed this request.")


async def test_a_passage_has_the_same_faults_as_a_prompt(executor: Executor, lane: Lane) -> None:
    outcome = await executor.live(MODEL, Passage(text="[[fail 3]]"))
    assert outcome == Failure(Code.INVALID_ARGUMENT, "The script failed this request.")
    assert lane.places.requests == 0


async def test_a_live_request_is_answered(executor: Executor) -> None:
    outcome = await executor.live(MODEL, asked("hello"))
    assert outcome == Reply((Candidate("hello"),), Usage(2, 2), "echo")


async def test_a_live_request_that_fails_has_its_failure(executor: Executor) -> None:
    outcome = await executor.live(MODEL, asked("[[fail 3]]"))
    assert isinstance(outcome, Failure)
    assert outcome.code is Code.INVALID_ARGUMENT


async def test_a_live_request_does_not_wait_for_an_engine_that_is_being_loaded() -> None:
    lane = Lane("echo", EchoEngine(EchoOptions()))
    outcome = await Executor({"echo": lane}).live(MODEL, asked("hello"))
    assert isinstance(outcome, Failure)
    assert outcome.code is Code.UNAVAILABLE
    assert "it is being loaded" in outcome.message


async def test_a_live_request_is_told_why_the_engine_cannot_run() -> None:
    lane = Lane("echo", EchoEngine(EchoOptions()))
    lane.fault = EngineDown("There is no disk space for the weights.")
    outcome = await Executor({"echo": lane}).live(MODEL, asked("hello"))
    assert isinstance(outcome, Failure)
    assert "no disk space for the weights" in outcome.message


async def test_a_live_request_whose_engine_gives_up_is_told_so(
    executor: Executor, lane: Lane
) -> None:
    await lane.engine.close()
    outcome = await executor.live(MODEL, asked("hello"))
    assert isinstance(outcome, Failure)
    assert outcome.code is Code.UNAVAILABLE


async def test_a_live_request_goes_to_the_engine_of_its_model(executor: Executor) -> None:
    other = msgspec.structs.replace(MODEL, engine="nowhere")
    assert isinstance(other, Model)
    with pytest.raises(KeyError):
        await executor.live(other, asked("hello"))


# counting -------------------------------------------------------------------------------------


async def test_tokens_are_counted_by_an_open_engine_only(executor: Executor, lane: Lane) -> None:
    assert await executor.count_tokens(MODEL, asked("hello")) == 2
    lane.opened.clear()
    failure = await executor.count_tokens(MODEL, asked("hello"))
    assert isinstance(failure, Failure)
    assert failure.code is Code.UNAVAILABLE


async def test_counting_on_an_engine_that_gives_up_is_told_so(
    executor: Executor, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(_prompt: Prompt) -> int:
        raise EngineDown("It gave up.")

    monkeypatch.setattr(lane.engine, "count_tokens", down)
    monkeypatch.setattr(lane.engine, "ready", lambda: down(asked("")))
    assert await executor.count_tokens(MODEL, asked("hello")) == Failure(
        Code.UNAVAILABLE, "It gave up."
    )


# streams --------------------------------------------------------------------------------------


async def streamed(executor: Executor, text: str) -> list[str | Outcome]:
    async with aclosing(executor.stream(MODEL, asked(text))) as pieces:
        return [piece async for piece in pieces]


async def test_a_stream_goes_the_way_of_a_live_request(executor: Executor, lane: Lane) -> None:
    *texts, reply = await streamed(executor, "good day")
    assert texts == ["good", " day"]
    assert reply == await executor.live(MODEL, asked("good day"))
    await lane.engine.close()
    (failure,) = await streamed(executor, "good day")
    assert isinstance(failure, Failure)
    assert failure.code is Code.UNAVAILABLE


async def test_a_stream_does_not_wait_for_an_engine_that_is_being_loaded() -> None:
    lane = Lane("echo", EchoEngine(EchoOptions()))
    (failure,) = await streamed(Executor({"echo": lane}), "hello")
    assert isinstance(failure, Failure)
    assert "it is being loaded" in failure.message


SEARCHED = Prompt(messages=(Message("user", "Who won?"),), lookup=LookupWish("tools[0].search"))
SEARCHED_ROW = b'{"request":{"contents":"Who won?","tools":[{"googleSearch":{}}]}}'


async def test_a_searched_answer_names_its_query_in_a_row_live_and_streamed(lane: Lane) -> None:
    executor = Executor({"echo": lane}, grounder=Grounder(EmptySearch()))
    answer = await answered(executor, lane, RawLine(1, 0, 9, SEARCHED_ROW))
    (candidate,) = msgspec.json.decode(answer.line)["response"]["candidates"]
    assert candidate["content"]["parts"] == [{"text": "Who won?"}]
    assert candidate["groundingMetadata"]["webSearchQueries"] == ["Who won?"]
    reply = await executor.live(MODEL, SEARCHED)
    assert isinstance(reply, Reply)
    assert reply.grounding == Grounding(("Who won?",))
    *texts, last = [piece async for piece in executor.stream(MODEL, SEARCHED)]
    assert "".join(map(str, texts)) == "Who won?"
    assert last == reply


async def test_a_search_that_is_refused_fails_the_request_by_its_path(
    executor: Executor, lane: Lane
) -> None:
    answer = await answered(executor, lane, RawLine(1, 0, 9, SEARCHED_ROW))
    error = msgspec.json.decode(answer.line)["error"]
    assert (error["code"], error["status"]) == (Code.UNIMPLEMENTED, "UNIMPLEMENTED")
    assert error["message"].startswith("tools[0].googleSearch: ")
    failure = await executor.live(MODEL, SEARCHED)
    assert isinstance(failure, Failure)
    assert failure.message.startswith("tools[0].search: ")
    assert [piece async for piece in executor.stream(MODEL, SEARCHED)] == [failure]


async def test_a_search_does_not_hide_that_the_request_failed(lane: Lane) -> None:
    executor = Executor({"echo": lane}, grounder=Grounder(EmptySearch()))
    prompt = msgspec.structs.replace(SEARCHED, messages=(Message("user", "[[fail 8]]"),))
    assert isinstance(await executor.live(MODEL, prompt), Failure)
