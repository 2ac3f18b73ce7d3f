"""The tier of a service is looked at, and means nothing where there is one."""

from __future__ import annotations

import msgspec
import pytest

from nightrate.dialects.gemini_prompts import parse_prompt
from nightrate.errors import BadRequest

HI = {"contents": "hi"}


@pytest.mark.parametrize("tier", ["flex", "SERVICE_TIER_STANDARD", "unspecified", "", None])
def test_a_service_tier_changes_nothing(tier: str | None) -> None:
    body = msgspec.json.encode({**HI, "serviceTier": tier})
    assert parse_prompt(body, "m") == parse_prompt(msgspec.json.encode(HI), "m")


def test_an_unknown_service_tier_is_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        parse_prompt(msgspec.json.encode({**HI, "service_tier": "first class"}), "m")
    assert refused.value.message == 'service_tier: "first class" is not known.'
