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
    """Files that take longest first, while other processes go through the rest: the build of the
    packages, and in a soak what has long counts."""
    long = {item.path for item in items if item.get_closest_marker("packaging")}
    if os.environ.get("FASTILP_SOAK"):
        long |= {item.path for item in items if "soak" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in long)
