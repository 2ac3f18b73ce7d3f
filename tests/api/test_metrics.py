"""Figures for Prometheus."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.api.doors import Doors


def test_the_figures_are_in_the_format_of_prometheus(doors: Doors) -> None:
    answer = doors.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {
        family.name: family for family in text_string_to_metric_families(answer.body.decode())
    }
    assert {"nightrate_answers", "nightrate_tokens", "nightrate_engine_requests"} <= families.keys()
    ready = {
        sample.labels["engine"]: sample.value
        for sample in families["nightrate_engine_ready"].samples
    }
    assert 1.0 in ready.values()
