"""From Gemini's request to a prompt: what is honoured, checked and refused.

Rule of thumb: what changes the meaning of a request is honoured or refused, never dropped; hints to
the sampler or the scheduler that mean nothing here are checked and passed over. What is not served
yet stands in one table, `gemini_options`.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import structs

from nightrate.dialects.bodies import Body
from nightrate.dialects.gemini_calls import calling_of
from nightrate.dialects.gemini_forms import form_of
from nightrate.dialects.gemini_options import CONFIG_GATE
from nightrate.dialects.gemini_pictures import picture_of
from nightrate.dialects.gemini_ranges import (
    check_tier,
    filters_of,
    logprobs_of,
    resolution_of,
    sampling_of,
    shows_thoughts,
    thinking_of,
)
from nightrate.dialects.gemini_shapes import GenerateContentRequest, GenerationConfig
from nightrate.dialects.gemini_tools import lookup_of
from nightrate.dialects.gemini_turns import instruction_of, turns_of
from nightrate.dialects.refusals import within, wrong
from nightrate.dialects.spelling import Remedies, quoted
from nightrate.domain.calling import Calling
from nightrate.domain.generation import DEFAULT_SAMPLING, LogprobsWish, Prompt, Sampling
from nightrate.domain.grounding import LookupWish
from nightrate.domain.guidance import Thinking
from nightrate.domain.picture import PictureWish
from nightrate.domain.schema import ChoiceForm, Form
from nightrate.errors import Refused


def _remedies() -> Remedies:
    into_config = {
        member.encode_name: 'Move it inside "generationConfig".'
        for member in structs.fields(GenerationConfig)
    }
    out_of_config = {
        member.encode_name: 'Move it up, beside "contents".'
        for member in structs.fields(GenerateContentRequest)
    }
    use_contents = 'Use "contents".'
    return {
        GenerateContentRequest: {
            **into_config,
            "config": 'Use "generationConfig".',
            "systemInstructions": 'Use "systemInstruction".',
            "systemPrompt": 'Use "systemInstruction".',
            "content": use_contents,
            "messages": use_contents,
            "prompt": use_contents,
        },
        GenerationConfig: {
            **out_of_config,
            "maxTokens": 'Use "maxOutputTokens".',
            "stop": 'Use "stopSequences".',
        },
    }


REMEDIES: Final = _remedies()
_REQUEST: Final = Body(GenerateContentRequest, REMEDIES)

_CACHE = re.compile(r"(?:cachedContents/)?([A-Za-z0-9._~@-]{1,128})")
_BESIDE_CACHE = (
    "CachedContent can not be used with GenerateContent request setting system_instruction, tools"
    " or tool_config. Move these into the cached content."
)


def parse_prompt(body: bytes, model: str) -> Prompt:
    """Read the body of a live ``:generateContent``.

    Args:
        body: JSON in either spelling, read leniently.
        model: the model in the path, without ``models/``.

    Raises:
        BadRequest: it is malformed or a value is wrong.
        NotSupported: it asks for something this server does not do.
    """
    return _REQUEST.make(body, lambda request: prompt_of(request, model))


def prompt_from_tree(tree: object, model: str, at: str = "", *, whole: bool = True) -> Prompt:
    """Read a decoded request in either spelling; ``at`` is its path, for messages."""
    return _REQUEST.make_of_tree(tree, lambda request: prompt_of(request, model, whole=whole), at)


def prompt_of(request: GenerateContentRequest, model: str, *, whole: bool = True) -> Prompt:
    """Make the prompt of a typed request, or refuse with the camelCase path of the field.

    Args:
        request: the request.
        model: the model of the call, without ``models/``.
        whole: whether it must have turns; the beginning of other requests need not. One that
            continues a cached content need not have any either: those of that one may do.
    """
    cache = _cache_of(request) if request.cached_content else None
    if request.model and bare_model(request.model) != model:
        raise wrong("model", f'"{quoted(request.model)}" is not the model of this call, "{model}".')
    if request.service_tier:
        check_tier(request.service_tier)
    filters = filters_of(request.safety_settings) if request.safety_settings else ()
    sampling, form, logprobs, thinking, candidates = DEFAULT_SAMPLING, None, None, None, 1
    resolution, thoughts = None, False
    if request.generation_config is not None:
        sampling, form, logprobs, thinking = _settings(request.generation_config)
        candidates = request.generation_config.candidate_count or 1
        resolution = resolution_of(request.generation_config)
        thoughts = shows_thoughts(request.generation_config.thinking_config)
    needs_turns = whole and cache is None
    turns = request.contents or needs_turns
    system, messages, media = turns_of(request.contents) if turns else (None, (), ())
    instruction = request.system_instruction
    if instruction is not None:
        first = instruction_of(instruction)
        system = f"{first}\n{system}" if first and system else first or system
    if cache is not None and system:
        raise wrong("contents" if instruction is None else "systemInstruction", _BESIDE_CACHE)
    picture = _picture(request.generation_config, model, form)
    calling, lookup = _tools(request)
    if calling is not None and (form is not None or picture is not None):
        raise wrong(calling.field, "an answer that calls a function has no form and no picture.")
    if picture is not None and logprobs is not None:
        raise wrong(logprobs.field, "an answer with a picture does not tell it.")
    if calling is not None and logprobs is not None:
        raise wrong(logprobs.field, "an answer that may call functions does not tell it.")
    return Prompt(
        messages=messages,
        system=system,
        sampling=sampling,
        form=form,
        logprobs=logprobs,
        picture=picture,
        candidates=candidates,
        calling=calling,
        lookup=lookup,
        cache=cache,
        thinking=thinking,
        thoughts=thoughts,
        filters=filters,
        media=media,
        resolution=resolution,
    )


def bare_model(name: str) -> str:
    """Strip the collection from a model's name."""
    return name.removeprefix("models/").removeprefix("tunedModels/")


def _cache_of(request: GenerateContentRequest) -> str:
    """Give the id of the cached content that a request continues."""
    found = cache_id(request.cached_content or "", "cachedContent")
    if request.tools:
        raise wrong("tools", _BESIDE_CACHE)
    if request.tool_config:
        raise wrong("toolConfig", _BESIDE_CACHE)
    return found


def _tools(request: GenerateContentRequest) -> tuple[Calling | None, LookupWish | None]:
    """Find what an answer may call, and what it may look up."""
    if not request.tools and request.tool_config is None:
        return None, None
    calling = calling_of(request.tools, request.tool_config)
    lookup = lookup_of(request.tools) if request.tools else None
    if calling is not None and lookup is not None:
        field = lookup.search or lookup.pages or ""
        raise wrong(field, "nothing is looked up for an answer that may call functions.")
    return calling, lookup


def cache_id(reference: str, path: str) -> str:
    """Read a reference to a cached content.

    Raises:
        BadRequest: it is none.
    """
    found = _CACHE.fullmatch(reference)
    if found is None:
        why = f'"{quoted(reference)}" is no name such as "cachedContents/abc123".'
        raise wrong(path, why)
    return found[1]


def _settings(
    config: GenerationConfig,
) -> tuple[Sampling, Form | None, LogprobsWish | None, Thinking | None]:
    try:
        CONFIG_GATE.check(config)
        sampling, thinking = sampling_of(config), thinking_of(config.thinking_config)
        form = form_of(config)
        if isinstance(form, ChoiceForm):
            sampling = _unstopped(sampling, form)
        return sampling, form, logprobs_of(config), thinking
    except Refused as error:
        raise within(error, "generationConfig") from error


def _unstopped(sampling: Sampling, form: ChoiceForm) -> Sampling:
    """Leave stop sequences out that can never come in an answer which is one of some texts.

    Raises:
        BadRequest: one of them can: the answer would be none of the texts.
    """
    for place, stop in enumerate(sampling.stop):
        if any(stop in choice for choice in form.choices):
            why = "it is a part of a text that the answer may be. Leave it out."
            raise wrong(f"stopSequences[{place}]", why)
    return structs.replace(sampling, stop=())


def _picture(config: GenerationConfig | None, model: str, form: Form | None) -> PictureWish | None:
    try:
        picture = picture_of(config, model)
    except Refused as error:
        raise within(error, "generationConfig") from error
    if picture is not None and form is not None:
        raise wrong(form.field, "an answer with a picture has no form.")
    return picture
