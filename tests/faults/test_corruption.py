"""Damage on the disk, a few points of each kind."""

from __future__ import annotations

import pytest

from tests.faults.campaign import Campaign
from tests.faults.corruption import CAMPAIGNS

POINTS = {"damaged-segments": 3, "damaged-inputs": 2, "damaged-databases": 2, "damaged-keys": 2}


@pytest.mark.parametrize("campaign", CAMPAIGNS, ids=lambda campaign: campaign.name)
@pytest.mark.xdist_group("museum")  # made once for all of them
def test_damage_breaks_no_promise(campaign: Campaign) -> None:
    points = POINTS.get(campaign.name, 1)
    figures = campaign.run(points, 7)
    assert figures.violations == []
    assert figures.tried == points
