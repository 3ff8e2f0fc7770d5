"""SHA-256 of fulfillments, each kernel against hashlib."""

import hashlib
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core import condition
from tests.probe import compiled

messages = st.binary(min_size=32, max_size=32)

# Run in a process of its own, because the kernel is chosen at import.
KERNEL_SCRIPT = """
import hashlib, random
from fastilp._core import condition
chance = random.Random(7)
for count in (0, 1, 2, 63, 64, 65, 200):
    fulfillments = [chance.randbytes(32) for _ in range(count)]
    conditions = [hashlib.sha256(one).digest() for one in fulfillments]
    assert condition.check(fulfillments, conditions) == [True] * count
    wrong = [bytes(255 - byte for byte in one) for one in conditions]
    assert condition.check(fulfillments, wrong) == [False] * count
print(condition.kernel())
"""


# The functions that the switch calls, with columns of any height.
PROGRAM = """
from libc.stdint cimport uint8_t
from fastilp._core.condition cimport condition_check, condition_of

def check(list fulfillments, list conditions):
    cdef const uint8_t* messages[500]
    cdef const uint8_t* digests[500]
    cdef uint8_t matches[500]
    for i, (message, digest) in enumerate(zip(fulfillments, conditions)):
        messages[i] = <const uint8_t*><bytes>message
        digests[i] = <const uint8_t*><bytes>digest
    condition_check(messages, digests, matches, len(fulfillments))
    return [bool(matches[i]) for i in range(len(fulfillments))]

def of(bytes message):
    cdef uint8_t digest[32]
    condition_of(message, digest)
    return digest[:32]
"""


def sha256(message: bytes) -> bytes:
    return hashlib.sha256(message).digest()


def run(script: str, kernel: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FASTILP_SHA256": kernel}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@given(st.lists(st.tuples(messages, st.integers(0, 256)), max_size=150))
def test_matches_are_those_of_hashlib(rows):
    """Each row's condition is right, or has one bit flipped anywhere."""
    fulfillments = [message for message, _ in rows]
    conditions = []
    for message, bit in rows:
        digest = int.from_bytes(sha256(message), "big")
        conditions.append((digest ^ (1 << bit if bit < 256 else 0)).to_bytes(32, "big"))
    assert condition.check(fulfillments, conditions) == [bit == 256 for _, bit in rows]


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    return compiled(PROGRAM, tmp_path_factory.mktemp("condition"))


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 127, 128, 129, 500])
def test_columns_of_any_height(core, count):
    """Every third condition is wrong, in its last byte."""
    fulfillments = [number.to_bytes(32, "big") for number in range(count)]
    conditions = [core.of(one) for one in fulfillments]
    assert conditions == [sha256(one) for one in fulfillments]
    for number in range(0, count, 3):
        last = conditions[number][-1]
        conditions[number] = conditions[number][:-1] + bytes([last ^ 1])
    assert core.check(fulfillments, conditions) == [number % 3 != 0 for number in range(count)]


def test_known_conditions():
    """The condition of `peer.` requests (RFC 31), and rows that were swapped."""
    zeros = bytes.fromhex("66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925")
    ones = sha256(b"\xff" * 32)
    assert condition.check([bytes(32), b"\xff" * 32], [zeros, ones]) == [True, True]
    assert condition.check([bytes(32), b"\xff" * 32], [ones, zeros]) == [False, False]


def test_portable_kernel():
    done = run(KERNEL_SCRIPT, "portable")
    assert (done.returncode, done.stdout.strip()) == (0, "portable"), done.stderr


def test_sha_extensions_kernel():
    done = run(KERNEL_SCRIPT, "ni")
    # Right digests, or a refusal that says why: never a wrong answer.
    if done.returncode != 0:
        assert "this processor has no SHA extensions" in done.stderr
    else:
        assert done.stdout.strip() == "ni"


def test_unknown_kernel():
    done = run("from fastilp._core import condition", "fastest")
    assert done.returncode != 0
    assert "must be portable or ni" in done.stderr


def test_kernel_is_named():
    assert condition.kernel() in ("portable", "ni")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_other_lengths(size):
    with pytest.raises(ValueError, match="32 bytes"):
        condition.check([bytes(size)], [bytes(32)])
    with pytest.raises(ValueError, match="32 bytes"):
        condition.check([bytes(32)], [bytes(size)])


def test_columns_of_different_height():
    with pytest.raises(ValueError, match="as many"):
        condition.check([bytes(32)], [])
