"""npm's ilp-protocol-stream and our codec agree: each reads what the other writes, encrypts and
signs, and the vectors that are kept here are what npm makes."""

import os
import random
from typing import Any

from fastilp._core.stream import decode_packet, encode_packet
from fastilp.endpoints.stream.crypto import Keys, receipt, verify_receipt
from tests.interop.processes import Script, stopping
from tests.vectors import load
from tests.vectors.stream import fields_of, packet_of

VECTORS = load("stream_packets")
FIELDS = ("packet_type", "sequence", "amount", "frames")
SECRET = bytes(range(32))


def kept(kind: str) -> list[dict[str, Any]]:
    return [one for one in VECTORS if one["kind"] == kind]


def asked(role: str, event: str, **task: Any) -> list[Any]:
    script = Script("stream_packets.js", {"role": role, **task})
    with stopping(script):
        said = script.event(event)
    found: list[Any] = said["packets" if "packets" in said else "receipts"]
    return found


def test_packets_both_ways() -> None:
    fields = [{name: one[name] for name in FIELDS} for one in kept("packet")]
    written = asked("write", "written", packets=fields)
    assert written == [one["hex"] for one in kept("packet")]
    ours = [
        encode_packet(*packet[:3], packet.frames).hex() for packet in map(packet_of, kept("packet"))
    ]
    assert asked("read", "read", packets=ours) == fields


def test_encrypted_both_ways() -> None:
    fields = [{name: one[name] for name in FIELDS} for one in kept("packet")[:40]]
    sizes = random.Random(1)
    tasks = [
        {"secret": os.urandom(32).hex(), "size": sizes.choice((0, 500, 1_500)), **each}
        for each in fields
    ]
    for task, made in zip(tasks, asked("encrypt", "encrypted", packets=tasks), strict=True):
        keys, data = Keys(bytes.fromhex(task["secret"])), bytes.fromhex(made["data"])
        packet = decode_packet(keys.decrypt(data))
        assert fields_of(packet) == {name: task[name] for name in FIELDS}
        assert keys.fulfillment(data).hex() == made["fulfillment"]
    keys = Keys(SECRET)
    ours = [
        {
            "secret": SECRET.hex(),
            "data": keys.encrypt(encode_packet(*packet[:3], packet.frames, size=300)).hex(),
        }
        for packet in map(packet_of, kept("packet"))
    ]
    read = asked("decrypt", "decrypted", packets=ours)
    assert read == [{name: one[name] for name in FIELDS} for one in kept("packet")]


def test_receipts_both_ways() -> None:
    wanted = [
        {name: one[name] for name in ("nonce", "stream_id", "total", "secret")}
        for one in kept("receipt")
    ]
    signed = asked("sign", "signed", receipts=wanted)
    assert signed == [one["hex"] for one in kept("receipt")]
    for one, octets in zip(wanted, signed, strict=True):
        said = verify_receipt(bytes.fromhex(octets), bytes.fromhex(one["secret"]))
        assert (said.nonce.hex(), said.total) == (one["nonce"], int(one["total"]))
    ours = [
        {
            "receipt": receipt(
                bytes.fromhex(one["nonce"]),
                int(one["stream_id"]),
                int(one["total"]),
                bytes.fromhex(one["secret"]),
            ).hex(),
            "secret": one["secret"],
        }
        for one in wanted
    ]
    verified = asked("verify", "verified", receipts=ours)
    assert verified == [
        {name: one[name] for name in ("nonce", "stream_id", "total")} for one in wanted
    ]
