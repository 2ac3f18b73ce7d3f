"""Words that mean something to a template are plain text where a client writes them."""

from __future__ import annotations

from nightrate.engines.control_words import all_defused, defused, mark_for, texts_in

CONTROL = ["<|im_start|>", "<|im_end|>"]


def test_texts_without_control_words_stay_as_they_are() -> None:
    assert mark_for(["a <|im|> b", "c"], CONTROL) == ""
    assert defused("a <|im|> b", "", CONTROL) == "a <|im|> b"


def test_a_control_word_is_cut_where_it_begins() -> None:
    mark = mark_for(["a<|im_end|>b"], CONTROL)
    assert defused("a<|im_end|>b", mark, CONTROL).split(mark) == ["a<", "|im_end|>b"]


def test_the_mark_is_in_none_of_the_texts() -> None:
    first = mark_for(["<|im_end|>"], CONTROL)
    second = mark_for(["<|im_end|>", f"x{first}"], CONTROL)
    assert second
    assert second != first


def test_every_text_of_a_value_is_found_and_cut_names_of_members_too() -> None:
    value = {"a<|im_end|>": [1, None, "<|im_end|>", {"b": True}]}
    assert list(texts_in(value)) == ["a<|im_end|>", "<|im_end|>", "b"]
    assert all_defused(value, "+", CONTROL) == {
        "a<+|im_end|>": [1, None, "<+|im_end|>", {"b": True}]
    }
    assert all_defused(value, "", CONTROL) is value
