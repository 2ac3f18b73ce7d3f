"""Pictograms are found by their names, by other names that are true, by kinds and by scenes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from nightrate.engines.font_files import characters_of
from nightrate.engines.illustrating import Fonts
from nightrate.engines.pictogram_words import KINDS, OTHER_NAMES, SCENES
from nightrate.engines.pictograms import Index, singular

SOME = frozenset(map(ord, "🐈🐱🐜🦍🔴☀A🍕🚒🔥🐘🎈🐻"))
"""Without the font: cat, its face, ant, gorilla, a mark, the sun, a letter and others."""


@pytest.fixture
def few() -> Index:
    return Index(SOME)


def found(index: Index, words: str) -> str | None:
    pictogram = index.named(singular(words))
    return None if pictogram is None else pictogram.character


@pytest.mark.parametrize(
    ("words", "character"),
    [
        *(("cat", "🐈"), ("Cats", "🐈"), ("bear", "🐻"), ("sun", "☀")),
        *(("pizza", "🍕"), ("slice of pizza", "🍕"), ("slice", "🍕")),
        *(("fire engine", "🚒"), ("engine", "🚒"), ("fire", "🔥"), ("balloons", "🎈")),
    ],
)
def test_a_name_finds_the_pictogram_that_it_fits_best(
    few: Index, words: str, character: str
) -> None:
    assert found(few, words) == character


@pytest.mark.parametrize("words", ["red circle", "a", "letter", "dog", "face of"])
def test_marks_letters_and_what_the_font_lacks_are_not_found(few: Index, words: str) -> None:
    assert found(few, words) is None


def test_a_first_letter_chooses_names_that_are_true(few: Index) -> None:
    animals = few.of_kind(("animal",))
    assert {one.character for one in animals} == set("🐈🐜🦍🐘🐻")
    assert [(one.character, one.name) for one in few.beginning("A", animals)] == [
        ("🐜", "ant"),
        ("🦍", "ape"),
    ]
    assert [one.name for one in few.beginning("e", animals)] == ["elephant"]
    assert few.beginning("x", few.everything()) == []


def test_a_name_that_is_told_is_short_but_says_something() -> None:
    names = {one.name for one in Index(map(ord, "🥳🍽🌞🐱🌅")).everything()}
    assert names == {
        "face with party horn and party hat",
        *("fork and knife", "sun", "cat", "sunrise"),
    }


def test_kinds_and_scenes_have_what_the_font_has(few: Index) -> None:
    assert [one.character for one in few.of_scene(("zoo",))] == ["🐘"]
    assert few.of_scene(("nothing",)) == few.of_kind(("nothing",)) == []


@pytest.mark.parametrize(
    ("many", "one"),
    [
        *(("ants", "ant"), ("foxes", "fox"), ("ponies", "pony"), ("pies", "pie")),
        *(("wolves", "wolf"), ("buses", "buse"), ("glass", "glass"), ("octopus", "octopus")),
        *(("hot dogs", "hot dog"), ("peaches", "peach"), ("gas", "gas"), ("fish", "fish")),
    ],
)
def test_names_are_compared_as_if_there_were_one(many: str, one: str) -> None:
    assert singular(many) == tuple(one.split())


@pytest.mark.embedded
def test_every_pictogram_that_a_word_is_put_down_for_is_in_the_font(fonts: Fonts) -> None:
    has = {chr(code) for code in characters_of(fonts.pictograms)}
    for words in (OTHER_NAMES, KINDS, SCENES):
        assert {
            name: set(wanted) - has for name, wanted in words.items() if set(wanted) - has
        } == {}


@pytest.mark.embedded
def test_every_word_that_is_put_down_finds_what_it_shall(index: Index) -> None:
    for name, character in OTHER_NAMES.items():
        assert found(index, name) == character
    for name, characters in KINDS.items():
        assert len(index.of_kind(singular(name))) == len(set(characters)), name
    for name, characters in SCENES.items():
        assert len(index.of_scene(singular(name))) == len(set(characters)), name


# the font ---------------------------------------------------------------------------------------


def font_of(*tables: tuple[int, bytes]) -> bytes:
    """Make a font that has nothing but its tables of characters, each of a format."""
    heads = b"".join(
        struct.pack(">HHI", 3, 10, 4 + 8 * len(tables) + sum(len(one) + 2 for _, one in tables[:n]))
        for n in range(len(tables))
    )
    bodies = b"".join(struct.pack(">H", kind) + body for kind, body in tables)
    cmap = struct.pack(">HH", 0, len(tables)) + heads + bodies
    return (
        b"\0\1\0\0"
        + struct.pack(">HHHH", 1, 0, 0, 0)
        + struct.pack(">4sIII", b"cmap", 0, 28, len(cmap))
        + cmap
    )


def runs(*pairs: tuple[int, int]) -> bytes:
    groups = b"".join(struct.pack(">III", first, last, 1) for first, last in pairs)
    return struct.pack(">HIII", 0, 16 + len(groups), 0, len(pairs)) + groups


def test_a_font_says_which_characters_it_has(tmp_path: Path) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(font_of((4, b"1234"), (12, runs((65, 67), (0x1F41C, 0x1F41C)))))
    assert characters_of(path) == {65, 66, 67, 0x1F41C}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "breaks off"),
        (b"\0\1" + bytes(10), "has no table"),
        (font_of((4, b"1234")), "no table of all"),
        (font_of((12, runs((65, 67))))[:-8], "breaks off"),
    ],
)
def test_what_is_no_font_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        characters_of(path)
