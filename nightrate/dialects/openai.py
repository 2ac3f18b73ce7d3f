"""The OpenAI dialect: wire bytes to domain values and back. The rest of the house imports this."""

from __future__ import annotations

from nightrate.dialects.openai_batches import (
    parse_batch_order,
    render_batch,
    render_batches,
)
from nightrate.dialects.openai_chats import ChatCall, parse_chat
from nightrate.dialects.openai_embeddings import (
    EmbeddingCall,
    parse_embeddings,
    render_embeddings,
)
from nightrate.dialects.openai_errors import render_error, render_failure
from nightrate.dialects.openai_files import (
    PURPOSES,
    check_purpose,
    expiry_seconds,
    render_deleted_file,
    render_file,
    render_files,
)
from nightrate.dialects.openai_images import parse_image, render_image, without_picture
from nightrate.dialects.openai_lines import model_of_line
from nightrate.dialects.openai_models import render_model, render_models
from nightrate.dialects.openai_replies import render_completion
from nightrate.dialects.openai_streams import CONTENT_TYPE, ChatStream

__all__ = [
    "CONTENT_TYPE",
    "PURPOSES",
    "ChatCall",
    "ChatStream",
    "EmbeddingCall",
    "check_purpose",
    "expiry_seconds",
    "model_of_line",
    "parse_batch_order",
    "parse_chat",
    "parse_embeddings",
    "parse_image",
    "render_batch",
    "render_batches",
    "render_completion",
    "render_deleted_file",
    "render_embeddings",
    "render_error",
    "render_failure",
    "render_file",
    "render_files",
    "render_image",
    "render_model",
    "render_models",
    "without_picture",
]
