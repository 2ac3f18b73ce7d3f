"""Priority first; then the tenant, then the batch, with the least at work; then the oldest."""

from __future__ import annotations

import itertools
from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from nightrate.domain.batch import Claimable
from nightrate.work.schedule import choose


def batch(
    batch_id: str, *, tenant: str = "t", priority: int = 0, created_at: int = 0, running: int = 0
) -> Claimable:
    return Claimable(
        tenant=tenant,
        batch_id=batch_id,
        model="m",
        priority=priority,
        created_at=created_at,
        running_shards=running,
    )


CANDIDATES = st.lists(
    st.builds(
        Claimable,
        tenant=st.sampled_from("abc"),
        batch_id=st.text("xyz", min_size=1, max_size=4),
        model=st.just("m"),
        priority=st.integers(-2, 2),
        created_at=st.integers(0, 5),
        running_shards=st.integers(0, 4),
    ),
    max_size=8,
    unique_by=lambda candidate: candidate.batch_id,
)


def test_nothing_is_chosen_from_nothing() -> None:
    assert choose([]) is None


def test_a_higher_priority_goes_first_however_much_is_at_work() -> None:
    chosen = choose([batch("low"), batch("high", priority=1, created_at=9, running=50)])
    assert chosen is not None
    assert chosen.batch_id == "high"


def test_a_giant_tenant_does_not_starve_a_small_one() -> None:
    giant = [batch(f"g{number}", tenant="giant", running=1) for number in range(5)]
    fresh = batch("g9", tenant="giant")
    small = batch("s", tenant="small", created_at=9, running=2)
    assert choose([*giant, fresh, small]) == small


def test_a_giant_batch_does_not_starve_its_neighbours() -> None:
    assert choose([batch("giant", running=9), batch("small", created_at=9)]) == batch(
        "small", created_at=9
    )


def test_among_equals_the_oldest_goes_first() -> None:
    assert choose([batch("b", created_at=2), batch("a", created_at=1)]) == batch("a", created_at=1)


@given(CANDIDATES)
def test_the_choice_is_one_of_the_candidates_and_none_beats_it(
    candidates: list[Claimable],
) -> None:
    chosen = choose(candidates)
    assert (chosen is None) == (not candidates)
    if chosen is None:
        return
    assert chosen in candidates
    at_work: Counter[str] = Counter()
    for candidate in candidates:
        at_work[candidate.tenant] += candidate.running_shards
    rivals = [one for one in candidates if one.priority >= chosen.priority]
    assert all(one.priority == chosen.priority for one in rivals)
    rivals = [one for one in rivals if at_work[one.tenant] <= at_work[chosen.tenant]]
    assert all(at_work[one.tenant] == at_work[chosen.tenant] for one in rivals)
    rivals = [one for one in rivals if one.running_shards <= chosen.running_shards]
    assert all(one.running_shards == chosen.running_shards for one in rivals)
    assert min(one.created_at for one in rivals) == chosen.created_at


@given(CANDIDATES.filter(lambda candidates: len(candidates) <= 5))
def test_the_choice_does_not_depend_on_the_order_of_the_candidates(
    candidates: list[Claimable],
) -> None:
    choices = {
        chosen.batch_id if (chosen := choose(order)) else None
        for order in itertools.permutations(candidates)
    }
    assert len(choices) == 1


@given(CANDIDATES.filter(bool), st.integers(1, 40))
def test_whoever_waits_is_chosen_before_long(candidates: list[Claimable], rounds: int) -> None:
    """Within one priority nobody is passed over while another gets far ahead."""
    waiting = [msgspec.structs.replace(one, priority=0, running_shards=0) for one in candidates]
    for _ in range(rounds):
        chosen = choose(waiting)
        assert chosen is not None
        waiting[waiting.index(chosen)] = msgspec.structs.replace(
            chosen, running_shards=chosen.running_shards + 1
        )
    shares: Counter[str] = Counter()
    for one in waiting:
        shares[one.tenant] += one.running_shards
    assert max(shares.values()) - min(shares.values()) <= 1
