"""Which endpoints a batch can be of, in the spellings that clients have for them."""

from __future__ import annotations

import re
from typing import Final

from nightrate.domain.batch import Method

_VERSION = re.compile(r"/?(?:(?:v1|v1beta|v1alpha)/)?(?:openai/)?")

ENDPOINTS: Final = {"chat/completions": Method.GENERATE, "embeddings": Method.EMBED}
"""By their paths behind any version."""

SPELLED: Final = {Method.GENERATE: "/v1/chat/completions", Method.EMBED: "/v1/embeddings"}
"""As OpenAI spells them, for every batch that there may be."""


def method_of(url: str) -> Method | None:
    """Give what an endpoint asks for; None for one that batches cannot have here.

    ``/v1/chat/completions``, ``/v1beta/openai/chat/completions`` and ``/chat/completions`` are the
    same.
    """
    found = _VERSION.match(url)
    assert found is not None, "the pattern matches any text"
    return ENDPOINTS.get(url[found.end() :])
