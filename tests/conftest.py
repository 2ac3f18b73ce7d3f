"""What all tests share: how Hypothesis searches, and how tests with the embedded model are run."""

from __future__ import annotations

import signal

import hypothesis
import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has what it starts in the background ignore interrupts, and so would the commands that
    # tests start: those about interrupts would wait in vain.
    signal.signal(signal.SIGINT, signal.default_int_handler)

EMBEDDED_TIMEOUT_SECONDS = 900
"""The first such test fetches 98 MB and converts them, on a machine that may be slow at both."""

# A deadline on an example would be a timed test, and so is the check that examples are made
# quickly: they fail when the machine is busy.
hypothesis.settings.register_profile(
    "nightrate",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("nightrate")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of the embedded model in one process, so that it is loaded once at a time."""
    for item in items:
        if item.get_closest_marker("embedded") is None:
            continue
        item.add_marker(pytest.mark.xdist_group("embedded"))
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(EMBEDDED_TIMEOUT_SECONDS))
