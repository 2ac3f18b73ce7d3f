"""Long texts are cut into tokens once, and the tokens are those of the whole."""

from __future__ import annotations

import re

from nightrate.engines.token_memory import TokenMemory, sound_cuts

LONG = "word " * 500


class Words:
    """A tokenizer: control words and characters; it counts what it is asked.

    With ``spaced``, it puts a space before every text, as some tokenizers do.
    """

    def __init__(self, *, spaced: bool = False) -> None:
        self._before = " " if spaced else ""
        self.asked: list[str] = []

    def encode(self, text: str) -> list[int]:
        self.asked.append(text)
        found = re.findall(r"<\w+>|.", self._before + text, re.DOTALL)
        return [hash(word) for word in found]


class Greedy(Words):
    """A tokenizer whose control word takes the spaces before it along."""

    def encode(self, text: str) -> list[int]:
        return [hash(word) for word in re.findall(r" *<\w+>|.", text, re.DOTALL)]


def joined(parts: list[list[int]]) -> list[int]:
    return [number for part in parts for number in part]


def test_words_before_which_a_cut_changes_tokens_are_left_whole() -> None:
    assert sound_cuts(Words().encode, ["<turn>", "<end>"]) == ["<turn>", "<end>"]
    assert sound_cuts(Words(spaced=True).encode, ["<turn>"]) == []
    assert sound_cuts(Greedy().encode, ["<turn>"]) == []


def test_a_long_turn_is_cut_into_tokens_once_and_the_others_each_time() -> None:
    words = Words()
    memory = TokenMemory(words.encode, ["<turn>", "<end>"])
    texts = [f"<turn>system {LONG}<end>\n<turn>user {number}<end>\n<turn>" for number in range(3)]
    for text in texts:
        assert joined(memory.parts(text)) == Words().encode(text)
    assert [text for text in words.asked if LONG in text] == [f"<turn>system {LONG}"]
    assert words.asked[1:] == [f"<end>\n<turn>user {number}<end>\n<turn>" for number in range(3)]


def test_what_is_short_or_cannot_be_cut_is_read_as_it_is() -> None:
    words = Words()
    for memory, text in (
        (TokenMemory(words.encode, ["<turn>"]), "<turn>a<turn>b"),
        (TokenMemory(words.encode, []), f"<turn>{LONG}<turn>b"),
    ):
        words.asked.clear()
        assert memory.parts(text) == [Words().encode(text)]
        assert words.asked == [text]


def test_the_turns_used_last_are_kept() -> None:
    words = Words()
    first, second, third = (f"<turn>{LONG}{number}" for number in range(3))
    memory = TokenMemory(words.encode, ["<turn>"], characters_max=2 * len(first))
    for text in (first, second, first, third):
        memory.parts(text)
    words.asked.clear()
    for text in (first, third, second):
        assert joined(memory.parts(text)) == Words().encode(text)
    assert words.asked == [second]
    giant = f"<turn>{LONG * 3}"
    assert memory.parts(giant) == [Words().encode(giant)]
    words.asked.clear()
    memory.parts(giant)
    assert words.asked == [giant]
