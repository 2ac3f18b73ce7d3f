"""Requests read into prompts: what is honoured, refused and passed over."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from nightrate.dialects.gemini import parse_prompt
from nightrate.dialects.gemini_prompts import bare_model
from nightrate.dialects.gemini_shapes import GenerateContentRequest, GenerationConfig, Part
from nightrate.domain.generation import DEFAULT_SAMPLING, Message, Prompt, Sampling
from nightrate.domain.guidance import Harm, HarmFilter, Thinking, ThinkingLevel, Threshold
from nightrate.errors import BadRequest, Code, NotSupported, Refused

HI = {"contents": [{"parts": [{"text": "hi"}]}]}
PLAIN = Prompt(messages=(Message("user", "hi"),))


def parse(request: object) -> Prompt:
    return parse_prompt(msgspec.json.encode(request), "m")


def refusal(request: object) -> Refused:
    with pytest.raises(Refused) as refused:
        parse(request)
    return refused.value


def config(**members: object) -> dict[str, object]:
    return {**HI, "generationConfig": members}


# Contents ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "contents",
    [
        [{"parts": [{"text": "hi"}]}],
        [{"role": "user", "parts": [{"text": "h"}, {"text": "i"}]}],
        [{"role": "", "parts": {"text": "hi"}}],
        {"parts": "hi"},
        {"parts": ["h", "i"]},
        {"role": "function", "parts": [{"text": "hi"}]},
        "hi",
        ["hi"],
    ],
)
def test_one_turn_may_be_written_in_many_ways(contents: object) -> None:
    assert parse({"contents": contents}) == PLAIN


def test_a_conversation_keeps_its_roles() -> None:
    contents = [
        {"role": "user", "parts": [{"text": "a"}]},
        {"role": "model", "parts": [{"text": "b"}]},
        {"parts": [{"text": ""}]},
    ]
    assert parse({"contents": contents}).messages == (
        Message("user", "a"),
        Message("model", "b"),
        Message("user", ""),
    )


def test_an_empty_string_is_a_part() -> None:
    assert parse({"contents": [{"parts": ""}]}).messages == (Message("user", ""),)


def test_thoughts_of_earlier_turns_are_left_out() -> None:
    contents = [
        {"parts": [{"text": "a"}]},
        {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "hm", "thought": True}, {"thoughtSignature": "eA=="}]},
        {"role": "model", "parts": {"text": "hm", "thought": True}},
    ]
    assert parse({"contents": contents}).messages == (Message("user", "a"), Message("model", "b"))


def test_modifiers_of_a_part_are_passed_over() -> None:
    part = {
        "text": "hi",
        "thought": False,
        "thoughtSignature": "eA==",
        "videoMetadata": {"fps": 1},
        "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
        "partMetadata": {"any_key": [1]},
        "mediaProcessing": {},
        "audioMetadata": {},
    }
    assert parse({"contents": [{"parts": [part]}]}) == PLAIN


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, "contents: it is missing or empty."),
        ([], "contents: it is missing or empty."),
        ("", "contents: it is missing or empty."),
        ([{}], "contents[0].parts: it is missing or empty."),
        (["a", {"parts": []}], "contents[1].parts: it is missing or empty."),
        ({"parts": []}, "contents.parts: it is missing or empty."),
        ([{"parts": [{"text": "a"}, {}]}], "contents[0].parts[1]: it has no data."),
        ([{"parts": {}}], "contents[0].parts: it has no data."),
        ([{"parts": [{"text": None}]}], "contents[0].parts[0]: it has no data."),
        (
            [{"role": "assistant", "parts": "a"}],
            'contents[0].role: "assistant" is neither "user" nor "model".',
        ),
        ([{"parts": [{"thoughtSignature": "x"}]}], "contents: no turn of the user has any text."),
        ([{"role": "system", "parts": "a"}], "contents: no turn of the user has any text."),
    ],
)
def test_turns_without_meaning_are_refused(contents: object, message: str) -> None:
    error = refusal({"contents": contents})
    assert error.message == message
    assert error.code is Code.INVALID_ARGUMENT
    assert error.field == message.split(":", maxsplit=1)[0]


# System instruction --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "instruction",
    [
        "be brief",
        {"parts": [{"text": "be "}, {"text": "brief"}]},
        {"role": "user", "parts": [{"text": "be brief"}]},
        {"parts": {"text": "be brief"}},
    ],
)
def test_a_system_instruction_may_be_written_in_many_ways(instruction: object) -> None:
    expected = Prompt(messages=PLAIN.messages, system="be brief")
    assert parse({**HI, "systemInstruction": instruction}) == expected
    assert parse({**HI, "system_instruction": instruction}) == expected


@pytest.mark.parametrize("instruction", [None, "", {}, {"parts": []}, {"parts": [{"text": ""}]}])
def test_an_empty_system_instruction_is_absent(instruction: object) -> None:
    assert parse({**HI, "systemInstruction": instruction}) == PLAIN


def test_system_turns_of_old_clients_join_the_instruction() -> None:
    turns = [{"role": "system", "parts": "b"}, {"role": "system", "parts": "c"}, "hi"]
    assert parse({"contents": turns}).system == "b\nc"
    assert parse({"contents": turns, "systemInstruction": "a"}).system == "a\nb\nc"


# Generation config ---------------------------------------------------------------------------


def test_every_honoured_setting_reaches_the_prompt() -> None:
    prompt = parse(
        config(
            temperature=0,
            topP=0.5,
            topK=40.0,
            maxOutputTokens=7,
            stopSequences=["a", "b"],
            seed=-1,
            presencePenalty=-2,
            frequencyPenalty=2,
            candidateCount=1,
            responseMimeType="text/plain",
            responseModalities=["text"],
        )
    )
    assert prompt.sampling == Sampling(
        temperature=0.0,
        top_p=0.5,
        top_k=40,
        max_output_tokens=7,
        stop=("a", "b"),
        seed=-1,
        presence_penalty=-2.0,
        frequency_penalty=2.0,
    )


def test_the_number_of_answers_is_not_the_samplers_affair() -> None:
    prompt = parse(config(candidateCount=3))
    assert (prompt.candidates, prompt.sampling) == (3, Sampling())
    assert parse(config()).candidates == 1


def test_settings_are_read_in_snake_case_and_from_text() -> None:
    request = {
        **HI,
        "generation_config": {"top_k": "40", "topP": "0.5", "seed": "7", "stop_sequences": ["x"]},
    }
    assert parse(request).sampling == Sampling(top_k=40, top_p=0.5, seed=7, stop=("x",))


def test_an_empty_config_is_absent() -> None:
    assert parse(config()) == PLAIN
    assert parse({**HI, "generationConfig": None}) == PLAIN
    assert parse(config()).sampling == DEFAULT_SAMPLING


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"temperature": 3}, "temperature: 3.0 is not between 0 and 2."),
        ({"temperature": -0.1}, "temperature: -0.1 is not between 0 and 2."),
        ({"temperature": "NaN"}, "temperature: nan is not between 0 and 2."),
        ({"topP": 1.01}, "topP: 1.01 is not between 0 and 1."),
        ({"topK": 0}, "topK: 0 is not between 1 and 2147483647."),
        ({"topK": "Infinity"}, "topK: inf is not between 1 and 2147483647."),
        ({"topK": 40.5}, "topK: 40.5 is not a whole number."),
        ({"maxOutputTokens": 0}, "maxOutputTokens: 0 is not between 1 and 2147483647."),
        ({"seed": 2**31}, "seed: 2147483648 is not between -2147483648 and 2147483647."),
        ({"presencePenalty": 2.5}, "presencePenalty: 2.5 is not between -2 and 2."),
        ({"frequencyPenalty": -3}, "frequencyPenalty: -3.0 is not between -2 and 2."),
        ({"candidateCount": 0}, "candidateCount: 0 is not between 1 and 8."),
        ({"candidateCount": 9}, "candidateCount: 9 is not between 1 and 8."),
        ({"stopSequences": list("abcdef")}, "stopSequences: there are 6, and at most 5"),
        ({"stopSequences": ["a", ""]}, "stopSequences[1]: it is empty."),
        ({"responseMimeType": "text/html"}, 'responseMimeType: "text/html" is not known.'),
        ({"responseModalities": ["TEXT", "SMELL"]}, 'responseModalities[1]: "SMELL" is not known.'),
        (
            {"thinkingConfig": {"thinkingBudget": -2}},
            "thinkingConfig.thinkingBudget: -2 is not between -1 and 2147483647.",
        ),
        (
            {"thinkingConfig": {"thinkingLevel": "DEEP"}},
            'thinkingConfig.thinkingLevel: "DEEP" is not known.',
        ),
        ({"mediaResolution": "HUGE"}, 'mediaResolution: "HUGE" is not known.'),
    ],
)
def test_a_setting_out_of_range_is_refused(members: dict[str, object], message: str) -> None:
    error = refusal(config(**members))
    assert isinstance(error, BadRequest)
    assert error.message.startswith(f"generationConfig.{message}")
    assert error.field == f"generationConfig.{message}".split(":")[0]


def test_a_huge_number_is_refused_briefly() -> None:
    error = refusal(config(seed=10**4_000))
    assert error.field == "generationConfig.seed"
    assert len(error.message) < 300


def test_a_fault_is_told_in_the_spelling_of_the_client() -> None:
    error = refusal({**HI, "generation_config": {"top_p": 2}})
    assert error.field == "generation_config.top_p"
    assert error.message == "generation_config.top_p: 2.0 is not between 0 and 1."


@pytest.mark.parametrize(
    ("wish", "thinking"),
    [
        ({}, None),
        ({"includeThoughts": False, "thinkingLevel": ""}, None),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None),
        ({"thinkingBudget": 0}, Thinking(0)),
        ({"thinking_budget": -1}, Thinking(-1)),
        ({"thinkingBudget": 512, "includeThoughts": False}, Thinking(512)),
        ({"thinking_level": "low"}, Thinking(level=ThinkingLevel.LOW)),
        ({"thinkingLevel": "HIGH", "thinkingBudget": 9}, Thinking(9, ThinkingLevel.HIGH)),
    ],
)
def test_how_long_a_model_thinks_is_read_for_one_that_does(
    wish: object, thinking: Thinking | None
) -> None:
    assert parse(config(thinkingConfig=wish)) == structs.replace(PLAIN, thinking=thinking)


@pytest.mark.parametrize(
    ("wish", "thinking"),
    [
        ({"includeThoughts": True}, None),
        ({"include_thoughts": True, "thinking_budget": 7}, Thinking(7)),
    ],
)
def test_thoughts_are_told_to_those_who_ask(wish: object, thinking: Thinking | None) -> None:
    expected = structs.replace(PLAIN, thinking=thinking, thoughts=True)
    assert parse(config(thinkingConfig=wish)) == expected


def test_hints_that_change_no_answer_are_passed_over() -> None:
    request = {
        **HI,
        "generationConfig": {
            "mediaResolution": "MEDIA_RESOLUTION_UNSPECIFIED",
            "responseLogprobs": False,
            "responseModalities": ["TEXT", "MODALITY_UNSPECIFIED"],
            "responseMimeType": "",
            "speechConfig": {},
        },
        "tools": [],
        "toolConfig": {},
        "cachedContent": "",
        "labels": {"my_team": "x"},
        "store": True,
        "serviceTier": "FLEX",
        "continuationToken": "c",
    }
    assert parse(request) == PLAIN
    assert parse({**HI, "tools": [{}, {"googleSearch": None}]}) == PLAIN


# What is not served --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("speechConfig", {"a": 1}),
        ("enableEnhancedCivicAnswers", True),
        ("enableAffectiveDialog", True),
        ("translationConfig", {"a": 1}),
        ("audioTranscriptionConfig", {"a": 1}),
    ],
)
def test_a_setting_that_changes_the_meaning_is_not_dropped(member: str, value: object) -> None:
    error = refusal(config(**{member: value}))
    assert isinstance(error, NotSupported)
    assert error.field == f"generationConfig.{member}"
    assert error.message.startswith(f"{error.field}: this server does not support it yet. ")
    assert error.message.count(".") > 2


@pytest.mark.parametrize("modality", ["audio", "VIDEO"])
def test_answers_are_no_sounds_and_no_films(modality: str) -> None:
    error = refusal(config(responseModalities=["TEXT", modality]))
    assert isinstance(error, NotSupported)
    assert error.field == "generationConfig.responseModalities[1]"


@pytest.mark.parametrize(
    ("member", "value", "path"),
    [
        ("tools", [{}, {"codeExecution": {}}], "tools[1].codeExecution"),
        (
            "toolConfig",
            {"functionCallingConfig": {"streamFunctionCallArguments": True}},
            "toolConfig.functionCallingConfig.streamFunctionCallArguments",
        ),
    ],
)
def test_tools_are_not_dropped(member: str, value: object, path: str) -> None:
    error = refusal({**HI, member: value})
    assert isinstance(error, NotSupported)
    assert error.field == path


# Safety --------------------------------------------------------------------------------------


def test_safety_settings_are_checked() -> None:
    settings = [
        {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"},
        {"category": "HARM_CATEGORY_HATE_SPEECH"},
        {"category": "HARM_CATEGORY_DANGEROUS", "threshold": "OFF"},
    ]
    expected = structs.replace(
        PLAIN,
        filters=(
            HarmFilter(Harm.HARASSMENT, Threshold.NEVER),
            HarmFilter(Harm.DANGEROUS, Threshold.OFF),
        ),
    )
    assert parse({**HI, "safetySettings": settings}) == expected
    assert parse({**HI, "safety_settings": settings}) == expected


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"category": "HARM_CATEGORY_MICE"}, 'category: "HARM_CATEGORY_MICE" is not known.'),
        ({"threshold": "OFF"}, 'category: "" is not known.'),
        ({"category": "HARM_CATEGORY_TOXICITY", "threshold": "SOME"}, 'threshold: "SOME" is not'),
        ({"category": "HARM_CATEGORY_VIOLENCE"}, 'category: "HARM_CATEGORY_VIOLENCE" is set twice'),
    ],
)
def test_wrong_safety_settings_are_refused(setting: object, message: str) -> None:
    settings = [{"category": "HARM_CATEGORY_VIOLENCE"}, setting]
    error = refusal({**HI, "safetySettings": settings})
    assert isinstance(error, BadRequest)
    assert error.message.startswith(f"safetySettings[1].{message}")


# The model, and known mistakes ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["m", "models/m", "tunedModels/m", "", None])
def test_a_request_may_name_the_model_of_its_call(name: str | None) -> None:
    assert parse({**HI, "model": name}) == PLAIN
    assert bare_model(name or "m") == "m"


def test_a_request_may_not_name_another_model() -> None:
    error = refusal({**HI, "model": "models/other"})
    assert error.message == 'model: "models/other" is not the model of this call, "m".'


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            {**HI, "system_instructions": "x"},
            'Unknown name "system_instructions": Cannot find field. Use "systemInstruction".',
        ),
        ({**HI, "config": {}}, 'Unknown name "config": Cannot find field. Use "generationConfig".'),
        (
            {**HI, "thinking_config": {}},
            'Unknown name "thinking_config": Cannot find field. Move it inside "generationConfig".',
        ),
        (
            {**HI, "responseSchema": {}},
            'Unknown name "responseSchema": Cannot find field. Move it inside "generationConfig".',
        ),
        (
            {**HI, "generation_config": {"cachedContent": "c"}},
            "at 'generation_config': Cannot find field. Move it up, beside \"contents\".",
        ),
        ({"prompt": "hi"}, 'Unknown name "prompt": Cannot find field. Use "contents".'),
        (config(routingConfig={}), "at 'generationConfig': Cannot find field."),
    ],
)
def test_known_mistakes_are_answered_with_the_remedy(request_: object, message: str) -> None:
    error = refusal(request_)
    assert isinstance(error, BadRequest)
    assert error.message.startswith("Invalid JSON payload received. Unknown name ")
    assert error.message.endswith(message)


def test_a_wrong_type_is_told_with_its_path() -> None:
    error = refusal({**HI, "generationConfig": {"temperature": "hot"}})
    assert error.field == "generationConfig.temperature"
    assert "expected `float`, got `str`" in error.message


# Bodies --------------------------------------------------------------------------------------


def test_a_live_body_is_read_leniently() -> None:
    body = b"{'contents': [{'parts': [{'text': 'hi'}]}],}"
    assert parse_prompt(body, "m") == PLAIN


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b'{"contents": "\xff"}', b"{" * 9_000])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_prompt(body, "m")


def test_a_body_nested_too_deep_is_refused_even_where_nobody_looks() -> None:
    deep = b"[" * 200 + b"]" * 200
    body = b'{"contents":[{"parts":[{"text":"hi","partMetadata":{"a":' + deep + b"}}]}]}"
    with pytest.raises(BadRequest, match="deeper than 100 levels"):
        parse_prompt(body, "m")


NAMES = [
    member
    for kind in (GenerateContentRequest, GenerationConfig, Part)
    for field in structs.fields(kind)
    for member in (field.name, field.encode_name)
]
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(NAMES), TREES, max_size=4))
def test_any_tree_is_a_prompt_or_refused_with_a_field(tree: dict[str, object]) -> None:
    fields: list[str | None] = []
    try:
        prompt = parse({**HI, **tree})
        assert prompt.messages or prompt.cache
    except Refused as error:
        fields.append(error.field)
    assert all(fields)
