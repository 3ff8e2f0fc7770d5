"""What npm's ilp-protocol-stream encrypted, fulfils and signs: byte for byte."""

from hashlib import sha256

import pytest

from fastilp._core.stream import decode_packet
from fastilp.endpoints.stream.crypto import Keys, Receipt, receipt, verify_receipt
from tests.vectors import load
from tests.vectors.stream import packet_of


def vectors(kind: str) -> list[object]:
    return [
        pytest.param(one, id=one["name"]) for one in load("stream_packets") if one["kind"] == kind
    ]


@pytest.mark.parametrize("vector", vectors("encrypted"))
def test_encrypted(vector):
    keys, data = Keys(bytes.fromhex(vector["secret"])), bytes.fromhex(vector["hex"])
    assert decode_packet(keys.decrypt(data)) == packet_of(vector)
    fulfillment = keys.fulfillment(data)
    assert fulfillment.hex() == vector["fulfillment"]
    assert sha256(fulfillment).hexdigest() == vector["condition"]


@pytest.mark.parametrize("vector", vectors("receipt"))
def test_receipts(vector):
    nonce, secret = bytes.fromhex(vector["nonce"]), bytes.fromhex(vector["secret"])
    said = Receipt(nonce, int(vector["stream_id"]), int(vector["total"]))
    octets = bytes.fromhex(vector["hex"])
    assert receipt(*said, secret) == octets
    assert verify_receipt(octets, secret) == said
