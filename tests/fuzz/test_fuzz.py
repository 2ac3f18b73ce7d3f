"""A few seconds of every kind of generated request; ``make fuzz`` makes many more."""

from __future__ import annotations

import pytest

from tests.acceptance.server import Server
from tests.fuzz import __main__ as fuzz
from tests.fuzz import pure

SECONDS = 20.0
SEED = 1


def test_requests_from_the_description_are_answered_as_it_says(server: Server) -> None:
    generated = fuzz.doors(server, 2_000, SEED, SECONDS)
    assert generated.requests > 100
    assert {end.rpartition(" ")[2] for end in generated.answers} >= {"200", "400", "404"}


def test_no_request_of_a_stranger_shows_or_changes_anything(server: Server) -> None:
    generated = fuzz.strangers(server, 2_000, SEED, SECONDS)
    assert generated.requests > 100


def test_whatever_is_uploaded_the_file_holds_what_was_taken(server: Server) -> None:
    sent = fuzz.uploads(server, 1_000, SEED)
    assert sent.requests >= 1_000


@pytest.mark.parametrize("reader", pure.READERS)
def test_readers_take_or_refuse_every_text(reader: str) -> None:
    ends = pure.run(reader, 5_000, SEED)
    assert ends.total() == 5_000
    assert len(ends) > 1
