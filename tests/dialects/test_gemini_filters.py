"""Which batches a list is to show."""

from __future__ import annotations

import pytest

from nightrate.dialects.gemini import parse_filter
from nightrate.domain.batch import ANY_BATCH, BatchFilter
from nightrate.domain.states import BatchState
from nightrate.errors import BadRequest

PENDING = frozenset({BatchState.SUBMITTED, BatchState.PLANNED})
RUNNING = frozenset({BatchState.RUNNING})


@pytest.mark.parametrize("text", ["", "  "])
def test_nothing_asks_for_every_batch(text: str) -> None:
    assert parse_filter(text) == ANY_BATCH


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("state=RUNNING", BatchFilter(states=RUNNING)),
        ('state = "JOB_STATE_RUNNING"', BatchFilter(states=RUNNING)),
        ("metadata.state=batch_state_pending", BatchFilter(states=PENDING)),
        ("displayName=water", BatchFilter(display_name="water")),
        ('display_name="a \\"b\\" AND c"', BatchFilter(display_name='a "b" AND c')),
        (
            'displayName="x y" AND state=PENDING',
            BatchFilter(states=PENDING, display_name="x y"),
        ),
    ],
)
def test_conditions_are_read_in_any_spelling(text: str, wanted: BatchFilter) -> None:
    assert parse_filter(text) == wanted


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x", "not understood"),
        ("state", "not understood"),
        ("state!=RUNNING", "not understood"),
        ("state=RUNNING OR state=PENDING", "not understood"),
        ("state=RUNNING AND", "not understood"),
        ("state=RUNNING ANDdisplayName=x", "not understood"),
        ("state=RUNNING AND state=PENDING", "twice"),
        ("createTime=1", "cannot be asked for"),
        ("state=QUEUED", "is no state; there are PENDING, RUNNING"),
    ],
)
def test_anything_else_is_refused_with_the_grammar(text: str, word: str) -> None:
    with pytest.raises(BadRequest, match=r"^filter: ") as refused:
        parse_filter(text)
    assert word in refused.value.message
    assert refused.value.field == "filter"
