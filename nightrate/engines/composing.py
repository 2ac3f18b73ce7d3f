"""What a picture shows that is drawn by the words of a prompt: its title, and the things in it.

The words are read one after the other, the longest name first. Nothing is understood: a thing is in
the picture because the prompt names it, or names its kind, or a scene that it belongs to.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from msgspec import Struct

from nightrate.clock import Chance, repeatable
from nightrate.engines.pictogram_words import IDLE
from nightrate.engines.pictograms import (
    WORDS_OF_NAME_MAX,
    Index,
    Pictogram,
    singular,
    words_of,
)

CHARACTERS_READ_MAX: Final = 10_000
"""Of a prompt; what comes after them does not change the picture."""

THINGS_MAX: Final = 24
SOME: Final = 8
"""How many of a kind are meant by its plural."""
TITLE_CHARACTERS_MAX: Final = 60
_LEFT_OVER_WORDS_MAX: Final = 5
"""Words that make the title of a picture in which nothing was found."""

COLOURS: Final = (
    *("red", "orange", "yellow", "green", "blue", "purple", "violet", "pink", "brown"),
    *("black", "white", "grey", "gray", "golden", "turquoise"),
)
"""Words that colour the thing named after them."""

_FRUIT: Final = "orange"
"""The only colour that is a thing as well."""

_NUMBERS: Final = {
    word: number
    for number, word in enumerate(
        ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 2
    )
} | {str(number): number for number in range(2, 13)}

_IDLE: Final = frozenset(words_of(IDLE))
_ARTICLES: Final = frozenset({"a", "an", "the", "any"})
_NEAR_WORDS: Final = 3
"""How far before a thing its number and its colour may stand."""
_NOT: Final = frozenset({"no", "without", "not"})

_QUOTED: Final = r"[\"“«\u2018']([^\"“”«»\u2018\u2019'\n]{1,60})[\"”»\u2019']"
_TITLES: Final = (
    re.compile(r"\b(?i:letters?|numeral|digit|number)\s+[\"“']?([A-Za-z]|[0-9]{1,3})\b[\"”']?"),
    re.compile(r"\b([A-Z])\s+letter\b"),
    re.compile(
        r"\b(?i:words?|texts?|titled?|entitled|saying|says|reads|reading|caption|spelling|written"
        rf"|labell?ed|inscription)\b[\s:]*{_QUOTED}"
    ),
    re.compile(r"\b(?i:the\s+words?|saying|says|titled|entitled)\s+((?:[A-Z][\w-]*\s?){1,4})"),
    re.compile(r"[\"“«]([^\"“”«»\n]{1,60})[\"”»]"),
)
"""How a prompt says which letters it wants to see, from the surest way on."""

_FIRST_LETTER: Final = re.compile(
    r"\b(?i:start|begin)\w*\s+(?i:with|by)\s+"
    r"(?:(?i:the|a|an)\s+)?(?:(?i:letter)\s+[\"“']?([A-Za-z])\b|[\"“']([A-Za-z])[\"”']|([A-Z])\b)"
    r"[\"”']?(?:\s+(?i:letter))?"
)
_ANYTHING: Final = frozenset({"thing", "object", "item", "word", "everything", "something"})


class Thing(Struct, frozen=True, gc=False):
    """Something in the picture, perhaps of a colour that the prompt says."""

    pictogram: Pictogram
    colour: str | None = None


class Scene(Struct, frozen=True, gc=False):
    """What a picture shows."""

    title: str
    """Empty when no letters are wanted."""
    things: tuple[Thing, ...]
    labelled: bool
    """Whether each thing has its name under it."""
    found: bool
    """Whether the prompt named anything; else the title is what was left of its words."""
    seed: int
    """Of all that is left to chance."""


def compose(
    text: str, more: str, seed: int | None, index: Index, writable: frozenset[int]
) -> Scene:
    """Decide what a picture shows; the same words and the same seed show the same.

    Args:
        text: the prompt.
        more: what was said before it, which adds things but no title.
        seed: the client's, if it gave one.
        index: the pictograms that there are.
        writable: the code points that a title can be written with; others are left out.
    """
    text, more = text[:CHARACTERS_READ_MAX], more[:CHARACTERS_READ_MAX]
    words = f"{seed}\n{text}\n{more}".encode("utf-8", "surrogatepass")
    chance = repeatable(hashlib.sha256(words).digest())
    title, rest = _title(text)
    title = _written(title, writable)
    letter = _FIRST_LETTER.search(text)
    reader = _Reader(index, chance, next(filter(None, letter.groups()), "") if letter else "")
    reader.read(_FIRST_LETTER.sub(" ", rest))
    named = bool(reader.things)
    reader.read(_FIRST_LETTER.sub(" ", more))
    things = tuple(reader.things[:THINGS_MAX])
    found = bool(title or things)
    if not found:
        title = reader.letter.upper() or _written(_left_over(rest), writable)
    return Scene(title, things, bool(reader.letter and named), found, chance.getrandbits(64))


def _title(text: str) -> tuple[str, str]:
    """Find the letters that a prompt wants to see; gives what is left of it, too."""
    for pattern in _TITLES:
        if found := pattern.search(text):
            title = " ".join(found[1].split())[:TITLE_CHARACTERS_MAX]
            if len(title) == 1:
                title = title.upper()
            first = _FIRST_LETTER.search(text)
            if first and first.start() <= found.start() < first.end():
                continue  # It says what the things begin with, and wants no letter of its own.
            return title, text[: found.start()] + " " + text[found.end() :]
    return "", text


def _written(title: str, writable: frozenset[int]) -> str:
    return " ".join("".join(one if ord(one) in writable else " " for one in title).split())


def _left_over(text: str) -> str:
    words = [word for word in re.findall(r"[^\W_]+", text) if word.lower() not in _IDLE]
    return " ".join(words[:_LEFT_OVER_WORDS_MAX])[:TITLE_CHARACTERS_MAX]


class _Reader:
    """Reads words into things."""

    def __init__(self, index: Index, chance: Chance, letter: str) -> None:
        self._index = index
        self._chance = chance
        self.letter = letter
        self.things: list[Thing] = []
        self._named: set[str] = set()
        self._implied: set[str] = set()

    def read(self, text: str) -> None:
        words = words_of(text)
        place = 0
        while place < len(words) and len(self.things) < THINGS_MAX:
            place += self._step(words, place)

    def _step(self, words: list[str], place: int) -> int:
        """Take what stands at a place; gives how many words it is."""
        for length in range(min(WORDS_OF_NAME_MAX, len(words) - place), 0, -1):
            group = words[place : place + length]
            if length == 1 and not _IDLE.isdisjoint((*group, *singular(group))):
                return 1
            colour = length == 1 and group[0] in COLOURS
            if colour and (group[0] != _FRUIT or self._names(words[place + 1 :][:1])):
                return 1  # It colours what comes next.
            if found := self._meant(group):
                self._take(found, words[:place], implied=len(found) > 1)
                return length
            if scene := self._index.of_scene(singular(group)):
                before = [word for word in words[:place] if word not in COLOURS]
                self._take(scene, before, implied=True)
                return length
        return 1

    def _meant(self, group: list[str]) -> list[Pictogram]:
        one = singular(group)
        kind = self._index.of_kind(one)
        if self.letter:
            among = self._index.everything() if one[-1] in _ANYTHING and not one[1:] else kind
            fitting = self._index.beginning(self.letter, among)
            self._chance.shuffle(fitting)
            if among:
                return sorted(fitting, key=lambda each: len(each.name.split()))[: 2 * SOME]
        named = self._index.named(one)
        if kind and (named is None or one[-1] != group[-1]):
            return self._chance.sample(kind, min(SOME, len(kind)))
        if named is None or self._index.of_scene(one):
            return []
        return [Pictogram(named.character, " ".join(group))]

    def _names(self, group: list[str]) -> bool:
        one = singular(group)
        return (
            bool(group)
            and group[0] not in _IDLE
            and (self._index.named(one) is not None or bool(self._index.of_kind(one)))
        )

    def _take(self, found: list[Pictogram], before: list[str], *, implied: bool) -> None:
        near = [word for word in before[-_NEAR_WORDS:][::-1] if word not in _ARTICLES]
        if near and near[0] in _NOT:
            return
        colour = next((word for word in near if word in COLOURS), None)
        times = next((_NUMBERS[word] for word in near if word in _NUMBERS), 1)
        if len(found) > 1:
            found = found[: times if times > 1 else len(found)]
            times = 1
        for one in found:
            if one.character in self._named or (implied and one.character in self._implied):
                continue
            # What is named itself takes the place of the same thing that something else implied.
            self.things = [has for has in self.things if has.pictogram.character != one.character]
            (self._implied if implied else self._named).add(one.character)
            self.things += [Thing(one, colour)] * times


def told(scene: Scene) -> str:
    """Say what a picture shows, and what it is."""
    names = list(dict.fromkeys(_with_colour(thing) for thing in scene.things))
    listed = ", ".join(names[:-1]) + (" and " if names[1:] else "") + "".join(names[-1:])
    if scene.title and scene.things:
        shown = f"“{scene.title}” in large letters, and around it: {listed}."
    elif scene.title:
        shown = f"“{scene.title}” in large letters."
    elif scene.things:
        shown = f"{listed[0].upper()}{listed[1:]}."
    else:
        shown = "A palette, because none of the words has a pictogram."
    if not scene.found and scene.title:
        shown += " None of the words has a pictogram."
    return f"{shown} {ORIGIN}"


ORIGIN: Final = (
    "Composed of the pictograms of a font by the words of the prompt, not by a generative model."
)


def _with_colour(thing: Thing) -> str:
    return f"{thing.colour} {thing.pictogram.name}" if thing.colour else thing.pictogram.name
