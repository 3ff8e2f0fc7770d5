"""SHA-256 of fulfillments, each kernel against hashlib."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core import condition
from tests.probe import compiled

messages = st.binary(min_size=32, max_size=32)

KERNELS = ("portable", "ni", "avx2", "avx512")

# Run in a process of its own, because the kernel is chosen at import. Every height of column from
# none to more than four times the lanes of the widest kernel; then one wrong row in each place of
# a column, in its first byte, its last, or anywhere.
KERNEL_SCRIPT = """
import hashlib, random
from fastilp._core import condition
chance = random.Random(7)

def sha256(messages):
    return [hashlib.sha256(one).digest() for one in messages]

def flipped(digest, byte):
    return digest[:byte] + bytes([digest[byte] ^ 1 << chance.randrange(8)]) + digest[byte + 1:]

for count in [*range(71), 255, 256, 257]:
    fulfillments = [chance.randbytes(32) for _ in range(count)]
    conditions = sha256(fulfillments)
    assert condition.check(fulfillments, conditions) == [True] * count
    wrong = [flipped(one, 31) for one in conditions]
    assert condition.check(fulfillments, wrong) == [False] * count
    right = [chance.random() < 0.5 for _ in range(count)]
    mixed = [
        one if kept else flipped(one, chance.randrange(32))
        for one, kept in zip(conditions, right, strict=True)
    ]
    assert condition.check(fulfillments, mixed) == right
    assert condition.count_matches(b"".join(fulfillments), b"".join(mixed)) == sum(right)
fulfillments = [bytes([value]) * 32 for value in range(70)]
conditions = sha256(fulfillments)
for place in range(70):
    for byte in (0, 31, chance.randrange(32)):
        wrong = [*conditions]
        wrong[place] = flipped(wrong[place], byte)
        expected = [number != place for number in range(70)]
        assert condition.check(fulfillments, wrong) == expected
print(condition.kernel())
"""


# The function that the switch calls, with columns of any height.
PROGRAM = """
from libc.stdint cimport uint8_t
from fastilp._core.condition cimport condition_check

def check(list fulfillments, list conditions):
    cdef const uint8_t* messages[500]
    cdef const uint8_t* digests[500]
    cdef uint8_t matches[500]
    for i, (message, digest) in enumerate(zip(fulfillments, conditions)):
        messages[i] = <const uint8_t*><bytes>message
        digests[i] = <const uint8_t*><bytes>digest
    condition_check(messages, digests, matches, len(fulfillments))
    return [bool(matches[i]) for i in range(len(fulfillments))]
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
    conditions = [sha256(one) for one in fulfillments]
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


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel(kernel):
    """Right answers, or a refusal that says why: never a wrong answer."""
    done = run(KERNEL_SCRIPT, kernel)
    if kernel in condition.kernels():
        assert (done.returncode, done.stdout.strip()) == (0, kernel), done.stderr
    else:
        assert done.returncode != 0
        assert "this processor or system cannot run" in done.stderr


def test_unknown_kernel():
    done = run("from fastilp._core import condition", "fastest")
    assert done.returncode != 0
    assert "must be portable, ni, avx2 or avx512" in done.stderr


def test_kernel_that_is_chosen():
    """The first of those that the machine can run, unless the tests themselves force one."""
    kernels = condition.kernels()
    assert set(kernels) <= set(KERNELS)
    assert kernels[-1] == "portable"
    assert condition.kernel() == os.environ.get("FASTILP_SHA256", kernels[0])


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="asks Linux what it makes use of")
def test_kernels_are_those_of_the_machine():
    """Linux lists a flag only if it saves the registers that go with it."""
    found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    needed = {"ni": {"sha_ni", "sse4_1", "ssse3"}, "avx2": {"avx2"}}
    needed["avx512"] = {"avx512f", "avx512bw"}
    expected = {name for name, wanted in needed.items() if wanted <= flags}
    assert set(condition.kernels()) == expected | {"portable"}


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_other_lengths(size):
    with pytest.raises(ValueError, match="32 bytes"):
        condition.check([bytes(size)], [bytes(32)])
    with pytest.raises(ValueError, match="32 bytes"):
        condition.check([bytes(32)], [bytes(size)])


def test_columns_of_different_height():
    with pytest.raises(ValueError, match="as many"):
        condition.check([bytes(32)], [])
    with pytest.raises(ValueError, match="as many"):
        condition.count_matches(bytes(32), bytes(64))
    with pytest.raises(ValueError, match="32 bytes each"):
        condition.count_matches(bytes(31), bytes(31))
