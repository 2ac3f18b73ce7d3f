"""What an engine cannot do is refused by its path, before it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec import structs

from nightrate.domain.calling import Calling, CallMode, Function
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Capability, Failure, Message, Prompt
from nightrate.domain.medium import Medium
from nightrate.domain.picture import PictureWish
from nightrate.domain.schema import ChoiceForm
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.errors import Code
from nightrate.service.abilities import unable
from nightrate.service.lane import Lane
from tests.service.lanes import lane_of
from tests.service.test_lane import REPLY, Puppet


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


@pytest.fixture
async def lane(puppet: Puppet) -> AsyncIterator[Lane]:
    async with lane_of(puppet, "puppet") as lane:
        yield lane


FORMED = Prompt(messages=(Message("user", "?"),), form=ChoiceForm(("a",), "config.schema"))
DRAWN = Prompt(
    messages=(Message("user", "?"),), picture=PictureWish(64, 64, with_text=False, field="size")
)
CALLED = Prompt(
    messages=(Message("user", "?"),),
    calling=Calling((Function("clock"),), CallMode.AUTO, "tools[0]", "toolConfig.mode"),
)


@pytest.mark.parametrize(
    ("wish", "field", "code"),
    [
        (FORMED, "config.schema: ", Code.UNIMPLEMENTED),
        (DRAWN, "size: ", Code.INVALID_ARGUMENT),
        (CALLED, "tools[0]: ", Code.UNIMPLEMENTED),
    ],
)
async def test_what_the_engine_cannot_do_is_refused_by_its_path(
    lane: Lane, puppet: Puppet, wish: Prompt, field: str, code: Code
) -> None:
    outcome = await lane.outcome(wish)
    assert isinstance(outcome, Failure)
    assert outcome.message.startswith(field)
    assert outcome.code is code
    assert [piece async for piece in lane.stream(wish)] == [outcome]
    assert not puppet.together


SHOWN = Medium(field="contents[0].parts[1].inlineData", mime_type="image/png", data="eA==")


@pytest.mark.parametrize(
    ("reads", "medium", "words"),
    [
        ((), SHOWN, "puppet, reads text, and no image/png. Leave it out, or ask a model whose"),
        (("image/jpeg", "audio/*"), SHOWN, "puppet, reads image/jpeg, audio/*, not image/png."),
        ((), Medium(field=SHOWN.field, file_id="a"), "puppet, reads text, and no media."),
        (("image/*",), SHOWN, None),
        (("audio/*",), Medium(field=SHOWN.field, file_id="a"), None),
    ],
)
async def test_media_that_the_engine_does_not_read_are_refused_by_their_path(
    lane: Lane, puppet: Puppet, reads: tuple[str, ...], medium: Medium, words: str | None
) -> None:
    puppet.media = reads
    prompt = Prompt(messages=(Message("user", "?"),), media=(medium,))
    outcome = await lane.outcome(prompt)
    if words is None:
        assert outcome == REPLY
        return
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.field) == (Code.UNIMPLEMENTED, SHOWN.field)
    assert outcome.message.startswith(f"{SHOWN.field}: the engine of this model, {words}")
    assert [piece async for piece in lane.stream(prompt)] == [outcome]
    assert not puppet.together


async def test_the_first_medium_that_is_not_read_is_named(lane: Lane, puppet: Puppet) -> None:
    puppet.media = ("image/*",)
    film = Medium(field="contents[0].parts[2].inlineData", mime_type="video/mp4", data="eA==")
    outcome = await lane.outcome(Prompt(messages=(Message("user", "?"),), media=(SHOWN, film)))
    assert isinstance(outcome, Failure)
    assert outcome.field == film.field


async def test_an_engine_that_calls_where_it_must_is_never_asked_to_decide(
    lane: Lane, puppet: Puppet
) -> None:
    puppet.abilities.add(Capability.CALLS)
    outcome = await lane.outcome(CALLED)
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.field) == (Code.UNIMPLEMENTED, "toolConfig.mode")
    assert outcome.message.startswith("toolConfig.mode: the engine of this model does not decide")
    assert not puppet.together
    assert CALLED.calling is not None
    must = structs.replace(CALLED.calling, mode=CallMode.ANY)
    assert await lane.outcome(structs.replace(CALLED, calling=must)) == REPLY


class Vectors(Puppet):
    """Knows how long its vectors are."""

    dimensions_max = 3


@pytest.mark.parametrize("field", ["outputDimensionality", "dimensions"])
async def test_a_vector_longer_than_the_models_is_refused_by_its_path(field: str) -> None:
    async with lane_of(Vectors(), "vectors") as lane:
        outcome = await lane.outcome(Passage(text="a", dimensions=4, dimensions_field=field))
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.field) == (Code.INVALID_ARGUMENT, field)
    assert outcome.message.startswith(f"{field}: the vectors of this model have 3 numbers")


@pytest.mark.parametrize(("most", "dimensions"), [(3, 3), (None, 768), (3, None)])
def test_a_vector_that_may_be_made_is_not_refused(most: int | None, dimensions: int | None) -> None:
    engine = EchoEngine(EchoOptions())
    engine.dimensions_max = most
    assert unable(engine, "echo", Passage(text="a", dimensions=dimensions)) is None
