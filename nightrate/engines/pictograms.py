"""The pictograms of a font, found by words: their Unicode names, and what else they are called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from nightrate.engines.pictogram_words import KINDS, OTHER_NAMES, SCENES, UNNAMED

WORDS_OF_NAME_MAX: Final = 4
"""The longest name that is looked for in a text, in words."""

_OLDER: Final = frozenset("⌚⌛⌨⏰⏳☀☁☂☃☄☎☔☕☘☠⚓⚖⚗⚙⚛⚽⚾⛄⛅⛈⛏⛓⛩⛪⛰⛱⛲⛴⛵⛷⛸⛺⛽✂✈✉✏✨❄❤⭐⚔")
"""Pictograms from before there was a range for them."""

_NO_THINGS: Final = re.compile(
    r"\b(SYMBOL|SIGN|SQUARED?|CIRCLE|INDICATOR|MODIFIER|COMPONENT|\w+WARDS ARROW|ARROWS"
    r"|CLOCK FACE|BUTTON|TRIANGLE|KEYCAP|INPUT|REVERSED|SILHOUETTE"
    r"|POINTING (BACKHAND|AT)|BRIGHTNESS|MINUS|PLUS|EQUALS|LITTER"
    r"|NO (BICYCLES|PEDESTRIANS|MOBILE PHONES)|SMOKING|OFF|MODE|CONTROL)\b"
)
"""In names of what is a mark and no thing."""

_FILLER: Final = frozenset({"face", "black", "white", "emblem", "ornament", "medium", "heavy"})
_BESIDE: Final = re.compile(r"\b(?:with|over|on|behind|at|in|without|under)\b")
_ASIDE: Final = re.compile(r"\b(?:with|over|on|behind|at|in|without|under|and)\b")
_WORD: Final = re.compile(r"[a-z0-9]+")

_IRREGULAR: Final = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "wolves": "wolf",
    "leaves": "leaf",
    "knives": "knife",
    "elves": "elf",
    "scarves": "scarf",
    "oxen": "ox",
    "dice": "die",
    "glasses": "glasses",
    "octopi": "octopus",
    "cacti": "cactus",
    "hippopotami": "hippopotamus",
}


class Pictogram(Struct, frozen=True, gc=False):
    """A pictogram, and the name by which it is meant."""

    character: str
    name: str


class Index:
    """The pictograms of a font."""

    def __init__(self, characters: Iterable[int]) -> None:
        """Take the code points that the font has."""
        self._has = frozenset(characters)
        self._names: dict[tuple[str, ...], str] = {}
        self._called: dict[str, str] = {}
        """The name of each pictogram."""
        claims: dict[tuple[str, ...], tuple[int, int, str]] = {}
        for code in sorted(self._has):
            name = _unicode_name(code)
            if name is None:
                continue
            character = chr(code)
            self._called[character] = _label(name)
            for strength, words in _readings(name):
                claim = (strength, -len(_words(name.lower())), character)
                if words not in claims or claim[:2] > claims[words][:2]:
                    claims[words] = claim
        self._names.update((words, claim[2]) for words, claim in claims.items())
        for name, character in OTHER_NAMES.items():
            if ord(character) in self._has:
                self._called.setdefault(character, name)
                self._names[singular(name)] = character

    def named(self, words: tuple[str, ...]) -> Pictogram | None:
        """Find what some words name, each in the singular."""
        character = self._names.get(words)
        return None if character is None else Pictogram(character, " ".join(words))

    def of_kind(self, words: tuple[str, ...]) -> list[Pictogram]:
        """Give what belongs to a kind, as ``("sea", "creature")``."""
        return self._known(_KINDS.get(words, ""))

    def of_scene(self, words: tuple[str, ...]) -> list[Pictogram]:
        """Give what a word brings with it."""
        return self._known(_SCENES.get(words, ""))

    def everything(self) -> list[Pictogram]:
        """Give all, by their own names."""
        return self._known("".join(self._called))

    def beginning(self, letter: str, among: list[Pictogram]) -> list[Pictogram]:
        """Choose those that have a name with that first letter, and call them so."""
        letter = letter.lower()
        others = {character: name for name, character in OTHER_NAMES.items() if name[0] == letter}
        found: dict[str, Pictogram] = {}
        for one in among:
            own = self._called[one.character]
            name = own if own[0] == letter else others.get(one.character, "")
            if name:
                found.setdefault(name, Pictogram(one.character, name))
        return list(found.values())

    def _known(self, characters: str) -> list[Pictogram]:
        return [Pictogram(one, self._called[one]) for one in characters if one in self._called]


def words_of(text: str) -> list[str]:
    """Cut a text into words, in small letters."""
    return _WORD.findall(text.lower())


def singular(words: str | Iterable[str]) -> tuple[str, ...]:
    """Give each word as if there were one of it; a wrong guess is the same on both sides."""
    return tuple(map(_one, words_of(words) if isinstance(words, str) else words))


def _one(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or word.endswith(("ss", "us", "is")):  # noqa: PLR2004 - as "gas" and "bus"
        return word
    if word.endswith("ies"):
        return word[:-3] + ("ie" if len(word) < 6 else "y")  # noqa: PLR2004 - "pies", "ponies"
    if word.endswith(("ches", "shes", "xes", "sses", "toes", "goes")):
        return word[:-2]
    return word.removesuffix("s")


def _unicode_name(code: int) -> str | None:
    """Give the name of a thing; None for letters and marks."""
    character = chr(code)
    if code < 0x1F300 and character not in _OLDER:  # noqa: PLR2004 - where pictograms begin
        return None
    name = UNNAMED.get(code) or unicodedata.name(character, "")
    if not name or code > 0x1FAFF or _NO_THINGS.search(name):  # noqa: PLR2004 - where they end
        return None
    return name


def _head(name: str) -> str:
    """Give a name without what is only beside the thing: ``SUN WITH FACE`` is a sun."""
    return _ASIDE.split(name.lower())[0].strip() or name.lower()


def _label(name: str) -> str:
    """Give the name that is written and told: short, but no bare "face"."""
    short = [word for word in words_of(_BESIDE.split(name.lower())[0]) if word not in _FILLER]
    return " ".join(short or words_of(name))


def _words(name: str) -> list[str]:
    words = words_of(name)
    return [word for word in words if word not in _FILLER] or words


def _readings(name: str) -> list[tuple[int, tuple[str, ...]]]:
    """Give the words under which a pictogram is found, and how strong its claim to them is."""
    head = _words(_head(name))
    readings = [(4, singular(_words(name.lower()))), (3, singular(head))]
    if "of" in head:
        place = head.index("of")
        readings += [(2, singular(head[place + 1 :])), (1, singular(head[:place]))]
    else:
        readings.append((2, singular(head[-1:])))
    return [(strength, words) for strength, words in readings if words]


_KINDS: Final = {singular(name): characters for name, characters in KINDS.items()}
_SCENES: Final = {singular(name): characters for name, characters in SCENES.items()}
