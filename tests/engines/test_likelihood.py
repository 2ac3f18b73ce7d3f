"""The likelihood check: the judgement, and the wrong model it exists for."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from nightrate.engines import weights
from nightrate.engines.likelihood import PASSAGES, REFERENCES, TOLERANCE_NATS, Measured, compare
from nightrate.engines.openvino import OpenVINOOptions, setup_of
from nightrate.engines.packages import lent

VERSION = weights.DEFAULT_MODEL_VERSION


def shifted(nats: float, tokens: int = 0) -> dict[str, Measured]:
    """Give the reference values, moved."""
    return {
        name: Measured(value.nats_per_token + nats, value.tokens + tokens)
        for name, value in REFERENCES[VERSION].items()
    }


@pytest.mark.parametrize("nats", [0.0, TOLERANCE_NATS * 0.9, -TOLERANCE_NATS * 0.9])
def test_values_within_the_tolerance_pass(nats: float) -> None:
    assert all(one.passed for one in compare(VERSION, shifted(nats)).values())


@pytest.mark.parametrize("nats", [TOLERANCE_NATS * 1.1, -TOLERANCE_NATS * 1.1, float("nan")])
def test_values_beyond_the_tolerance_fail(nats: float) -> None:
    assert not any(one.passed for one in compare(VERSION, shifted(nats)).values())


def test_another_number_of_tokens_fails() -> None:
    assert not any(one.passed for one in compare(VERSION, shifted(0.0, tokens=1)).values())


def test_a_model_without_a_reference_is_not_judged() -> None:
    assert {one.passed for one in compare("somebody-elses", shifted(0.0)).values()} == {None}


def test_every_passage_has_its_reference() -> None:
    assert all(references.keys() == PASSAGES.keys() for references in REFERENCES.values())


MEASURE = """
import os, sys, msgspec
from nightrate.engines.likelihood import PASSAGES
from nightrate.engines.openvino_model import Model, ModelSetup

model = Model(msgspec.json.decode(sys.argv[1], type=ModelSetup))
print(msgspec.json.encode(model.likelihoods("fast", PASSAGES)).decode(), flush=True)
os._exit(0)
"""


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
def test_the_packaged_file_read_as_it_is_fails() -> None:
    """The reason for the conversion: the library reads it without a complaint, but wrongly."""
    with lent(weights.PACKAGED, lambda _doing, _share: None) as path:
        prepared = weights.Weights(path, VERSION, 8192)
        setup = setup_of(OpenVINOOptions(kv_cache_gib=1), prepared)
        command = [sys.executable, "-c", MEASURE, msgspec.json.encode(setup).decode()]
        printed = subprocess.run(command, check=True, capture_output=True).stdout
    measured = msgspec.json.decode(printed, type=dict[str, Measured])
    comparison = compare(VERSION, measured)
    assert all(
        one.measured.tokens == one.reference.tokens for one in comparison.values() if one.reference
    )
    assert not any(one.passed for one in comparison.values())
