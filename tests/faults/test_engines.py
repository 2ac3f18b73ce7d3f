"""Quick runs of the campaigns against engines."""

from __future__ import annotations

import pytest

from tests.faults.campaign import Campaign
from tests.faults.engines import CAMPAIGNS

POINTS = {"engine-deaths": 6, "poisoned-line": 3}


@pytest.mark.parametrize("campaign", CAMPAIGNS, ids=lambda campaign: campaign.name)
def test_no_promise_is_broken_by_an_engine(campaign: Campaign) -> None:
    figures = campaign.run(POINTS[campaign.name], 1)
    assert figures.violations == []
    assert figures.tried >= POINTS[campaign.name]
