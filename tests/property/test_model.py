"""The compiled switch against the reference model, in lock-step on random batches.

Hypothesis draws plans of batches; world.py carries each operation out on both switches, and
lockstep.py compares every output byte, counter, status, event and deadline after each batch. The
gate runs the same 1,000 batches each time; FASTILP_SOAK=1 runs 10,000, FASTILP_HUNT=1 runs other
ones each time. A failure prints the calls of the smallest plan that shows it, and the blob that
replays it.
"""

import os
import random
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.reference.kits import COMPILED
from tests.reference.lockstep import MODEL, Kit
from tests.reference.world import World

BATCHES_PER_PLAN = 20
BATCHES = 10_000 if os.environ.get("FASTILP_SOAK") else 1_000
HUNT = bool(os.environ.get("FASTILP_HUNT"))
# One plan in ten runs over a real store and is restarted now and then.
STORED_BATCHES = BATCHES // 10

ADVANCES_MS = st.sampled_from(
    [0, 0, 1, 3, 7, 8, 20, 100, 249, 250, 500, 1_000, 1_001, 3_000, 29_000, 30_008, 70_000, 400_000]
)
SETTINGS = st.integers(0, 35)
# An operation is one number: hypothesis can leave it out, and world.py makes a call of it.
OPERATION = st.integers(0, 2**32 - 1)
BATCH = st.tuples(ADVANCES_MS, st.lists(st.lists(OPERATION, max_size=10), max_size=6))
PLAN = st.lists(BATCH, min_size=BATCHES_PER_PLAN, max_size=BATCHES_PER_PLAN)

COMMON = settings(
    deadline=None,
    derandomize=not HUNT,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

Plan = list[tuple[int, list[list[int]]]]


def play(world: World, plan: Plan) -> None:
    try:
        for advance_ms, groups in plan:
            for operation in chain.from_iterable(groups):
                world.do(operation)
            world.step(advance_ms)
    except BaseException:
        note("\n".join(world.log))
        raise
    finally:
        world.close()


@settings(COMMON, max_examples=(BATCHES - STORED_BATCHES) // BATCHES_PER_PLAN)
@given(plan=PLAN, setting=SETTINGS)
def test_switch_agrees_with_model(plan: Plan, setting: int) -> None:
    play(World(COMPILED, setting), plan)


@settings(COMMON, max_examples=STORED_BATCHES // BATCHES_PER_PLAN)
@given(plan=PLAN, setting=SETTINGS)
def test_switch_over_store_agrees_with_model(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, setting: int
) -> None:
    path: Path = tmp_path_factory.mktemp("ledger")
    play(World(COMPILED, setting, str(path / "data")), plan)


@settings(COMMON, max_examples=5)
@given(plan=PLAN, setting=SETTINGS)
def test_model_agrees_with_itself(plan: Plan, setting: int) -> None:
    """The harness itself: two models with different request ids have nothing to disagree about."""
    play(World(MODEL, setting), plan)


def test_plans_reach_every_outcome() -> None:
    """Agreement says little about what never happened."""
    dice = random.Random(1)
    reached: set[str] = set()
    for setting in range(180):
        world = World(MODEL, setting)
        for _ in range(20):
            for _ in range(dice.randrange(16)):
                world.do(dice.getrandbits(32))
            world.step(dice.choice([0, 1, 8, 250, 1_001, 30_008]))
        counts = world.lockstep.model.statuses()
        reached |= {name for name, count in counts.items() if count}
    # The model has no receiver: tests/core/test_terminal.py is about what ends here.
    assert reached == set(counts) - {"not_ours"}


def test_lockstep_notices_a_difference() -> None:
    """A gate counts once it has been seen to fail: one lost unit of money is found."""
    kit = Kit("wrong", MODEL.switch, MODEL.memory, MODEL.open)
    world = World(kit, 0)
    try:
        world.lockstep.core_ledger.rows[world.lockstep.accounts["alice"][0].id].counters[
            "credits_posted"
        ] += 1
        with pytest.raises(AssertionError, match="counters of alice"):
            world.step(0)
    finally:
        world.close()
