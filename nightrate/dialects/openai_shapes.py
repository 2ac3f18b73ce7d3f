"""The shapes of OpenAI's JSON that clients send, member by member.

Every member that the protocol knows is declared, so that a name which is missing here is a mistake
of the client. Members typed ``Anything`` are known but not looked into: `openai_chats` refuses them
by its table.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from msgspec import Struct

from nightrate.dialects.gemini_shapes import ThinkingConfig

Anything = Any


class Asking(Struct):
    """A body that asks a model."""

    model: str


Body = TypeVar("Body", bound=Asking)


class ContentPart(Struct, forbid_unknown_fields=True, gc=False):
    """One piece of a message; ``type`` names the member that holds it."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Anything = None
    input_audio: Anything = None
    file: Anything = None
    prompt_cache_breakpoint: Anything = None


class DeclaredFunction(Struct, forbid_unknown_fields=True):
    """A function that an answer may call; ``parameters`` is the JSON Schema of its arguments."""

    name: str
    description: str | None = None
    parameters: Anything = None
    strict: bool | None = None


class ChatTool(Struct, forbid_unknown_fields=True):
    """A tool; ``type`` names the member that holds it."""

    type: str
    function: DeclaredFunction | None = None
    custom: Anything = None


class CalledFunction(Struct, forbid_unknown_fields=True, gc=False):
    """What was called, with the JSON text of its arguments."""

    name: str
    arguments: str | None = None


class ToolCall(Struct, forbid_unknown_fields=True, gc=False):
    """A call in a turn of the assistant, as an answer had it; clients leave an ``index`` in it."""

    id: str | None = None
    type: str | None = None
    function: CalledFunction | None = None
    custom: Anything = None
    index: int | None = None


class ChatMessage(Struct, forbid_unknown_fields=True, gc=False):
    """One turn, of a request or of an answer that a client sends back."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    refusal: str | None = None
    audio: Anything = None
    annotations: Anything = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: Anything = None


class StreamOptions(Struct, forbid_unknown_fields=True):
    """What a stream tells beside the text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class NamedSchema(Struct, forbid_unknown_fields=True):
    """A JSON Schema that the answer keeps; whether strictly is not a question here."""

    name: str
    description: str | None = None
    schema: Anything = None
    strict: bool | None = None


class ResponseFormat(Struct, forbid_unknown_fields=True):
    """What form the answer has."""

    type: str
    json_schema: NamedSchema | None = None


class ExtraBody(Struct, forbid_unknown_fields=True):
    """Where Google's documentation puts what OpenAI's protocol lacks."""

    google: Anything = None


class GoogleOptions(Struct, rename="camel", forbid_unknown_fields=True):
    """What Google's protocol has and OpenAI's lacks, in either spelling."""

    thinking_config: ThinkingConfig | None = None
    cached_content: str | None = None


class ChatBody(Asking, forbid_unknown_fields=True, gc=False, kw_only=True):
    """The body of ``chat/completions``."""

    messages: list[ChatMessage]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    google: Anything = None
    extra_body: ExtraBody | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    tools: list[ChatTool] | None = None
    tool_choice: Anything = None
    parallel_tool_calls: bool | None = None
    functions: list[Anything] | None = None
    function_call: Anything = None
    audio: Anything = None
    prediction: Anything = None
    web_search_options: Anything = None
    moderation: Anything = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Anything = None
    prompt_cache_retention: str | None = None


class EmbeddingBody(Asking, forbid_unknown_fields=True):
    """The body of ``embeddings``."""

    input: Anything = None
    messages: list[ChatMessage] | None = None
    dimensions: int | None = None
    encoding_format: str | None = None
    user: str | None = None


class ImageBody(Asking, forbid_unknown_fields=True, kw_only=True):
    """The body of ``images/generations``."""

    prompt: str
    n: int | None = None
    size: str | None = None
    response_format: str | None = None
    output_format: str | None = None
    background: str | None = None
    moderation: str | None = None
    output_compression: int | None = None
    partial_images: int | None = None
    quality: str | None = None
    stream: bool | None = None
    style: str | None = None
    user: str | None = None


class Line(Struct, Generic[Body], forbid_unknown_fields=True, gc=False):
    """A line of a batch file."""

    custom_id: str
    method: str
    url: str
    body: Body


class ExpiresAfter(Struct, forbid_unknown_fields=True):
    """How long a file is kept."""

    anchor: str
    seconds: int


class BatchBody(Struct, forbid_unknown_fields=True):
    """The body that creates a batch."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: ExpiresAfter | None = None
