"""Our codec against npm's ilp-packet over oer-utils: the same verdict on every packet and the same
bytes written for it, but for the differences below, each of which must also occur."""

import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from fastilp._core.packet import decode
from fastilp.errors import DecodeError, UsageError
from tests.interop import npm
from tests.interop.differential.generate import packets
from tests.interop.differential.oddities import oddities

pytestmark = pytest.mark.interop

PACKAGES = ["ilp-packet@3.1.3", "oer-utils@5.1.2"]
PROGRAM = Path(__file__).parent / "codec.cjs"
SEED = int(os.environ.get("FASTILP_SEED", "1"))
COUNT, COUNT_SOAK = 1_000, 10_000

THEY_ALONE, WE_ALONE, OTHER_BYTES = "they alone accept", "we alone accept", "other bytes written"
PREPARE, REJECT, ALL = {"prepare"}, {"reject"}, {"prepare", "fulfill", "reject"}

# Oddity of the packet -> what comes of it, in which packets, and why.
DIFFERENCES = {
    "high_bit": (
        THEY_ALONE,
        PREPARE | REJECT,
        "Node's 'ascii' decoder drops the high bit, b2 reads as '2'; ASCII has seven bits",
    ),
    "timestamp_no_digits": (
        THEY_ALONE,
        PREPARE,
        "they convert with Number(), which takes blanks, signs, dots, '0x' and '1e2'",
    ),
    "no_such_time": (
        THEY_ALONE,
        PREPARE,
        "Date.UTC rolls over month 13, 30 February, hour 24 and second 60; RFC 30: MUST reject",
    ),
    "year_below_1000": (
        OTHER_BYTES,
        PREPARE,
        "Date.UTC takes years below 100 for 19xx, their writer does not pad years to four digits",
    ),
    "epoch": (
        WE_ALONE,
        PREPARE,
        "they test the time for truth, and 1970-01-01T00:00:00.000Z is 0",
    ),
    "leading_zeros": (
        WE_ALONE,
        ALL,
        "lengths that lead with zeros: RFC 27 lets a receiver take them, Interledger.rs does",
    ),
    "data_size": (THEY_ALONE, ALL, "RFC 27: at most 32,767 bytes of data; we take one more"),
    "packet_size": (THEY_ALONE, ALL, "no field can make a packet larger than 65,535 bytes"),
    "message_size": (
        THEY_ALONE,
        REJECT,
        "RFC 27: at most 8,191 bytes of message; we take one more",
    ),
    "triggered_by_no_address": (
        WE_ALONE,
        REJECT,
        "a Reject frees money, so we relay it whoever signed it",
    ),
    "triggered_by_empty": (
        OTHER_BYTES,
        REJECT,
        "they write it; Interledger.rs cannot read such a Reject, so we never do",
    ),
    "message_no_utf8": (
        OTHER_BYTES,
        REJECT,
        "they write U+FFFD for what they could not read; we keep the bytes",
    ),
}


class Verdict(NamedTuple):
    accepted: bool
    written: bytes
    error: str


def ours(packet: bytes) -> Verdict:
    try:
        decoded = decode(packet)
    except DecodeError as error:
        return Verdict(False, b"", str(error))
    try:
        return Verdict(True, bytes(decoded), "")
    except UsageError as error:
        return Verdict(True, b"", str(error))


def theirs(batch: list[bytes]) -> list[Verdict]:
    modules = npm.ensure(PACKAGES)
    done = subprocess.run(
        [npm.node(), str(PROGRAM), str(modules)],
        input=b"".join(len(one).to_bytes(4, "big") + one for one in batch),
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        Verdict(one["accepted"], bytes.fromhex(one.get("written", "")), str(one.get("error", "")))
        for one in lines
    ]


def difference(we: Verdict, they: Verdict) -> str:
    if we.accepted != they.accepted:
        return WE_ALONE if we.accepted else THEY_ALONE
    return OTHER_BYTES if we.accepted and we.written != they.written else ""


@pytest.mark.parametrize("kind", ["prepare", "fulfill", "reject"])
def test_same_verdict_and_same_bytes(kind: str, soak: bool) -> None:
    batch = list(itertools.islice(packets(kind, SEED), COUNT_SOAK if soak else COUNT))
    unexplained: list[str] = []
    seen: set[str] = set()
    accepted = 0
    for packet, they in zip(batch, theirs(batch), strict=True):
        we = ours(packet)
        accepted += we.accepted and they.accepted
        what = difference(we, they)
        if not what:
            continue
        reasons = {name for name in oddities(packet) if DIFFERENCES[name][0] == what}
        seen |= reasons
        if not reasons:
            unexplained.append(f"{what}: {packet[:200].hex()} we: {we} they: {they}")
    assert not unexplained, f"seed {SEED}, {len(unexplained)}:\n" + "\n".join(unexplained[:5])
    # Neither is everything refused, nor is a line of the table a mere excuse.
    assert accepted > len(batch) // 5
    assert {name for name, row in DIFFERENCES.items() if kind in row[1]} <= seen


def test_a_difference_would_be_seen() -> None:
    """Vectors of the three types: what they write for them is what we write, to the byte."""
    batch = [next(packets(kind, SEED)) for kind in ("prepare", "fulfill", "reject")]
    for packet, they in zip(batch, theirs(batch), strict=True):
        assert they == Verdict(True, packet, "")
        assert difference(ours(packet), they._replace(written=packet + b"\x00")) == OTHER_BYTES
        assert difference(ours(packet), Verdict(False, b"", "")) == WE_ALONE
        assert difference(Verdict(False, b"", ""), they) == THEY_ALONE
