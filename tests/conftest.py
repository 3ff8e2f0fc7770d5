"""Settings of the whole suite: hypothesis is the same on every run of the gate, and free in `make
hunt`."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Builds and other sessions share the machine: a slow example is no failure.
settings.register_profile(
    "gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("hunt", parent=settings.get_profile("gate"), derandomize=False)
settings.load_profile("hunt" if os.environ.get("FASTILP_HUNT") else "gate")

# A shell that runs the suite in the background has it ignore SIGINT, and so would everything that
# tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether to run the long counts (`make soak`)."""
    return bool(os.environ.get("FASTILP_SOAK"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Packaging first: one long build, while other processes go through the rest."""
    items.sort(key=lambda item: item.get_closest_marker("packaging") is None)
