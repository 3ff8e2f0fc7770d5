"""Random packets and what happens to them on a bad day, from a seed.

Imports fastilp's packets, so that what it writes is judged too.
"""

import random
import string
from collections.abc import Callable, Iterator

from fastilp._core.packet import Fulfill, Prepare, Reject

SEGMENT = string.ascii_letters + string.digits + "_~-"
SCHEMES = "g private example peer self test test1 test2 test3 local".split()
MS_MIN, MS_MAX = -62_135_596_800_000, 253_402_300_799_999
YEARS = ["0000", "0001", "0099", "0100", "0999", "1000", "1900", "1970", "2000", "2026", "9999"]


def address(chance: random.Random) -> str:
    segments = [
        "".join(chance.choices(SEGMENT, k=chance.randint(1, 12)))
        for _ in range(chance.randint(1, 6))
    ]
    return ".".join([chance.choice(SCHEMES), *segments])


def data(chance: random.Random) -> bytes:
    size = chance.choice([0, 1, chance.randint(0, 127), chance.randint(128, 600)])
    return chance.randbytes(chance.randint(0, 32_767) if chance.random() < 0.01 else size)


def prepare(chance: random.Random) -> bytes:
    near = (1_500_000_000_000, 2_500_000_000_000)
    return bytes(
        Prepare(
            amount=chance.getrandbits(chance.randint(0, 64)),
            expires_at=chance.randint(*(near if chance.random() < 0.8 else (MS_MIN, MS_MAX))),
            execution_condition=chance.randbytes(32),
            destination=address(chance),
            data=data(chance),
        )
    )


def fulfill(chance: random.Random) -> bytes:
    return bytes(Fulfill(fulfillment=chance.randbytes(32), data=data(chance)))


def reject(chance: random.Random) -> bytes:
    return bytes(
        Reject(
            code=chance.choice(["F00", "F08", "T04", "R00", "F99", "Z01"]),
            triggered_by=address(chance),
            message="".join(chance.choices("abc \u00e9\u20ac\U0001f4b8", k=chance.randint(0, 40))),
            data=data(chance),
        )
    )


# --- The parts of a packet that we wrote, and other ways to put them together ---------------------


def split(packet: bytes) -> tuple[int, list[bytes]]:
    """Type and content of a canonical packet; the content as fixed head and strings in turn."""
    content = packet[2:] if packet[1] < 0x80 else packet[2 + (packet[1] & 0x7F) :]
    head = {12: 57, 13: 32, 14: 3}[packet[0]]
    parts, at = [content[:head]], head
    while at < len(content):
        count = content[at] & 0x7F if content[at] >= 0x80 else 0
        size = int.from_bytes(content[at + 1 : at + 1 + count], "big") if count else content[at]
        at += 1 + count
        parts.append(content[at : at + size])
        at += size
    return packet[0], parts


def length(size: int, chance: random.Random | None = None) -> bytes:
    """Canonical; with `chance`, some long form that may lead with zeros or be too long."""
    if chance is None and size < 0x80:
        return bytes([size])
    count = (size.bit_length() + 7) // 8
    if chance is not None:
        count = chance.randint(max(count, 1), 9)
    return bytes([0x80 | count]) + size.to_bytes(count, "big")


def content_of(parts: list[bytes], odd: int = -1, chance: random.Random | None = None) -> bytes:
    """Head and strings; the length of string number `odd` in another form."""
    content = parts[0]
    for number, part in enumerate(parts[1:]):
        content += length(len(part), chance if number == odd else None) + part
    return content


def envelope(packet_type: int, content: bytes, chance: random.Random | None = None) -> bytes:
    return bytes([packet_type]) + length(len(content), chance) + content


# --- Mutations: packet -> packet ------------------------------------------------------------------


def same(packet: bytes, chance: random.Random) -> bytes:
    return packet


def change_bytes(packet: bytes, chance: random.Random) -> bytes:
    changed = bytearray(packet)
    for _ in range(chance.randint(1, 3)):
        changed[chance.randrange(min(len(changed), 120))] = chance.randrange(256)
    return bytes(changed)


def flip_bit(packet: bytes, chance: random.Random) -> bytes:
    changed = bytearray(packet)
    changed[chance.randrange(min(len(changed), 120))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(packet: bytes, chance: random.Random) -> bytes:
    return packet[: chance.randrange(len(packet))]


def cut_inside(packet: bytes, chance: random.Random) -> bytes:
    """The envelope is sound, what is inside ends early."""
    packet_type, parts = split(packet)
    content = content_of(parts)
    return envelope(packet_type, content[: chance.randrange(len(content))]) + chance.randbytes(5)


def extend(packet: bytes, chance: random.Random) -> bytes:
    return packet + chance.randbytes(chance.randint(1, 20))


def extend_inside(packet: bytes, chance: random.Random) -> bytes:
    packet_type, parts = split(packet)
    rest = chance.randbytes(70_000 if chance.random() < 0.1 else chance.randint(1, 20))
    return envelope(packet_type, content_of(parts) + rest)


def other_length(packet: bytes, chance: random.Random) -> bytes:
    packet_type, parts = split(packet)
    odd = chance.randrange(len(parts))
    content = content_of(parts, odd, chance)
    return envelope(packet_type, content, chance if odd == len(parts) - 1 else None)


def other_time(packet: bytes, chance: random.Random) -> bytes:
    """Times near the edges of the calendar, and other bytes in their place."""
    packet_type, parts = split(packet)
    if packet_type != 12:
        return change_bytes(packet, chance)
    digits = bytearray(
        (
            chance.choice(YEARS)
            + "".join(f"{chance.randint(0, top):02}" for top in (13, 32, 25, 61, 61))
            + f"{chance.randint(0, 999):03}"
        ).encode()
    )
    kind = chance.random()
    if kind < 0.1:
        digits[:] = b"19700101000000000"
    elif kind < 0.3:
        digits[chance.randrange(17)] = chance.choice(b" +-./:eEx0\n")
    elif kind < 0.4:
        digits[chance.randrange(17)] |= 0x80
    parts[0] = parts[0][:8] + bytes(digits) + parts[0][25:]
    return envelope(packet_type, content_of(parts))


def other_string(packet: bytes, chance: random.Random) -> bytes:
    """Another address, message or data: empty, at its limit, or of bytes that may not be in it."""
    packet_type, parts = split(packet)
    which = chance.randint(1, len(parts) - 1)
    size_max = 32_768 if which == len(parts) - 1 else 8_192 if which == 2 else 1_023
    changed = bytearray(parts[which])
    if changed:
        changed[chance.randrange(len(changed))] = chance.choice(b".. !/A\x00\x7f\x80\xb2\xff")
    full = b"g." + b"a" * (size_max - 2)
    others = [b"", b"g", b"g.", b"what.alice", full, full + b"a"]
    parts[which] = bytes(changed) if chance.random() < 0.6 else chance.choice(others)
    return envelope(packet_type, content_of(parts))


def noise(packet: bytes, chance: random.Random) -> bytes:
    return packet[:1] + chance.randbytes(chance.randint(0, 150))


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [
    same, change_bytes, flip_bit, cut, cut_inside, extend, extend_inside, other_length, other_time,
    other_string, noise,
]  # fmt: skip
MAKERS = {"prepare": prepare, "fulfill": fulfill, "reject": reject}


def packets(kind: str, seed: int) -> Iterator[bytes]:
    chance = random.Random(f"{kind} {seed}")
    while True:
        for mutate in MUTATIONS:
            yield mutate(MAKERS[kind](chance), chance)
