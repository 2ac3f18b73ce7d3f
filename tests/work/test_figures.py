"""What Prometheus is told about the work."""

from __future__ import annotations

from prometheus_client import REGISTRY

from tests.work.site import ScriptedEngine, until, working
from tests.work.workshop import Workshop, numbered


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_requests_of_sealed_shards_are_counted_with_their_tokens(
    shop: Workshop, engine: ScriptedEngine
) -> None:
    answers = figure("nightrate_answers_total", outcome="succeeded")
    failed = figure("nightrate_answers_total", outcome="failed")
    tokens = figure("nightrate_tokens_total", kind="output")
    await shop.plan([*numbered(20), b"no request\n"])
    async with working(shop, engine) as site:
        await site.ended()
        await until(lambda: figure("nightrate_answers_total", outcome="failed") > failed)
        assert figure("nightrate_engine_ready", engine=site.lane.name) == 1
    assert figure("nightrate_answers_total", outcome="succeeded") - answers == 20
    assert figure("nightrate_answers_total", outcome="failed") - failed == 1
    assert (
        figure("nightrate_tokens_total", kind="output") - tokens
        == (await shop.batch()).tally.output_tokens
    )
