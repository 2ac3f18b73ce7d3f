"""A quick run of the campaign with troubled receivers."""

from __future__ import annotations

from tests.faults.webhooks import webhook_troubles


def test_a_troubled_receiver_is_told_once_it_is_well() -> None:
    figures = webhook_troubles(2, 1)
    assert figures.violations == []
    assert figures.tried == 2
