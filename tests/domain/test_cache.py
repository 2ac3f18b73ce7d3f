"""A kept beginning and the prompt that continues it become one."""

from __future__ import annotations

from msgspec import structs

from nightrate.domain.cache import continued
from nightrate.domain.generation import Message, Prompt, Sampling
from nightrate.domain.grounding import LookupWish
from nightrate.domain.medium import Medium, Resolution
from nightrate.domain.picture import PictureWish
from nightrate.domain.schema import ChoiceForm

BOOK = Prompt(messages=(Message("user", "a book"), Message("model", "read")), system="Be brief.")
ASKED = Prompt(messages=(Message("user", "who?"),), sampling=Sampling(seed=1), cache="c1")


def test_the_beginning_comes_first_and_the_drawing_is_the_prompts() -> None:
    assert continued(BOOK, ASKED, 7) == Prompt(
        messages=(*BOOK.messages, *ASKED.messages),
        system="Be brief.",
        sampling=Sampling(seed=1),
        cached_tokens=7,
    )


def test_a_beginning_may_be_instructions_alone_and_its_prompt_may_have_no_turns() -> None:
    system = Prompt(messages=(), system="Be brief.")
    assert continued(system, ASKED, 3).messages == ASKED.messages
    assert continued(BOOK, Prompt(messages=(), cache="c1"), 3).messages == BOOK.messages


def test_media_of_both_keep_their_turns_and_the_beginning_is_to_blame_for_its_own() -> None:
    kept = Medium(turn=1, offset=2, field="contents[1].parts[0].fileData", file_id="a")
    own = Medium(turn=0, offset=1, field="contents[0].parts[1].inlineData", data="eA==")
    book, asked = structs.replace(BOOK, media=(kept,)), structs.replace(ASKED, media=(own,))
    asked = structs.replace(asked, resolution=Resolution.LOW, thoughts=True)
    joined = continued(book, asked, 7)
    assert joined.media == (
        structs.replace(kept, field="cachedContent"),
        structs.replace(own, turn=2),
    )
    assert joined.resolution is Resolution.LOW
    assert joined.thoughts
    assert continued(book, ASKED, 7).media == (structs.replace(kept, field="cachedContent"),)
    assert continued(BOOK, asked, 7).media == (structs.replace(own, turn=2),)


def test_form_and_picture_are_the_prompts_and_the_search_is_the_beginnings() -> None:
    search = LookupWish("tools[0].googleSearch")
    picture = PictureWish(16, 16, with_text=True, field="modalities")
    drawn = Prompt(messages=(), lookup=search, picture=picture)
    formed = Prompt(messages=ASKED.messages, form=ChoiceForm(("a",), "schema"), cache="c1")
    joined = continued(drawn, formed, 3)
    assert (joined.form, joined.picture, joined.lookup) == (formed.form, None, search)
    assert continued(BOOK, Prompt(messages=(), picture=picture), 3).picture == picture
