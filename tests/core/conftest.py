"""Fixtures of the core's tests: most of them run on the compiled switch and on the reference model,
so that the tests themselves are known to be sane."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.reference.hub import Hub
from tests.reference.kits import KITS
from tests.reference.lockstep import Kit

MakeHub = Callable[..., Hub]


@pytest.fixture(params=KITS, ids=lambda kit: kit.name)
def kit(request: pytest.FixtureRequest) -> Kit:
    """One implementation of the switch."""
    chosen: Kit = request.param
    return chosen


@pytest.fixture
def make_hub(kit: Kit) -> MakeHub:
    def make(**keywords: Any) -> Hub:
        return Hub(kit, **keywords)

    return make


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return make_hub()
