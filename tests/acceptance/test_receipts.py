"""Receipts of a real server: what is in the output, each line once, at the prices of the order."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import types

from tests.acceptance.conftest import MakeServer
from tests.acceptance.counting import Counting
from tests.acceptance.server import Server, request_line, until

TARIFF = """
currency = "USD"
machine_price_per_hour = 3.6
[models."gemini-2.5-*"]
input = "{price}"
output = "8.00"
cached = "0.25"
"""


def with_tariff(folder: Path, price: str) -> dict[str, str]:
    """Write the tariff, and give the environment that names it."""
    path = folder / "tariff.toml"
    path.write_text(TARIFF.format(price=price))
    return {"NIGHTRATE_TARIFF": str(path)}


def receipt_of(document: Any) -> Any:
    return document["metadata"]["nightrate"].get("receipt")


def used(rows: list[Any]) -> dict[str, int]:
    """Add up what the lines of an output say."""
    usages = [row["response"]["usageMetadata"] for row in rows if "response" in row]
    cached = sum(usage.get("cachedContentTokenCount", 0) for usage in usages)
    return {
        "input": sum(usage["promptTokenCount"] for usage in usages) - cached,
        "cached": cached,
        "output": sum(usage["candidatesTokenCount"] for usage in usages),
        "thinking": 0,
    }


def tokens(receipt: Any) -> dict[str, int]:
    return {item["of"]: item["tokens"] for item in receipt["items"]}


def lines_of(server: Server, document: Any) -> list[Any]:
    content = server.download(document["dest"]["fileName"])
    return [msgspec.json.decode(line) for line in content.splitlines()]


def test_a_tariff_that_changes_later_changes_no_receipt(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server("--engine", "echo", environment=with_tariff(tmp_path, "2.00"))
    before = server.submit(request_line("a", "three tokens"))
    server.finish(before)
    going_on = server.submit(request_line("a", "[[delay 2]] x"))
    first = receipt_of(server.batch(before))
    assert tokens(first) == {"input": 3, "cached": 0, "output": 3, "thinking": 0}
    assert (first["listPrice"], first["batchPrice"]) == ("0.00003", "0.000015")
    assert (first["saved"], first["currency"]) == ("0.000015", "USD")
    assert server.terminate() == 0
    with_tariff(tmp_path, "1000000")
    server.restart()
    assert receipt_of(server.batch(before)) == first
    assert receipt_of(server.finish(going_on))["items"][0]["pricePerMillion"] == "2"
    after = receipt_of(server.finish(server.submit(request_line("a", "three tokens"))))
    assert (after["items"][0]["listPrice"], after["items"][0]["batchPrice"]) == ("3", "1.5")


def test_a_model_that_the_tariff_does_not_name_has_no_prices(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server("--engine", "echo", environment=with_tariff(tmp_path, "2.00"))
    file = server.upload(request_line("a", "x"))
    name = str(server.create(file, "gemini-3-pro-preview").json["name"])
    receipt = receipt_of(server.finish(name))
    assert "listPrice" not in receipt
    assert {"machinePrice", "engineSeconds"} <= receipt.keys()


def test_a_cancelled_batch_pays_for_what_it_hands_out(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server("--engine", "echo", environment=with_tariff(tmp_path, "2.00"))
    texts = ["two words"] * 30 + ["[[delay 60]] never"] * 70
    name = server.submit(b"".join(request_line(n, text) for n, text in enumerate(texts)))

    def answered() -> bool:
        stats = server.batch(name)["metadata"]["batchStats"]
        return int(stats["successfulRequestCount"]) == 30

    until(answered, 30)
    assert receipt_of(server.batch(name)) is None
    assert server.batch(name)["metadata"]["nightrate"]["usage"]["totalTokenCount"] == 180
    assert server.ask("POST", f"/v1/{name}:cancel").status == 200
    document = until(lambda: found if "dest" in (found := server.batch(name)) else None, 60)
    receipt = receipt_of(document)
    assert receipt["lines"] == 100
    assert tokens(receipt) == used(lines_of(server, document)) != used([])


def test_results_that_are_held_back_cost_nothing(make_server: MakeServer, tmp_path: Path) -> None:
    environment = with_tariff(tmp_path, "2.00") | {"NIGHTRATE_PARTIAL_RESULTS": "false"}
    server = make_server("--engine", "echo", environment=environment)
    name = server.submit(request_line("a", "quick") + request_line("b", "[[delay 60]] never"))

    def answered() -> bool:
        stats = server.batch(name)["metadata"]["batchStats"]
        return int(stats["successfulRequestCount"]) == 1

    until(answered, 30)
    assert server.ask("POST", f"/v1/{name}:cancel").status == 200
    receipt = receipt_of(server.batch(name))
    assert (receipt["lines"], receipt["listPrice"], receipt["batchPrice"]) == (0, "0", "0")


def test_each_line_is_paid_for_once_however_often_the_server_was_killed(
    make_server: MakeServer, counting: Counting, tmp_path: Path
) -> None:
    chance = random.Random(8)
    requests, delay_seconds = 300, 0.05
    config = counting.settings(requests=8, delay_seconds=delay_seconds)
    environment = counting.environment | with_tariff(tmp_path, "2.00")
    server = make_server("--config", config, environment=environment)
    name = server.submit(b"".join(request_line(n, f"question {n}") for n in range(requests)))
    for _ in range(4):
        goal = counting.answers() + chance.randrange(20, 60)
        until(counting.answers_reach(goal), 30, every=0.005)
        server.kill()
        server.restart()
    document = server.finish(name)
    assert counting.answers() > requests, "a kill costs some answers"
    receipt = receipt_of(document)
    assert receipt["lines"] == requests
    assert tokens(receipt) == used(server.results(name))
    # Eight side by side share the time: with what was lost it would be longer than this.
    seconds = Decimal(receipt["engineSeconds"])
    shared = Decimal(requests) * Decimal(str(delay_seconds)) / 8
    assert shared * Decimal("0.99") < seconds
    assert Decimal(receipt["machinePrice"]) == pytest.approx(seconds / 1000, abs=Decimal("1e-6"))


def test_googles_client_reads_jobs_that_carry_a_receipt(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server("--engine", "echo", environment=with_tariff(tmp_path, "2.00"))
    options = types.HttpOptions(base_url=server.base_url)
    with genai.Client(api_key="any-key", http_options=options) as client:
        request: types.InlinedRequestDict = {"contents": [{"parts": [{"text": "a"}]}]}
        job = client.batches.create(model="gemini-2.5-flash", src=[request])
        assert job.name
        assert receipt_of(server.finish(job.name))["lines"] == 1
        found = client.batches.get(name=job.name)
        assert found.state == types.JobState.JOB_STATE_SUCCEEDED
        assert found.dest is not None
        assert len(found.dest.inlined_responses or []) == 1
        assert {one.name for one in client.batches.list()} == {job.name}


def test_a_dry_run_tells_what_the_prompts_would_cost(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server("--engine", "echo", environment=with_tariff(tmp_path, "2.00"))
    order = {"batch": {"inputConfig": {"fileName": server.upload(request_line("a", "x" * 400))}}}
    path = "/v1beta/models/gemini-2.5-flash:batchGenerateContent?dryRun=true"
    told = server.ask("POST", path, msgspec.json.encode(order)).json
    assert told["promptTokenEstimate"] == "100"
    assert told["promptPriceEstimate"]["batchPrice"] == "0.0001"
