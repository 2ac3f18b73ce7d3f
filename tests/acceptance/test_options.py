"""Every option of a request means the same live, in an inline batch and in a file."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightrate.dialects.gemini_option import Option, Treatment
from nightrate.dialects.gemini_options import EMBEDDING_OPTIONS, OPTIONS
from nightrate.dialects.spelling import snake
from nightrate.domain.generation import Capability
from nightrate.engines.registry import create_engine
from nightrate.errors import Code
from tests.acceptance.answers import paths_in
from tests.acceptance.expectations import (
    HIDDEN,
    HIDDEN_BY_VECTORS,
    SCHEMAS,
    SHOWN,
    SHOWN_BY_VECTORS,
    keeps,
    shows,
)
from tests.acceptance.options import EMBEDDING_SAMPLES, HI, SAMPLES, in_snake_case
from tests.acceptance.server import START_SECONDS, Server
from tests.acceptance.wrong_options import WRONG
from tests.dialects.answer_fields import (
    ANSWER_FIELDS,
    VECTOR_FIELDS,
    AnswerField,
    Presence,
)

MODEL, VECTORS = "gemini-2.5-flash", "gemini-embedding-001"
SECONDS = 600.0

Outcome = tuple[str, Any]
"""How a request ended: ``response`` or an error's name, and the answer or the message."""


class Sender:
    """Sends requests live, in an inline batch and in a file."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def all(
        self, samples: Mapping[str, Any], model: str, verb: str, batch_verb: str
    ) -> tuple[dict[str, Outcome], dict[str, Outcome], dict[str, Outcome]]:
        """Give what became of each on the three ways, by its name."""
        live = {path: self._live(sample, model, verb) for path, sample in samples.items()}
        requests = [{"request": sample} for sample in samples.values()]
        inline = self._batch({"requests": {"requests": requests}}, model, batch_verb)
        lines = (
            msgspec.json.encode({"key": path, "request": sample})
            for path, sample in samples.items()
        )
        file_name = self.server.upload(b"\n".join(lines))
        file = self._batch({"file_name": file_name}, model, batch_verb)
        in_order = dict(zip(samples, self._inlined(inline), strict=True))
        return live, in_order, {line["key"]: _outcome(line) for line in self.server.results(file)}

    def _live(self, sample: Any, model: str, verb: str) -> Outcome:
        path = f"/v1beta/models/{model}:{verb}"
        answer = self.server.ask("POST", path, msgspec.json.encode(sample))
        document = answer.json
        return _outcome(document if "error" in document else {"response": document})

    def _batch(self, source: Any, model: str, verb: str) -> str:
        body = {"batch": {"displayName": "options", "inputConfig": source}}
        path = f"/v1beta/models/{model}:{verb}"
        answer = self.server.ask("POST", path, msgspec.json.encode(body))
        assert answer.status == 200, answer.body
        name = str(answer.json["name"])
        self.server.finish(name, SECONDS)
        return name

    def _inlined(self, name: str) -> list[Outcome]:
        output = self.server.batch(name)["response"]
        (holder,) = (value for key, value in output.items() if key.startswith("inlined"))
        return [_outcome(item) for item in holder["inlinedResponses"]]


class Ways(Sender):
    """What became of every sample, on each of the three ways."""

    def __init__(self, server: Server, engine: str) -> None:
        super().__init__(server)
        self.engine = engine
        self.capabilities = create_engine(engine, {}).capabilities
        told_apart = {option.path for option in OPTIONS if engine == "echo" or _matters(option)}
        samples = {path: _short(SAMPLES[path]) for path in SAMPLES if path in told_apart}
        samples["cachedContent"] = _short({**HI, "cachedContent": self._cache()})
        self.samples = samples
        self.live, self.inline, self.file = self.all(
            samples, MODEL, "generateContent", "batchGenerateContent"
        )
        ways = self.all(EMBEDDING_SAMPLES, VECTORS, "embedContent", "asyncBatchEmbedContent")
        self.live_vectors, self.inline_vectors, self.file_vectors = ways

    def answers(self) -> dict[str, Any]:
        """Give the live answers of those that have one, and the plainest without a path."""
        plain = self.live["contents[].role"]
        return {path: found for path, (_, found) in {**self.live, "": plain}.items()}

    def vectors(self) -> dict[str, Any]:
        """Give the same of vectors."""
        plain = self.live_vectors["content"]
        return {path: found for path, (_, found) in {**self.live_vectors, "": plain}.items()}

    def in_snake_case(self, option: Option) -> Outcome:
        """Send the sample of an option once more, in the other spelling."""
        return self._live(in_snake_case(self.samples[option.path]), MODEL, "generateContent")

    def vector_in_snake_case(self, option: Option) -> Outcome:
        """Send the sample of an option of embeddings once more, in the other spelling."""
        return self._live(in_snake_case(EMBEDDING_SAMPLES[option.path]), VECTORS, "embedContent")

    def _cache(self) -> str:
        turn = {"role": "user", "parts": [{"text": "The name of the cat is Tom."}]}
        body = {"model": f"models/{MODEL}", "contents": [turn], "ttl": "600s"}
        answer = self.server.ask("POST", "/v1beta/cachedContents", msgspec.json.encode(body))
        return str(answer.json["name"])


def _matters(option: Option) -> bool:
    """Tell whether it may matter to an option which engine answers; with hints it does not."""
    return option.treatment in (Treatment.HONOURED, Treatment.REFUSED)


def _short(sample: dict[str, Any]) -> dict[str, Any]:
    """Let an answer be short, and the same each time unless the sample says how it is drawn."""
    config = {"maxOutputTokens": 12, **sample.get("generationConfig", {})}
    if "seed" not in config:
        config.setdefault("temperature", 0)
    return {**sample, "generationConfig": config}


_PLACE = re.compile(r"^Error (?:in request|on line) \d+: (?:request\.)?")


def _outcome(document: Any) -> Outcome:
    """Leave out what may differ: ids, the place in a batch, and what only batches tell."""
    if "error" in document:
        error = document["error"]
        name = error.get("status") or Code(error["code"]).name
        return name, _PLACE.sub("", error["message"]).replace("at 'request.", "at '")
    response = dict(document["response"])
    response.pop("responseId", None)
    response.pop("tokenCount", None)
    if "usageMetadata" in response:  # What was computed a moment ago is not computed again.
        for name in ("cachedContentTokenCount", "cacheTokensDetails"):
            response["usageMetadata"].pop(name, None)
    return "response", _rounded(response)


def _rounded(value: Any) -> Any:
    """Leave out the last digits: sums of floating-point numbers depend on their order."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value


LLAMA_CPP = """
[models]
"*embedding*" = "minilm"
"*" = "llama_cpp"

[engines.llama_cpp]
slots = 4
context_tokens = 2048
threads = 1
"""
"""Settings of a server whose text comes from that engine; two busy workers share two cores."""


def _served(engine: str, folder: Path) -> Server:
    arguments = ["--engine", "echo"] if engine == "echo" else []
    if engine == "llama_cpp":
        pytest.importorskip("xllamacpp", reason="the library of the extra is not installed")
        settings = folder / "nightrate.toml"
        settings.write_text(LLAMA_CPP, "ascii")
        arguments = ["--config", str(settings)]
    server = Server(folder / "data", *arguments)
    server.start_seconds = max(START_SECONDS, SECONDS)
    return server


@pytest.fixture(scope="module")
def ways_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Ways]]:
    """Give what an engine made of every sample, asked once: tests come in any order."""
    with contextlib.ExitStack() as servers:

        @functools.cache
        def ask(engine: str) -> Ways:
            server = _served(engine, tmp_path_factory.mktemp(engine))
            servers.callback(server.close)
            return Ways(server.start(), engine)

        yield ask


@pytest.fixture(
    params=[
        "echo",
        *(pytest.param(name, marks=pytest.mark.embedded) for name in ("openvino", "llama_cpp")),
    ],
)
def ways(request: pytest.FixtureRequest, ways_of: Callable[[str], Ways]) -> Ways:
    return ways_of(request.param)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.path)
def test_an_option_means_the_same_on_every_way(ways: Ways, option: Option) -> None:
    if option.path not in ways.samples:
        pytest.skip("no engine is told of it: the answers of echo show that it changes nothing")
    live = ways.live[option.path]
    assert ways.inline[option.path] == live
    assert ways.file[option.path] == live
    _check(option, live, ways.capabilities)
    name, answer = live
    kept = option.treatment is Treatment.HONOURED and option.path.startswith(SCHEMAS)
    if kept and name == "response" and answer["candidates"][0]["finishReason"] == "STOP":
        assert keeps(option, answer)


@pytest.mark.parametrize("option", EMBEDDING_OPTIONS, ids=lambda option: option.path)
def test_an_option_of_embeddings_means_the_same_on_every_way(ways: Ways, option: Option) -> None:
    live = ways.live_vectors[option.path]
    assert ways.inline_vectors[option.path] == live
    assert ways.file_vectors[option.path] == live
    _check(option, live, ways.capabilities)


def _check(option: Option, outcome: Outcome, capabilities: frozenset[Capability]) -> None:
    """An option is served or refused as the table says, by its path and with its remedy."""
    name, found = outcome
    if option.treatment is Treatment.REFUSED:
        path = re.sub(r"\[\d+\]", "[]", found.partition(":")[0])
        assert (name, path) == ("UNIMPLEMENTED", option.path)
        assert option.says in found
    elif option.needs is None or option.needs in capabilities:
        assert name == "response", found
    else:
        assert name in {"UNIMPLEMENTED", "INVALID_ARGUMENT"}
        assert found.startswith(option.path.partition("[")[0].partition(".")[0])


echoed = pytest.mark.parametrize("ways", ["echo"], indirect=True)
"""Of the engine whose answers are known beforehand."""


@echoed
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.path)
def test_an_answer_shows_what_an_option_says(ways: Ways, option: Option) -> None:
    name, answer = ways.live[option.path]
    if name != "response" or option.path in HIDDEN:
        return
    told = shows(option, SHOWN, ways.live)
    assert told is not None, "say what shows it, or that nothing does"
    assert told(answer, ways.answers())


@echoed
@pytest.mark.parametrize("option", EMBEDDING_OPTIONS, ids=lambda option: option.path)
def test_a_vector_shows_what_an_option_says(ways: Ways, option: Option) -> None:
    name, answer = ways.live_vectors[option.path]
    if name != "response" or option.path in HIDDEN_BY_VECTORS:
        return
    told = shows(option, SHOWN_BY_VECTORS, ways.live_vectors)
    assert told is not None, "say what shows it, or that nothing does"
    assert told(answer, ways.vectors())


@echoed
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.path)
def test_an_option_means_the_same_in_snake_case(ways: Ways, option: Option) -> None:
    found, live = ways.in_snake_case(option), ways.live[option.path]
    if option.needs is not None and option.needs not in ways.capabilities:
        # What an engine cannot do is found when nobody knows any more how it was spelled.
        place, _, why = found[1].partition(": ")
        found = found[0], f"{_snake_path(place)}: {why}"
    _check_spelled(found, live)


@echoed
@pytest.mark.parametrize("option", EMBEDDING_OPTIONS, ids=lambda option: option.path)
def test_an_option_of_embeddings_means_the_same_in_snake_case(ways: Ways, option: Option) -> None:
    _check_spelled(ways.vector_in_snake_case(option), ways.live_vectors[option.path])


@echoed
def test_a_wrong_value_is_refused_by_its_path_on_every_way(ways: Ways) -> None:
    samples = {**WRONG, "": HI}  # A batch has at least one request that is none.
    live, inline, file = ways.all(samples, MODEL, "generateContent", "batchGenerateContent")
    assert inline == live
    assert file == live
    assert live.pop("")[0] == "response"
    for path, (name, message) in live.items():
        assert (name, path in message) == ("INVALID_ARGUMENT", True), message


def _check_spelled(snake_case: Outcome, camel_case: Outcome) -> None:
    """What is served is answered alike; what is not is refused by its path as it was sent."""
    if camel_case[0] == "response":
        assert snake_case == camel_case
        return
    place, _, why = camel_case[1].partition(": ")
    assert snake_case == (camel_case[0], f"{_snake_path(place)}: {why}")


def _snake_path(path: str) -> str:
    """Spell a path in snake_case; the keywords of JSON Schema are data and stay as they are."""
    before, keyword, after = path.partition("responseJsonSchema.")
    return snake(before + keyword) + after


def test_no_answer_has_a_field_that_has_no_row(ways: Ways) -> None:
    answers = [answer for name, answer in ways.live.values() if name == "response"]
    vectors = [answer for name, answer in ways.live_vectors.values() if name == "response"]
    assert set().union(*map(paths_in, answers)) <= _sent(ANSWER_FIELDS)
    assert set().union(*map(paths_in, vectors)) <= _sent(VECTOR_FIELDS)


def _sent(fields: tuple[AnswerField, ...]) -> set[str]:
    return {field.path for field in fields if field.presence is Presence.SENT}


def test_every_option_is_sent() -> None:
    sent = {*SAMPLES, "cachedContent"}
    assert sent == {option.path for option in OPTIONS}
    assert set(EMBEDDING_SAMPLES) == {option.path for option in EMBEDDING_OPTIONS}
