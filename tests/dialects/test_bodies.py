"""Bodies of calls: read strictly at once, else leniently, and refused as they were sent."""

from __future__ import annotations

from typing import NoReturn

import pytest

from nightrate.dialects.bodies import Body
from nightrate.dialects.gemini_shapes import CountTokensBody
from nightrate.errors import BadRequest

BODY = Body(CountTokensBody, {})


def refusing(field: str | None) -> BadRequest:
    """Give what becomes of a refusal of a body that was read at once."""
    given = BadRequest("contents: no." if field else "no.", field=field)

    def made(_body: CountTokensBody) -> NoReturn:
        raise given

    with pytest.raises(BadRequest) as refused:
        BODY.make(b'{"contents":"a"}', made)
    return refused.value


def test_a_refusal_names_the_field_as_it_was_sent() -> None:
    refused = refusing("contents")
    assert (refused.field, refused.message) == ("contents", "contents: no.")


def test_a_refusal_of_the_whole_stays_as_it_is() -> None:
    refused = refusing(None)
    assert (refused.field, refused.message) == (None, "no.")
