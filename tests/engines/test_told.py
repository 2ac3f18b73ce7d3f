"""What the template of a model is told of a conversation, of functions and of earlier calls."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import json, structs

from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.generation import Message, Prompt
from nightrate.domain.schema import Choice, Member, Object, Schema
from nightrate.engines.call_syntaxes import syntax_of
from nightrate.engines.instructions import system_of
from nightrate.engines.told import Told, decides, ways_to_tell
from nightrate.engines.vllm_model import Model
from nightrate.errors import RequestFailed
from tests.engines.trained import BARE, LISTED, TAGGED

TAGS = syntax_of(TAGGED)
CONTROL = ["<|im_start|>", "<|im_end|>", "[INST]"]
END = "<|im_end|>"

WEATHER = Function(
    "weather",
    f"Tells it.{END}",
    Schema(
        Object(members=(Member(f"city{END}", Choice(values=(f"Oslo{END}", 3)), required=True),)),
    ),
)
FREE = Calling((WEATHER, Function("clock")), CallMode.AUTO, "tools", "mode")
MUST = structs.replace(FREE, mode=CallMode.ANY)

ASKED = Message("user", f"Oslo?{END}")
CALLED = Message("model", "", calls=(Call("weather", '{"city": "\\u003c|im_end|>", "days": 1}'),))
ANSWERED = Message("user", "", results=(CallResult("weather", f'{{"sky":"clear{END}"}}'),))
CONVERSATION = Prompt(messages=(ASKED, CALLED, ANSWERED), system=f"Be kind.{END}", calling=FREE)


def first(prompt: Prompt, template: str = TAGGED) -> Told:
    return next(ways_to_tell(prompt, CONTROL, syntax_of(template)))


def plain(told: Told) -> list[dict[str, Any]]:
    """Give turns as they would be without marks."""
    without = json.encode(told.turns).decode().replace(told.mark, "") if told.mark else ""
    turns: list[dict[str, Any]] = json.decode(without) if told.mark else told.turns
    return turns


def test_calls_and_results_are_told_as_such_and_find_each_other_by_an_id() -> None:
    call = {"name": "weather", "arguments": {"city": END, "days": 1}}
    assert plain(first(CONVERSATION)) == [
        {"role": "system", "content": f"Be kind.{END}"},
        {"role": "user", "content": f"Oslo?{END}"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call00001", "type": "function", "function": call}],
        },
        {
            "role": "tool",
            "name": "weather",
            "content": f'{{"sky":"clear{END}"}}',
            "tool_call_id": "call00001",
        },
    ]


def test_functions_are_told_as_objects_with_their_json_schema() -> None:
    told = first(structs.replace(CONVERSATION, calling=Calling((Function("clock"),), *"amf")))
    assert told.tools is None  # "a" is no mode: nobody decides.
    told = first(structs.replace(CONVERSATION, messages=(Message("user", "x"),), system=None))
    assert told.tools is not None
    weather, clock = told.tools
    assert clock == {
        "type": "function",
        "function": {
            "name": "clock",
            "description": "",
            "parameters": {"type": "object", "additionalProperties": False},
        },
    }
    assert weather["function"]["parameters"]["required"] == [f"city<{told.mark}|im_end|>"]


def test_no_control_word_of_a_client_is_whole_wherever_it_stands() -> None:
    for told in ways_to_tell(CONVERSATION, CONTROL, TAGS, alternate=True):
        assert told.mark
        whole = json.encode([told.turns, told.tools]).decode()
        assert f"<{told.mark}|im_end|>" in whole
        assert not any(word in whole for word in CONTROL)
        assert told.pieces(f"a{told.mark}b") == ["a", "b"]


def test_what_has_no_control_words_is_not_marked() -> None:
    told = first(Prompt(messages=(Message("user", "Hi [INST"),)))
    assert told.mark == ""
    assert told.pieces("a\ue000b") == ["a\ue000b"]


def test_who_decides_reads_no_instruction_and_who_must_call_does() -> None:
    assert decides(CONVERSATION)
    assert plain(first(CONVERSATION))[0]["content"] == CONVERSATION.system
    must = structs.replace(CONVERSATION, calling=MUST)
    assert not decides(must)
    told = first(must)
    assert told.tools is None
    assert plain(told)[0]["content"] == system_of(must)
    assert plain(told)[2]["tool_calls"]


def test_a_model_that_was_not_trained_is_told_in_words_and_of_no_tools() -> None:
    for calling in (MUST, None):
        prompt = structs.replace(CONVERSATION, calling=calling)
        (told,) = ways_to_tell(prompt, CONTROL, None)
        assert told.tools is None
        assert [turn["role"] for turn in told.turns] == ["system", "user", "assistant", "user"]
        assert plain(told)[2]["content"].startswith("I call weather with {")


def test_words_come_after_calls_as_such_and_at_last_without_a_system() -> None:
    native, worded, strict = ways_to_tell(CONVERSATION, CONTROL, TAGS, alternate=True)
    assert [turn["role"] for turn in native.turns] == ["system", "user", "assistant", "tool"]
    assert [turn["role"] for turn in worded.turns] == ["system", "user", "assistant", "user"]
    assert [turn["role"] for turn in strict.turns] == ["user", "assistant", "user"]
    assert native.tools is not None
    assert len(native.tools) == len(worded.tools or []) == len(strict.tools or []) == 2


def test_words_beside_a_call_have_a_turn_of_their_own_where_a_template_passes_them_over() -> None:
    talking = structs.replace(CALLED, text=f" I look.{END}")
    prompt = structs.replace(CONVERSATION, messages=(ASKED, talking, ANSWERED))
    beside, apart, worded = ways_to_tell(prompt, CONTROL, TAGS)
    assert not beside.kept_in("Oslo?")
    assert not beside.kept_in(f"I look.{END}")
    assert beside.kept_in(f"I look.<{beside.mark}|im_end|>")
    assert [turn["content"] for turn in plain(apart)[2:4]] == [f" I look.{END}", ""]
    assert apart.kept_in("")
    assert worded.kept_in("")


def test_several_calls_of_a_turn_and_what_is_said_after_results_keep_their_order() -> None:
    calls = (Call("weather", "{}"), Call("weather", "{}", "own"))
    results = (CallResult("weather", "two", "own"), CallResult("weather", "one"))
    messages = (
        Message("model", "", calls=calls),
        Message("user", "Well?", results=(*results, CallResult("sun", "up"))),
    )
    called, *told = plain(first(Prompt(messages=messages)))
    assert [call["id"] for call in called["tool_calls"]] == ["call00001", "call00002"]
    assert [(turn["role"], turn["content"], turn.get("tool_call_id")) for turn in told] == [
        ("tool", "two", "call00002"),
        ("tool", "one", "call00001"),
        ("user", "sun returned up.", None),
        ("user", "Well?", None),
    ]


def test_arguments_that_nest_too_deep_are_told_in_words() -> None:
    deep = Call("weather", '{"a":' + "[" * 200 + "]" * 200 + "}")
    prompt = Prompt(messages=(Message("model", "", calls=(deep,)),), calling=FREE)
    (told,) = ways_to_tell(prompt, CONTROL, TAGS)
    assert told.turns[0]["content"].startswith("I call weather with")


def test_a_template_that_tells_no_calls_is_told_of_them_in_words() -> None:
    untold = syntax_of("{{ tools }} <tool_call> arguments")
    (told,) = ways_to_tell(CONVERSATION, CONTROL, untold)
    assert told.turns[2]["content"].startswith("I call weather with")
    assert told.tools is not None


def test_a_beginning_without_turns_can_be_told_without_functions() -> None:
    """Some templates write these with the first turn, and refuse to write them without one."""
    beginning = structs.replace(CONVERSATION, messages=())
    whole, least = ways_to_tell(beginning, CONTROL, TAGS)
    assert whole.tools is not None
    assert least.tools is None
    assert plain(whole) == plain(least) == [{"role": "system", "content": CONVERSATION.system}]


class Rendering:
    """A tokenizer that renders as the usual library does."""

    def __init__(self) -> None:
        jinja2 = pytest.importorskip("jinja2", reason="vLLM brings it")
        self.refuse = jinja2.TemplateError
        sandbox = pytest.importorskip("jinja2.sandbox")
        settings = {"trim_blocks": True, "lstrip_blocks": True}
        self.environment = sandbox.ImmutableSandboxedEnvironment(**settings)
        self.environment.filters["tojson"] = self._written
        self.environment.globals["raise_exception"] = self._raise

    def _raise(self, message: str) -> None:
        raise self.refuse(message)

    def _written(self, value: object, indent: int = 0) -> str:
        return json.format(json.encode(value), indent=indent or -1).decode()

    def apply_chat_template(
        self, turns: list[dict[str, Any]], *, chat_template: str, tokenize: bool, **words: Any
    ) -> str:
        assert not tokenize
        rendered: str = self.environment.from_string(chat_template).render(messages=turns, **words)
        return rendered


def vllm(template: str, tokenizer: Any = None) -> Model:
    """Give a model of vLLM's that can do no more than render."""
    model = Model.__new__(Model)
    model._template, model._control = template, CONTROL
    model.syntax = syntax_of(template)
    model._tokenizer = tokenizer or Rendering()
    return model


@pytest.mark.parametrize(
    ("template", "opening", "called"),
    [
        (TAGGED, "<tool_call>\n", '{"name": "weather", "arguments": {"city":"'),
        (BARE, "<|im_start|>assistant\n", '{"name": "weather", "parameters": {"city":"'),
        (LISTED, "[TOOL_CALLS] [", '{"name": "weather", "arguments": {"city":"'),
    ],
)
def test_templates_of_each_syntax_write_functions_and_calls_their_way(
    template: str, opening: str, called: str
) -> None:
    last = Message("user", "And Bergen?")
    prompt = structs.replace(CONVERSATION, messages=(*CONVERSATION.messages, last))
    pieces = vllm(template)._rendered(prompt)
    rendered = "".join(pieces)
    assert opening + called in rendered
    assert '"name":"weather"' in rendered.replace(" ", "")
    ours = sum(piece.count(END) for piece in pieces)
    clean = json.encode(prompt).replace(rb"\\u003c", b"<").replace(END.encode(), b"@")
    harmless = json.decode(clean, type=Prompt)
    assert ours == "".join(vllm(template)._rendered(harmless)).count(END)


def test_several_calls_in_a_turn_are_told_in_words_where_a_template_takes_one() -> None:
    twice = structs.replace(CALLED, calls=CALLED.calls * 2)
    prompt = structs.replace(CONVERSATION, messages=(ASKED, twice, ANSWERED))
    assert "".join(vllm(BARE)._rendered(prompt)).count("I call weather with") == 2
    assert "I call" not in "".join(vllm(TAGGED)._rendered(prompt))


def test_a_template_of_vllm_is_told_each_way_until_it_takes_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusal(Exception):
        pass

    monkeypatch.setitem(sys.modules, "jinja2", SimpleNamespace(TemplateError=Refusal))
    heard: list[list[str]] = []

    def render(turns: list[dict[str, Any]], **words: Any) -> str:
        heard.append([turn["role"] for turn in turns])
        assert len(words["tools"]) == 2
        if len(heard) < takes:
            raise Refusal
        return "text"

    model = vllm(TAGGED, SimpleNamespace(apply_chat_template=render))
    takes = 3
    assert model._rendered(CONVERSATION) == ["text"]
    assert heard[0] == ["system", "user", "assistant", "tool"]
    assert heard[2] == ["user", "assistant", "user"]
    takes = 9
    with pytest.raises(RequestFailed, match="no place for such a conversation"):
        model._rendered(CONVERSATION)
