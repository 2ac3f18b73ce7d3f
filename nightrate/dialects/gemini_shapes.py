"""The shapes of Gemini's JSON, member by member.

Every member that the protocol knows is declared, so that a name which is missing here is a mistake
of the client. Members typed ``Anything`` are read by hand, each by the names that have a row in
the table of options.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from msgspec import Raw, Struct

Anything = Any
"""A value nobody looks into; decoded fully, so its UTF-8 and numbers are checked."""

Item = TypeVar("Item")


class Part(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """One piece of a turn: one member with data, and modifiers."""

    text: str | None = None
    inline_data: Anything = None
    file_data: Anything = None
    function_call: Anything = None
    function_response: Anything = None
    executable_code: Anything = None
    code_execution_result: Anything = None
    tool_call: Anything = None
    tool_response: Anything = None
    thought: bool | None = None
    thought_signature: str | None = None
    video_metadata: Anything = None
    media_resolution: Anything = None
    part_metadata: dict[str, Anything] | None = None
    media_processing: Anything = None
    audio_transcription: Anything = None
    speech_metadata: Anything = None
    document_metadata: Anything = None
    spreadsheet_metadata: Anything = None
    audio_metadata: Anything = None


class Content(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """One turn. A lone part may stand without its list."""

    parts: list[Part | str] | Part | str | None = None
    role: str | None = None


class ThinkingConfig(Struct, rename="camel", forbid_unknown_fields=True):
    """How long the model may think."""

    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None


class SafetySetting(Struct, rename="camel", forbid_unknown_fields=True):
    """From what probability on a category of harm is blocked."""

    category: str | None = None
    threshold: str | None = None


class GenerationConfig(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """How an answer is generated."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | float | None = None
    candidate_count: int | None = None
    max_output_tokens: int | None = None
    stop_sequences: list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    response_mime_type: str | None = None
    response_schema: Anything = None
    response_json_schema: Anything = None
    _response_json_schema: Anything = None
    response_format: Anything = None
    response_modalities: list[str] | None = None
    media_resolution: str | None = None
    speech_config: dict[str, Anything] | None = None
    thinking_config: ThinkingConfig | None = None
    image_config: Anything = None
    enable_enhanced_civic_answers: bool | None = None
    enable_affective_dialog: bool | None = None
    translation_config: dict[str, Anything] | None = None
    audio_transcription_config: dict[str, Anything] | None = None


class GenerateContentRequest(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """One generation. A lone content may stand without its list, and a string for a content."""

    contents: list[Content | str] | Content | str | None = None
    system_instruction: Content | str | None = None
    generation_config: GenerationConfig | None = None
    safety_settings: list[SafetySetting] | None = None
    tools: list[dict[str, Anything]] | None = None
    tool_config: Anything = None
    cached_content: str | None = None
    model: str | None = None
    labels: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    continuation_token: str | None = None


# Lines and inline items ----------------------------------------------------------------------


class Line(Struct, Generic[Item], forbid_unknown_fields=True, gc=False):
    """One line of a batch file in its normal form."""

    request: Item
    key: Raw = Raw()
    metadata: Raw = Raw()


class InlineItem(Struct, Generic[Item], forbid_unknown_fields=True, gc=False):
    """One request in the body of a create call."""

    request: Item
    metadata: Raw = Raw()


# Bodies of calls -----------------------------------------------------------------------------


class InlinedRequests(Struct, Generic[Item], rename="camel", forbid_unknown_fields=True):
    """The inner of the two boxes around inline requests."""

    requests: list[Item] | None = None


class InputConfig(Struct, Generic[Item], rename="camel", forbid_unknown_fields=True):
    """Where the requests of a batch come from."""

    file_name: str | None = None
    requests: InlinedRequests[Item] | None = None


class WebhookConfigBody(Struct, rename="camel", forbid_unknown_fields=True):
    """Who is told about one batch; what the metadata's keys are is the client's affair."""

    uris: list[str] | None = None
    user_metadata: dict[str, Any] | None = None


class BatchBody(Struct, Generic[Item], rename="camel", forbid_unknown_fields=True):
    """A batch as a client describes it; what only the service sets is taken and ignored."""

    display_name: str | None = None
    input_config: InputConfig[Item] | None = None
    priority: int | None = None
    webhook_config: WebhookConfigBody | None = None
    model: str | None = None
    name: Anything = None
    output: Anything = None
    create_time: Anything = None
    update_time: Anything = None
    end_time: Anything = None
    batch_stats: Anything = None
    state: Anything = None


class CreateBody(Struct, Generic[Item], rename="camel", forbid_unknown_fields=True):
    """The body that creates a batch of either kind; items stay raw, or are values already."""

    batch: BatchBody[Item] | None = None


class FileBody(Struct, rename="camel", forbid_unknown_fields=True):
    """A file as a client describes it; what only the service sets is taken and ignored."""

    name: str | None = None
    display_name: str | None = None
    mime_type: str | None = None
    size_bytes: int | None = None
    create_time: Anything = None
    update_time: Anything = None
    expiration_time: Anything = None
    sha256_hash: Anything = None
    uri: Anything = None
    download_uri: Anything = None
    state: Anything = None
    source: Anything = None
    error: Anything = None
    video_metadata: Anything = None


class CountTokensBody(Struct, rename="camel", forbid_unknown_fields=True):
    """The body of ``:countTokens``: turns alone, or a whole request, which comes first."""

    contents: list[Content | str] | Content | str | None = None
    generate_content_request: GenerateContentRequest | None = None


class UploadBody(Struct, rename="camel", forbid_unknown_fields=True):
    """The body that starts an upload."""

    file: FileBody | None = None


class WebhookBody(Struct, rename="camel", forbid_unknown_fields=True):
    """A webhook as a client describes it; what only the service sets is taken and ignored."""

    name: str | None = None
    uri: str | None = None
    subscribed_events: list[str] | None = None
    state: str | None = None
    id: Anything = None
    create_time: Anything = None
    update_time: Anything = None
    signing_secrets: Anything = None
    new_signing_secret: Anything = None


class RotationBody(Struct, rename="camel", forbid_unknown_fields=True):
    """The body that asks for a new signing secret."""

    revocation_behavior: str | None = None


class Status(Struct, omit_defaults=True, gc=False):
    """An error of a request or of a whole batch; ``code`` is the rpc code."""

    code: int
    message: str
    status: str | None = None


# Resources -----------------------------------------------------------------------------------


class FileDocument(Struct, rename="camel", omit_defaults=True):
    """A file."""

    name: str
    mime_type: str
    size_bytes: str
    create_time: str
    update_time: str
    expiration_time: str
    uri: str
    state: str
    source: str
    display_name: str | None = None
    sha256_hash: str | None = None
    download_uri: str | None = None


class FilesDocument(Struct, rename="camel", omit_defaults=True):
    """One page of files."""

    files: list[FileDocument] = []
    next_page_token: str | None = None


class WrappedFileDocument(Struct):
    """A file as the end of an upload answers it."""

    file: FileDocument


class ModelDocument(Struct, rename="camel", omit_defaults=True):
    """A model."""

    name: str
    base_model_id: str
    version: str
    display_name: str
    description: str
    input_token_limit: int
    output_token_limit: int
    supported_generation_methods: tuple[str, ...]


class ModelsDocument(Struct, rename="camel", omit_defaults=True):
    """One page of models."""

    models: list[ModelDocument] = []
    next_page_token: str | None = None


class SigningSecretDocument(Struct, omit_defaults=True):
    """A signing secret, as much of it as may be shown; the newest has no end."""

    truncated_secret: str
    expire_time: str | None = None


class WebhookDocument(Struct, omit_defaults=True, kw_only=True):
    """A webhook: the one resource that Google spells in snake_case."""

    id: str
    name: str
    uri: str
    subscribed_events: tuple[str, ...]
    state: str
    create_time: str
    update_time: str
    signing_secrets: list[SigningSecretDocument]
    new_signing_secret: str | None = None


class WebhooksDocument(Struct, omit_defaults=True):
    """One page of webhooks."""

    webhooks: list[WebhookDocument] = []
    next_page_token: str | None = None


class DeliveryDocument(Struct, omit_defaults=True, kw_only=True):
    """What became of one event on its way to one webhook; an addition of this server."""

    id: str
    type: str
    batch: str | None = None
    state: str
    attempts: int
    create_time: str
    last_attempt_time: str | None = None
    next_attempt_time: str | None = None
    outcome: str | None = None


class DeliveriesDocument(Struct, omit_defaults=True):
    """The newest deliveries of a webhook."""

    deliveries: list[DeliveryDocument] = []


class RotationDocument(Struct):
    """The answer to a rotation: the new secret, shown this once."""

    secret: str
