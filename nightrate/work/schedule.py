"""What to work on next: decisions about values, no waiting, no store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nightrate.domain.batch import Claimable


def choose(candidates: Sequence[Claimable]) -> Claimable | None:
    """Pick the batch that gives the next shard.

    Higher priority first. Among equals the tenant with the fewest shards at work, then the batch
    with the fewest, so that neither a giant tenant nor a giant batch starves the small ones; then
    the oldest.
    """
    per_tenant: Counter[str] = Counter()
    for candidate in candidates:
        per_tenant[candidate.tenant] += candidate.running_shards
    return min(
        candidates,
        key=lambda candidate: (
            -candidate.priority,
            per_tenant[candidate.tenant],
            candidate.running_shards,
            candidate.created_at,
            candidate.batch_id,
        ),
        default=None,
    )
