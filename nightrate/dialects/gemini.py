"""The Gemini dialect: wire bytes to domain values and back. The rest of the house imports this."""

from __future__ import annotations

from nightrate.dialects.gemini_batches import (
    ITEMS,
    Items,
    render_batch,
    render_batch_resource,
    render_batches,
)
from nightrate.dialects.gemini_counts import parse_count, render_count
from nightrate.dialects.gemini_errors import http_status, render_error, render_failure
from nightrate.dialects.gemini_files import (
    UploadStart,
    parse_upload_start,
    render_file,
    render_files,
    render_uploaded_file,
)
from nightrate.dialects.gemini_models import render_model, render_models
from nightrate.dialects.gemini_orders import parse_change, parse_order
from nightrate.dialects.gemini_pages import decode_page_token, encode_page_token
from nightrate.dialects.gemini_passages import parse_passage, parse_passages
from nightrate.dialects.gemini_profiles import Profile
from nightrate.dialects.gemini_prompts import bare_model, parse_prompt
from nightrate.dialects.gemini_replies import render_reply
from nightrate.dialects.gemini_streams import StreamWriter, framing_of
from nightrate.dialects.gemini_vectors import render_embedding, render_embeddings

__all__ = [
    "ITEMS",
    "Items",
    "Profile",
    "StreamWriter",
    "UploadStart",
    "bare_model",
    "decode_page_token",
    "encode_page_token",
    "framing_of",
    "http_status",
    "parse_change",
    "parse_count",
    "parse_order",
    "parse_passage",
    "parse_passages",
    "parse_prompt",
    "parse_upload_start",
    "render_batch",
    "render_batch_resource",
    "render_batches",
    "render_count",
    "render_embedding",
    "render_embeddings",
    "render_error",
    "render_failure",
    "render_file",
    "render_files",
    "render_model",
    "render_models",
    "render_reply",
    "render_uploaded_file",
]
