"""What a picture shows is what the words of the prompt name, imply or spell, and nothing else."""

from __future__ import annotations

import pytest

from nightrate.engines.composing import (
    CHARACTERS_READ_MAX,
    ORIGIN,
    SOME,
    THINGS_MAX,
    Scene,
    compose,
    told,
)
from nightrate.engines.pictogram_words import KINDS
from nightrate.engines.pictograms import Index

pytestmark = pytest.mark.embedded


@pytest.fixture
def composed(index: Index, writable: frozenset[int]) -> Composer:
    return Composer(index, writable)


class Composer:
    """Composes with the real font."""

    def __init__(self, index: Index, writable: frozenset[int]) -> None:
        self.index = index
        self.writable = writable

    def __call__(self, text: str, more: str = "", seed: int | None = None) -> Scene:
        return compose(text, more, seed, self.index, self.writable)


def drawn(scene: Scene) -> str:
    return "".join(thing.pictogram.character for thing in scene.things)


@pytest.mark.parametrize("letter", ["A", "B", "M"])
@pytest.mark.parametrize(
    "words",
    [
        "A big letter {} surrounded by animals starting with the {} letter",
        "the letter '{}' and animals whose names begin with {}",
        "Draw a letter “{}” with animals that start with the letter “{}”.",
    ],
)
def test_a_letter_is_surrounded_by_animals_that_begin_with_it(
    composed: Composer, words: str, letter: str
) -> None:
    scene = composed(words.format(letter, letter))
    assert scene.title == letter
    assert len(scene.things) >= 4
    assert scene.labelled
    for thing in scene.things:
        assert thing.pictogram.name[0] == letter.lower()
        assert thing.pictogram.character in KINDS["animal"]


def test_things_of_any_kind_can_begin_with_a_letter(composed: Composer) -> None:
    scene = composed("Objects beginning with the letter k")
    assert {"key", "kite"} <= {thing.pictogram.name for thing in scene.things}
    assert scene.title == ""


def test_a_letter_that_no_pictogram_begins_with_stands_alone(composed: Composer) -> None:
    scene = composed("animals that start with X")
    assert (scene.title, scene.things, scene.found) == ("X", (), False)


@pytest.mark.parametrize(
    ("text", "things"),
    [
        *(("a cat", "🐈"), ("A cat sitting on the moon.", "🐈🌙"), ("Two cats", "🐈🐈")),
        *(("3 red balloons over a castle", "🎈🎈🎈🏰"), ("a cat without a dog", "🐈")),
        *(("a hot dog", "🌭"), ("a fire truck and a fire", "🚒🔥"), ("cat, cat and cat", "🐈")),
        *(("an orange orange", "🍊"), ("a picture of the face of a light", "")),
        *(("winter", "❄⛄🧣🧤🎿🛷"), ("a teddy bear at night", "🧸🌙⭐🦉🌠")),
        *(("two fruits of the garden without zebras", None), ("a flower", "🌼")),
        *(("a happy red panda munching green bamboo", "🐼"), ("the number of cats", "🐈")),
    ],
)
def test_words_become_the_things_that_they_name(
    composed: Composer, text: str, things: str | None
) -> None:
    scene = composed(text)
    if things is None:
        assert drawn(scene)[2:] == "🌷🌻🌹🦋🐝🌱🪴"
        assert set(drawn(scene)[:2]) < set(KINDS["fruit"])
    else:
        assert drawn(scene) == things
        assert not scene.labelled


def test_a_plural_of_a_kind_is_some_of_it(composed: Composer) -> None:
    scene = composed("birds")
    assert len(set(drawn(scene))) == SOME
    assert set(drawn(scene)) <= set(KINDS["bird"])


def test_what_is_named_takes_the_place_of_what_was_implied(composed: Composer) -> None:
    for text in ("a rainforest with two red parrots", "two red parrots in a rainforest"):
        scene = composed(text)
        assert [one.colour for one in scene.things if one.pictogram.character == "🦜"] == [
            *("red", "red")
        ]
        assert "🐒" in drawn(scene)


def test_a_colour_belongs_to_the_thing_after_it(composed: Composer) -> None:
    scene = composed("a red car, two big blue cats and a boat on the green sea")
    assert [(one.pictogram.name, one.colour) for one in scene.things[:4]] == [
        *(("car", "red"), ("cats", "blue"), ("cats", "blue"), ("boat", None)),
    ]
    assert all(one.colour is None for one in scene.things[4:])


@pytest.mark.parametrize(
    ("text", "title"),
    [
        *(("the letter b", "B"), ("a Q letter", "Q"), ("the number 42", "42")),
        *(("the word HELLO in the sky", "HELLO"), ("a sign saying 'Open now'", "Open now")),
        *(
            ('cake with "Happy  Birthday"', "Happy Birthday"),
            ("a poster titled Big News", "Big News"),
        ),
        *(("the word “漢字”", ""), ("a love letter to you", ""), ("a cat's home", "")),
    ],
)
def test_letters_that_are_asked_for_are_the_title(
    composed: Composer, text: str, title: str
) -> None:
    assert composed(text).title == title


def test_the_words_are_the_title_where_nothing_is_found(composed: Composer) -> None:
    scene = composed("Please draw the abstract notion of liberté, please")
    assert scene.title == "abstract notion liberté"
    assert not scene.found
    assert composed("of the").title == ""
    assert composed("漢字 \ud800").title == ""
    assert composed("").title == ""


def test_what_was_said_before_adds_things_and_no_title(composed: Composer) -> None:
    scene = composed("a cat", "the letter Z with a dog and a cat")
    assert (drawn(scene), scene.title) == ("🐈🐕", "")


def test_the_same_words_and_seed_show_the_same(composed: Composer) -> None:
    assert composed("birds", seed=1) == composed("birds", seed=1)
    scenes = [composed("birds", seed=seed) for seed in (None, 1, 2)]
    assert len({scene.seed for scene in scenes}) == 3


def test_a_long_prompt_is_read_as_far_as_its_bound(composed: Composer) -> None:
    assert drawn(composed("x" * CHARACTERS_READ_MAX + " cat")) == ""
    crowd = composed("twelve 12 cats 12 dogs 12 birds")
    assert len(crowd.things) == THINGS_MAX


def test_the_text_says_what_is_shown_and_what_it_is(composed: Composer) -> None:
    said = told(composed("A letter A with a red ant and a cat"))
    assert said == f"“A” in large letters, and around it: red ant and cat. {ORIGIN}"
    assert told(composed("a cat")) == f"Cat. {ORIGIN}"
    assert told(composed("the letter A")) == f"“A” in large letters. {ORIGIN}"
    assert "None of the words has a pictogram." in told(composed("liberté"))
    assert "none of the words" in told(composed("漢字"))
    assert "generative model" in ORIGIN
