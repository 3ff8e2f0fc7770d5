"""STREAM packets that npm's ilp-protocol-stream made, and those of interledger/rfcs where the
environment names their file: byte for byte, both ways."""

import base64
import json
import os
from pathlib import Path

import pytest

from fastilp._core.stream import decode_packet, encode_packet
from fastilp._core.stream_frames import Packet
from tests.vectors import load
from tests.vectors.stream import fields_of, packet_of, rfcs_packet_of

MADE_BY_NPM = [one for one in load("stream_packets") if one["kind"] == "packet"]
# The file of interledger/rfcs is under another licence and not ours to publish.
RFCS_FILE = os.environ.get("FASTILP_STREAM_VECTORS")
RFCS_COUNT = 53


def encoded(packet: Packet) -> bytes:
    return encode_packet(packet.packet_type, packet.sequence, packet.amount, packet.frames)


@pytest.mark.parametrize("vector", [pytest.param(one, id=one["name"]) for one in MADE_BY_NPM])
def test_made_by_npm(vector):
    wire, packet = bytes.fromhex(vector["hex"]), packet_of(vector)
    assert decode_packet(wire) == packet
    assert encoded(packet) == wire
    assert fields_of(packet).items() <= vector.items()


def test_npm_made_every_frame():
    names = {frame[0] for one in MADE_BY_NPM for frame in one["frames"]}
    assert len(names) == 15


@pytest.mark.skipif(RFCS_FILE is None, reason="FASTILP_STREAM_VECTORS names no file")
def test_of_interledger_rfcs():
    assert RFCS_FILE is not None
    vectors = json.loads(Path(RFCS_FILE).read_text())
    assert len(vectors) == RFCS_COUNT
    for vector in vectors:
        wire, packet = base64.b64decode(vector["buffer"]), rfcs_packet_of(vector)
        assert decode_packet(wire) == packet, vector["name"]
        if not vector.get("decode_only"):
            assert encoded(packet) == wire, vector["name"]
