"""A small economy of accounts, links, routes and rates, and the random things that can befall it.

`World.do(seed)` turns a number into one call on both switches of a Lockstep: what it means depends
only on the number and on what is in flight, so plans replay and shrink. Imports its neighbours.
"""

import hashlib
import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tests.reference.lockstep import Kit, Lockstep, Waiting
from tests.reference.packets import Fulfill, Prepare, Reject, content_of, encode, octets, timestamp

# Name, asset code, asset scale, settings. "here" is served in this process.
ACCOUNTS: tuple[tuple[str, str, int, dict[str, int | None]], ...] = (
    ("alice", "USD", 9, {}),
    ("bob", "USD", 9, {"round_trip_time": 0}),
    ("carol", "EUR", 2, {"min_balance": -(10**6)}),
    ("dave", "XRP", 6, {"max_balance": 10**9, "settle_threshold": 10**6, "settle_to": 10**3}),
    ("erin", "USD", 6, {"max_in_flight_amount": 10**6}),
    ("frank", "JPY", 0, {}),
    ("here", "USD", 9, {"round_trip_time": 0}),
)
NAMES = tuple(name for name, *_ in ACCOUNTS)
OWN = "g.hub"
PREFIXES = (
    "g.hub.alice", "g.hub.bob", "g.hub.carol", "g.hub.dave", "g.hub.erin", "g.hub.frank",
    "g.hub.here", "g.hub.bo", "g.hub.bob.deep", "g.other", "g", "", "private.x", "g.hub",
)  # fmt: skip
DESTINATIONS = (
    *["g.hub.bob", "g.hub.alice.a", "g.hub.carol", "g.hub.dave.d", "g.hub.erin"] * 4,
    *["g.hub.here.~h"] * 4,
    "g.hub.bob", "g.hub.bob.deep.er", "g.hub.bobby", "g.hub.alice.x", "g.hub.carol", "g.hub.dave",
    "g.hub.erin", "g.hub.frank", "g.hub.here.~token", "g.other.far", "g.nowhere", "private.x.y",
    "example.any", OWN, OWN + ".none", "peer.config", "peer.route.control", "test.hub", "test3.z",
)  # fmt: skip
AMOUNTS = (
    0, 1, 2, 3, 7, 99, 100, 101, 999, 1_000, 5_000, 10**6, 10**6 + 1, 10**9, 2**53 + 1, 2**63 - 1,
    2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1,
)  # fmt: skip
DELAYS_MS = (
    5_000, 30_000, 60_000, -1, 0, 1, 60, 99, 100, 101, 249, 250, 600, 999, 1_000, 1_099, 1_100,
    1_101, 1_500, 2_000, 29_999, 31_000, 31_001, 10**10,
)  # fmt: skip
DATA = (b"", b"x", b"payload" * 20, b"d" * 127, b"d" * 128, b"d" * 32_768, b"d" * 32_769)
RATES = ("1", "2", "0.5", "0.000007", "1e9", "3", "1.23456789", "99999.999")
SPREADS = ("0", "0.01", "0.5", "0.999", "1/3")
LIMITS = (None, 0, 1, 2, 10, 1_000, 10**6, 2**53 + 1, 2**64 - 1)
BALANCES = (None, -(10**18), -(10**6), -1_000, -1, 0, 1, 1_000, 10**6, 10**18, 2**70, -(2**70))
COUNTS = (0, 1, 2, 3, 16_384)
ALLOWED: tuple[Sequence[str] | None, ...] = (
    None, [], ["g.hub", "private"], ["g.hub.bob", "g.o"], [""],
)  # fmt: skip
TIMES_MS = (0, 1, 200, 500, 1_000)

# Weighted by repetition.
OPERATIONS = (
    *["prepare"] * 12,
    *["answer"] * 10,
    *["fault"] * 3,
    *["late_commit"] * 3,
    *["release"] * 2,
    *["set_account"] * 2,
    "egress_given", "twice", "unknown_answer", "wrong_link", "route", "rate", "spread",
    "close_account", "link_up", "egress", "reopen_link", "control_open", "control_sends",
    "transact", "restart", "hold", "mark",
)  # fmt: skip


def preimage(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(4, "big")).digest()


def condition(number: int) -> bytes:
    return hashlib.sha256(preimage(number)).digest()


def long_length(count: int) -> bytes:
    """A length that receivers may take and senders must not send."""
    return b"\x84" + count.to_bytes(4, "big")


def sloppy(packet: Prepare | Fulfill | Reject, how: int) -> bytes:
    """The same packet in one of the forms that RFC 30 lets us take."""
    packet_type, content = content_of(packet)
    head = bytes([packet_type])
    if how % 4 == 0:
        return head + long_length(len(content)) + content
    if how % 4 == 1:
        return head + octets(content + b"more")
    if how % 4 == 2:
        return head + octets(content) + b"behind"
    data = packet.data
    return head + octets(content[: -len(octets(data))] + long_length(len(data)) + data)


def broken(packet: bytes, how: int) -> bytes:
    """The packet no more, but still with its type byte in front (except for the last ones)."""
    position = how % 7
    if position == 0:
        return packet[: 1 + (how // 7) % (len(packet) - 1)]
    if position == 1:
        return packet[:1] + b"\x80" + packet[2:]
    if position == 2:
        return packet[:1]
    if position == 3:
        return packet[:1] + b"\x89" + bytes(8) + packet[1:]
    if position == 4:
        return packet[:1] + octets(packet[3 : 3 + (how // 7) % 30])
    if position == 5:
        return b""
    return bytes([how // 7 % 12]) + packet[1:]


class World:
    """One Lockstep with everything set up."""

    def __init__(self, kit: Kit, setting: int, path: str = "") -> None:
        limits = {"in_flight_max": (4, 16, 65_536)[setting // 4 % 3]}
        limits["window_min_ms"] = (100, 1, 1_000)[setting // 12 % 3]
        # One in four keeps nothing, so that nothing waits for a commit.
        self.lockstep = Lockstep(kit, OWN, path=path, manual=setting % 4 != 3, **limits)
        self.last_id = 1_000
        self.opened = 0
        self.held = False
        self.late = 0
        self.log: list[str] = []
        self.restart_wanted = False
        self.furnish()

    def furnish(self) -> None:
        both = self.lockstep
        self.egress_links: dict[str, list[str]] = {}
        for name, code, scale, settings in ACCOUNTS:
            both.add_account(name, code, scale, **settings)
            self.open_link(name)
        for name in NAMES:
            both.set_route(f"g.hub.{name}", name)
        self.open_link("alice")
        for code, rate in (("USD", "1"), ("EUR", "1.1"), ("XRP", "0.5")):
            both.both("set_rate", code, rate)
        both.set_open_control(True)
        both.commit_now()

    def open_link(self, account: str) -> None:
        self.opened += 1
        name = f"{account}-{self.opened}"
        self.lockstep.open_link(name, account, local=account == "here")
        self.egress_links.setdefault(account, []).append(name)

    def close(self) -> None:
        self.lockstep.close()

    def step(self, advance_ms: int) -> None:
        self.log.append(f"process +{advance_ms}")
        if self.late:
            self.late -= 1
        else:
            self.lockstep.release(0)
        self.lockstep.process(advance_ms, take=not self.held)
        self.held = False
        if self.restart_wanted:
            self.restart_wanted = False
            self.restart()

    def restart(self) -> None:
        """Only money survives; settings, links and routes come from control again."""
        self.lockstep.close()
        self.lockstep.start()
        self.furnish()
        self.lockstep.compare_crash_reports()

    def do(self, seed: int) -> None:
        dice = random.Random(seed)
        operation = dice.choice(OPERATIONS)
        numbers = [dice.randrange(2**16) for _ in range(4)]
        self.log.append(f"{operation} {numbers}")
        getattr(self, f"do_{operation}")(*numbers)

    # --- Prepares -------------------------------------------------------------------------------

    def link(self, a: int) -> str:
        names = [name for links in self.egress_links.values() for name in links]
        return names[a % len(names)]

    def prepare(self, b: int, c: int, d: int) -> Prepare:
        now_ms = self.lockstep.now_ms
        return Prepare(
            AMOUNTS[b % len(AMOUNTS)] if b % 3 else b,
            now_ms + (DELAYS_MS[c // 4 % len(DELAYS_MS)] if c % 4 == 3 else 2_000 + c),
            condition(d // len(DESTINATIONS) % 3),
            DESTINATIONS[d % len(DESTINATIONS)].encode(),
            DATA[(b + c + d) % 5],
        )

    def hand_in(self, link: str, packet: bytes, egress: str = "") -> None:
        self.last_id += 1
        self.lockstep.receive(link, self.last_id, packet, egress)

    def do_prepare(self, a: int, b: int, c: int, d: int) -> None:
        prepare = self.prepare(b, c, d)
        self.hand_in(self.link(a), sloppy(prepare, b) if a % 11 == 0 else encode(prepare))

    def do_fault(self, a: int, b: int, c: int, d: int) -> None:
        prepare = self.prepare(b, c, d)
        if a % 3 == 0:
            packet = broken(encode(prepare), d)
        elif a % 3 == 1:
            packet = encode(prepare._replace(data=DATA[5 + b % 2]))
        elif b % 2:
            packet = encode(prepare._replace(destination=b"g.hub..bob"))
        else:
            stamp = timestamp(prepare.expires_at_ms)
            packet = encode(prepare).replace(stamp, stamp[:4] + b"13" + stamp[6:])
        self.hand_in(self.link(a), packet)

    def do_egress_given(self, a: int, b: int, c: int, d: int) -> None:
        self.hand_in(self.link(a), encode(self.prepare(b, c, d)), NAMES[(a + b) % len(NAMES)])

    # --- answers --------------------------------------------------------------------------------

    def pick(self, a: int) -> Waiting | None:
        """Mostly one that waits; else one of the newest, for late and second answers."""
        both = self.lockstep
        waiting = [one for one in both.waiting if one.link in both.links]
        live = [one for one in waiting if one.model_id in both.model.entries]
        waiting = live if a % 8 != 7 else waiting[-20:]
        return waiting[a // 8 % len(waiting)] if waiting else None

    def do_answer(self, a: int, b: int, c: int, d: int) -> None:
        if (waiting := self.pick(a)) is not None:
            self.lockstep.answer(waiting, self.answer_packet(waiting, b, c, d))

    def do_twice(self, a: int, b: int, c: int, d: int) -> None:
        self.do_answer(a, b, c, d)
        self.do_answer(a, c, b, d)

    def do_wrong_link(self, a: int, b: int, c: int, d: int) -> None:
        if (waiting := self.pick(a)) is not None:
            packet = self.answer_packet(waiting, b - b % 16, c, d)
            if waiting.link != "control" and (link := self.link(c)) != waiting.link:
                self.lockstep.answer(waiting, packet, link)

    def do_unknown_answer(self, a: int, b: int, c: int, d: int) -> None:
        # Far above any id that a fresh table gives out.
        packet = encode(Fulfill(preimage(b % 3))) if c % 2 else encode(Reject(b"F00", b"g.x"))
        self.lockstep.receive(self.link(a), 2**32 - 1 - d, packet)

    def answer_packet(self, waiting: Waiting, b: int, c: int, d: int) -> bytes:
        data = DATA[c % 6]
        number = next(n for n in range(3) if condition(n) == waiting.prepare.condition)
        fulfill = Fulfill(preimage(number), data)
        code = (b"F99", b"T04", b"R07", b"x!y")[c % 4]
        reject = Reject(code, b"g.far.away", b"no" * (c % 200), data)
        kind = b % 16
        if kind == 8:
            return encode(Fulfill(preimage(number + 1), data))
        if kind == 9:
            return sloppy(fulfill, d)
        if kind == 10:
            return broken(encode(fulfill), d // 7 * 7 + d % 5)
        if kind == 11:
            return sloppy(reject, d)
        if kind == 12:
            return broken(encode(reject), d // 7 * 7 + d % 5)
        if kind == 13:
            return encode(reject._replace(triggered_by=b"", message=b"\xff\xfe"))
        if kind in (3, 6, 14) and waiting.link == "control":
            another = self.prepare(c, b * 7 + d, d)._replace(condition=condition(number))
            amount = waiting.prepare.amount + (c % 9 == 0)
            return encode(another._replace(amount=min(amount, 2**64 - 1)))
        return encode(reject) if kind % 3 == 2 else encode(fulfill)

    # --- control --------------------------------------------------------------------------------

    def do_control_open(self, a: int, b: int, c: int, d: int) -> None:
        self.lockstep.set_open_control(a % 4 != 0)

    def do_control_sends(self, a: int, b: int, c: int, d: int) -> None:
        prepare = self.prepare(0, c, d)._replace(amount=0 if b % 5 else b)
        self.last_id += 1
        packet = encode(prepare._replace(destination=b"peer.config"))
        # Ids of punts are small or large, depending on the table; these are neither.
        request_id = 0x7F00_0000 + self.last_id
        self.lockstep.receive("control", request_id, packet, NAMES[a % len(NAMES)])

    def do_set_account(self, a: int, b: int, c: int, d: int) -> None:
        name = NAMES[a % len(NAMES)]
        choices: tuple[dict[str, Any], ...] = (
            {"min_balance": BALANCES[c % len(BALANCES)]},
            {"max_balance": BALANCES[c % len(BALANCES)]},
            {"max_packet_amount": LIMITS[1 + c % (len(LIMITS) - 1)]},
            {"packets_per_minute_limit": LIMITS[c % 5]},
            {"amount_per_minute_limit": LIMITS[c % len(LIMITS)]},
            {"round_trip_time": TIMES_MS[c % len(TIMES_MS)]},
            {
                "settle_threshold": BALANCES[c % len(BALANCES)],
                "settle_to": BALANCES[d % len(BALANCES)],
            },
            {"max_in_flight_amount": LIMITS[c % len(LIMITS)]},
            {"in_flight_in_max": COUNTS[c % len(COUNTS)]},
            {"in_flight_out_max": COUNTS[c % len(COUNTS)]},
            {"max_packet_amount_out": LIMITS[c % len(LIMITS)]},
            {"amount_per_minute_limit_out": LIMITS[c % len(LIMITS)]},
            {"allowed_destinations": ALLOWED[c % len(ALLOWED)]},
        )
        self.lockstep.set_account(name, **choices[b % len(choices)])

    def do_mark(self, a: int, b: int, c: int, d: int) -> None:
        self.lockstep.set_punt(NAMES[a % len(NAMES)], b % 3 == 0)
        if c % 2:
            self.lockstep.set_punt_prefix(PREFIXES[d % len(PREFIXES)], b % 3 == 1)

    def do_close_account(self, a: int, b: int, c: int, d: int) -> None:
        if b % 5 == 0:
            self.lockstep.close_account(NAMES[a % len(NAMES)])

    def do_route(self, a: int, b: int, c: int, d: int) -> None:
        prefix = PREFIXES[a % len(PREFIXES)]
        if c % 3 == 0:
            self.lockstep.del_route(prefix)
        else:
            self.lockstep.set_route(prefix, NAMES[b % len(NAMES)])

    def do_rate(self, a: int, b: int, c: int, d: int) -> None:
        code = ("USD", "EUR", "XRP")[a % 3]
        self.lockstep.both("set_rate", code, Fraction(RATES[b % len(RATES)]))

    def do_spread(self, a: int, b: int, c: int, d: int) -> None:
        spread = Fraction(SPREADS[a % len(SPREADS)])
        if b % 3 == 0:
            self.lockstep.both("set_spread", spread)
        elif b % 3 == 1:
            pairs = (("USD", "EUR"), ("EUR", "USD"), ("XRP", "JPY"))
            self.lockstep.both("set_pair_spreads", {pair: spread for pair in pairs[: c % 4]})
        else:
            name = NAMES[d % len(NAMES)]
            self.lockstep.set_account(name, spread=spread if c % 2 else None)

    def do_link_up(self, a: int, b: int, c: int, d: int) -> None:
        self.lockstep.set_up(self.link(a), b % 2 == 0)

    def do_egress(self, a: int, b: int, c: int, d: int) -> None:
        name = NAMES[a % len(NAMES)]
        links = [*self.egress_links[name], None]
        self.lockstep.set_egress(name, links[b % len(links)])

    def do_reopen_link(self, a: int, b: int, c: int, d: int) -> None:
        name = NAMES[a % len(NAMES)]
        links = self.egress_links[name]
        if b % 2 == 0 and len(links) > 1:
            self.lockstep.close_link(links.pop(c % len(links)))
        elif len(links) < 4:
            self.open_link(name)

    # --- money and durability -------------------------------------------------------------------

    def do_transact(self, a: int, b: int, c: int, d: int) -> None:
        kind = ("settlement", "settlement", "written_off", "exchange")[b % 4]
        amount = AMOUNTS[c % len(AMOUNTS)] * (-1 if d % 3 == 0 else 1)
        self.lockstep.transact(NAMES[a % len(NAMES)], kind, amount)

    def do_late_commit(self, a: int, b: int, c: int, d: int) -> None:
        """For a few batches nothing is committed, unless a `release` says so."""
        self.late = 1 + a % 6

    def do_release(self, a: int, b: int, c: int, d: int) -> None:
        self.lockstep.release(a % 4)

    def do_hold(self, a: int, b: int, c: int, d: int) -> None:
        self.held = True

    def do_restart(self, a: int, b: int, c: int, d: int) -> None:
        self.restart_wanted = bool(self.lockstep.path)
