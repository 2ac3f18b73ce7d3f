"""Requests that name a cached content begin with it: rightly, and without reading it each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightrate import limits
from nightrate.domain.cache import Cache, Reach
from nightrate.domain.calling import Calling, CallMode, Function
from nightrate.domain.generation import LogprobsWish, Message, Prompt
from nightrate.domain.picture import PictureWish
from nightrate.domain.schema import ChoiceForm
from nightrate.errors import BadRequest, Damaged, MissingCache
from nightrate.service.prefixes import Prefixes
from nightrate.testing.store_caches import make_cache
from nightrate.testing.store_samples import END, NOW, OURS, THEIRS
from tests.service.home import Home, opened

REACH = Reach(OURS, NOW)


class Shelf:
    """Cached contents, and how often one of them was read."""

    def __init__(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.prefixes = Prefixes(home.store, home.blobs)
        self.read: list[str] = []
        open_blob = home.blobs.open

        async def noted(name: str) -> object:
            self.read.append(name.rpartition("/")[2])
            await asyncio.sleep(0)
            return await open_blob(name)

        monkeypatch.setattr(home.blobs, "open", noted)

    async def keep(self, cache_id: str = "c1", **kept: object) -> Cache:
        content = msgspec.json.encode(kept or {"contents": f"book {cache_id}"})
        cache = msgspec.structs.replace(make_cache(cache_id), size_bytes=len(content))
        await self.home.blobs.put(cache.blob, [content])
        await self.home.store.add_cache(cache, 99)
        return cache

    async def whole(
        self, cache_id: str = "c1", text: str = "who?", model: str = "m", reach: Reach = REACH
    ) -> Prompt:
        messages = (Message("user", text),) if text else ()
        prompt = Prompt(messages=messages, cache=cache_id)
        return await self.prefixes.whole(prompt, model, reach)


@pytest.fixture
async def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shelf]:
    async with opened(tmp_path) as home:
        yield Shelf(home, monkeypatch)


async def test_a_prompt_begins_with_what_it_names(shelf: Shelf) -> None:
    await shelf.keep(contents="book", systemInstruction="Be brief.")
    assert await shelf.whole() == Prompt(
        messages=(Message("user", "book"), Message("user", "who?")),
        system="Be brief.",
        cached_tokens=7,
    )


async def test_a_prompt_that_names_none_is_whole_already(shelf: Shelf) -> None:
    prompt = Prompt(messages=(Message("user", "who?"),))
    assert await shelf.prefixes.whole(prompt, "m", REACH) is prompt


@pytest.mark.parametrize(
    ("cache_id", "reach"),
    [("c2", REACH), ("c1", Reach(THEIRS, NOW)), ("c1", Reach(OURS, END))],
    ids=["never made", "of another tenant", "expired"],
)
async def test_what_is_out_of_reach_is_missing(shelf: Shelf, cache_id: str, reach: Reach) -> None:
    await shelf.keep()
    await shelf.whole()
    with pytest.raises(MissingCache, match=f"permission denied.*cachedContents/{cache_id}"):
        await shelf.whole(cache_id, reach=reach)


async def test_another_model_cannot_continue_it(shelf: Shelf) -> None:
    await shelf.keep()
    with pytest.raises(BadRequest, match=r"models/other.*models/m.*must be the same"):
        await shelf.whole(model="other")
    assert shelf.read == []


async def test_somebody_must_have_said_something(shelf: Shelf) -> None:
    await shelf.keep("c1", systemInstruction="Be brief.")
    assert (await shelf.whole("c1")).system == "Be brief."
    with pytest.raises(BadRequest, match="contents"):
        await shelf.whole("c1", text="")
    await shelf.keep("c2", contents="book")
    assert (await shelf.whole("c2", text="")).messages == (Message("user", "book"),)


async def test_it_is_read_once_however_many_ask(shelf: Shelf) -> None:
    await shelf.keep()
    whole = await asyncio.gather(*(shelf.whole(text=str(number)) for number in range(9)))
    assert {prompt.messages[0].text for prompt in whole} == {"book c1"}
    assert [prompt.messages[1].text for prompt in whole] == [str(number) for number in range(9)]
    assert shelf.read == ["c1"]


async def test_memory_holds_those_that_were_used_last(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [(await shelf.keep(name)).size_bytes for name in ("c1", "c2", "c3")]
    monkeypatch.setattr(limits, "PREFIXES_HELD_BYTES_MAX", sum(sizes[:2]))
    for name in ("c1", "c2", "c1", "c3", "c1", "c2"):
        await shelf.whole(name)
    assert shelf.read == ["c1", "c2", "c3", "c2"]


async def test_one_that_is_larger_than_memory_holds_is_read_each_time(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shelf.keep()
    monkeypatch.setattr(limits, "PREFIXES_HELD_BYTES_MAX", 1)
    await shelf.whole()
    await shelf.whole()
    assert shelf.read == ["c1", "c1"]


async def test_what_was_forgotten_is_not_held(shelf: Shelf) -> None:
    cache = await shelf.keep()
    await shelf.whole()
    shelf.prefixes.forget(cache.blob)
    shelf.prefixes.forget(cache.blob)
    await shelf.whole()
    assert shelf.read == ["c1", "c1"]


async def test_one_that_is_deleted_while_it_is_read_is_missing(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = await shelf.keep()
    open_blob = shelf.home.blobs.open

    async def late(name: str) -> object:
        await shelf.home.store.delete_cache(OURS, "c1", NOW)
        await shelf.home.blobs.delete(cache.blob)
        return await open_blob(name)

    monkeypatch.setattr(shelf.home.blobs, "open", late)
    with pytest.raises(MissingCache):
        await shelf.whole()


async def test_bytes_that_are_gone_without_being_deleted_are_damage(shelf: Shelf) -> None:
    cache = await shelf.keep()
    await shelf.home.blobs.delete(cache.blob)
    with pytest.raises(Damaged):
        await shelf.whole()


# functions ------------------------------------------------------------------------------------

TOOLS = [{"functionDeclarations": [{"name": "clock"}]}]
CALLING = Calling((Function("clock"),), CallMode.AUTO, "tools", "tool_choice")
ASKED = Prompt(messages=(Message("user", "who?"),), cache="c1")


async def test_functions_that_are_kept_can_be_called(shelf: Shelf) -> None:
    config = {"functionCallingConfig": {"mode": "ANY"}}
    await shelf.keep(contents="book", tools=TOOLS, toolConfig=config)
    calling = (await shelf.whole()).calling
    assert calling is not None
    assert (calling.functions, calling.mode) == ((Function("clock"),), CallMode.ANY)


async def test_functions_beside_those_that_are_kept_are_not_dropped(shelf: Shelf) -> None:
    await shelf.keep(contents="book")
    prompt = msgspec.structs.replace(ASKED, calling=CALLING)
    assert (await shelf.prefixes.whole(prompt, "m", REACH)).calling == CALLING


@pytest.mark.parametrize(
    ("kept", "beside", "field"),
    [
        (TOOLS, {"calling": CALLING}, "tools"),
        (TOOLS, {"form": ChoiceForm(("a",), "config.schema")}, "config.schema"),
        (TOOLS, {"picture": PictureWish(64, 64, with_text=True, field="size")}, "size"),
        (TOOLS, {"logprobs": LogprobsWish(0, "config.logprobs")}, "config.logprobs"),
        ([{"googleSearch": {}}], {"calling": CALLING}, "tools"),
    ],
)
async def test_what_an_answer_cannot_be_all_at_once_is_refused_by_its_path(
    shelf: Shelf, kept: object, beside: dict[str, Any], field: str
) -> None:
    await shelf.keep(contents="book", tools=kept)
    with pytest.raises(BadRequest, match=rf"^{field}: the cached content ") as refused:
        await shelf.prefixes.whole(msgspec.structs.replace(ASKED, **beside), "m", REACH)
    assert refused.value.field == field
