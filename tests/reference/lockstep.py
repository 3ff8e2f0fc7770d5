"""Two switches that are told the same things and must say the same things.

`Lockstep` owns one of each, carries out every operation on both and, after each batch, compares all
output bytes, counters, statuses, events and deadlines. Request ids that a switch chooses are its
own affair: they are paired when a Prepare leaves and translated when the answer comes in. Imports
the reference model; the switch under test is handed in as a `Kit`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.reference.books import KINDS, RECORD_LATER_MS, ModelLedger
from tests.reference.model import ModelSwitch
from tests.reference.packets import PREPARE, Prepare, decode

REQUEST_ID_QUIET_MS = 60_000
REPORTED = ("in_flight_out", "in_flight_in", "not_relayed")
NOW_MS = 1_800_000_000_000


class Kit(NamedTuple):
    """The classes of one implementation."""

    name: str
    switch: Callable[..., Any]
    memory: Callable[..., Any]
    open: Callable[[str], Any]


MODEL = Kit("model", ModelSwitch, ModelLedger.memory, ModelLedger.open)


@dataclass(frozen=True)
class Waiting:
    """A Prepare that left both switches and can be answered."""

    link: str
    core_id: int
    model_id: int
    prepare: Prepare


class Lockstep:
    """`core` and `model` are the two switches; names stand for accounts and links of both."""

    def __init__(
        self, kit: Kit, address: str, *, path: str = "", manual: bool = True, **limits: int
    ) -> None:
        self.kit, self.address, self.path, self.limits = kit, address, path, limits
        self.manual = manual and not path
        self.now_ms = NOW_MS
        self.tickets: list[tuple[int, int]] = []
        self.quiet_until_ms: dict[tuple[str, int], int] = {}
        self.assets: set[tuple[str, int]] = set()
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.start()

    def start(self) -> None:
        """Make both switches over fresh or reopened ledgers."""
        if self.path:
            self.core_ledger = self.kit.open(self.path)
            self.model_ledger = ModelLedger.open(self.path)
        else:
            self.core_ledger = self.kit.memory(manual_commit=self.manual)
            self.model_ledger = ModelLedger.memory(manual_commit=self.manual)
        self.core = self.kit.switch(self.core_ledger, self.address, **self.limits)
        self.model = ModelSwitch(self.model_ledger, self.address, **self.limits)
        self.accounts: dict[str, tuple[Any, Any]] = {}
        self.links: dict[str, tuple[Any, Any]] = {
            "control": (self.core.control, self.model.control)
        }
        self.waiting: list[Waiting] = []

    def compare_crash_reports(self) -> None:
        """After a restart, once the accounts are there to name them."""
        names = {core.id: name for name, (core, _) in self.accounts.items()}
        names |= {model.id: name for name, (_, model) in self.accounts.items()}
        ours, theirs = (
            {
                names[entry["account_id"]]: [entry[key] for key in REPORTED]
                for entry in ledger.crash_report()
            }
            for ledger in (self.core_ledger, self.model_ledger)
        )
        assert ours == theirs, f"crash reports: {ours} != {theirs}"
        self.core_ledger.forget_crash_report()
        self.model_ledger.forget_crash_report()

    def close(self) -> None:
        self.core_ledger.close()
        self.model_ledger.close()

    # --- telling both ---------------------------------------------------------------------------

    def add_account(self, name: str, code: str, scale: int, **settings: int | None) -> None:
        keywords: dict[str, Any] = {"asset_code": code, "asset_scale": scale, **settings}
        pair = self.core.add_account(name, **keywords), self.model.add_account(name, **keywords)
        self.accounts[name] = pair
        self.assets.add((code, scale))

    def open_link(self, name: str, account: str, **keywords: Any) -> None:
        core, model = self.accounts[account]
        self.links[name] = (
            self.core.open_link(core, name=name, **keywords),
            self.model.open_link(model, name=name, **keywords),
        )

    def set_account(self, name: str, **settings: Any) -> None:
        core, model = self.accounts[name]
        self.core.set_account(core, **settings)
        self.model.set_account(model, **settings)

    def set_punt(self, name: str, punted: bool) -> None:
        core, model = self.accounts[name]
        self.core.set_punt(core, punted)
        self.model.set_punt(model, punted)

    def set_punt_prefix(self, prefix: str, punted: bool) -> None:
        """Where it is so already nothing is told."""
        if (prefix in self.model.marked) != punted:
            self.core.set_punt_prefix(prefix, punted)
            self.model.set_punt_prefix(prefix, punted)

    def close_account(self, name: str) -> None:
        core, model = self.accounts[name]
        self.core.close_account(core)
        self.model.close_account(model)

    def set_egress(self, account: str, link: str | None) -> None:
        cores, models = self.accounts[account]
        core, model = self.links[link] if link else (None, None)
        self.core.set_egress(cores, core)
        self.model.set_egress(models, model)

    def set_route(self, prefix: str, account: str) -> None:
        core, model = self.accounts[account]
        self.core.set_route(prefix, core)
        self.model.set_route(prefix, model)

    def del_route(self, prefix: str) -> None:
        if prefix in self.model.routes():
            self.core.del_route(prefix)
            self.model.del_route(prefix)

    def both(self, method: str, *arguments: Any) -> None:
        getattr(self.core, method)(*arguments)
        getattr(self.model, method)(*arguments)

    def set_up(self, link: str, up: bool) -> None:
        core, model = self.links[link]
        core.up = model.up = up

    def set_open_control(self, is_open: bool) -> None:
        self.core.control.up = self.model.control.up = is_open

    def close_link(self, link: str) -> None:
        for one in self.links.pop(link):
            one.close()

    def receive(self, link: str, request_id: int, packet: bytes, egress: str = "") -> None:
        core, model = self.links[link]
        core_egress, model_egress = self.accounts[egress] if egress else (None, None)
        core.receive([(request_id, packet)], egress=core_egress)
        model.receive([(request_id, packet)], egress=model_egress)

    def answer(self, waiting: Waiting, packet: bytes, link: str = "") -> None:
        core, model = self.links[link or waiting.link]
        core.receive([(waiting.core_id, packet)])
        model.receive([(waiting.model_id, packet)])

    def release(self, back: int) -> None:
        """Commit all but the newest `back` batches."""
        if self.manual and len(self.tickets) > back:
            core, model = self.tickets[len(self.tickets) - 1 - back]
            self.core_ledger.release(core)
            self.model_ledger.release(model)

    def commit_now(self) -> None:
        if self.manual:
            self.core_ledger.release()
            self.model_ledger.release()

    def transact(self, account: str, kind: str, amount: int) -> None:
        core, model = self.accounts[account]
        self.core_ledger.transact([(core.id, kind, amount)])
        self.model_ledger.transact([(model.id, kind, amount)])

    def commit_on_disk(self) -> None:
        """Wait until the real store has written everything; then the model may say so too."""
        if self.core_ledger.store is not None:
            assert self.core_ledger.store.wait(self.core_ledger.ticket)
        self.model_ledger.release()

    # --- one batch ------------------------------------------------------------------------------

    def process(self, advance_ms: int = 0, *, take: bool = True) -> None:
        if self.path and self.kit.name != "model":
            self.commit_on_disk()
        self.now_ms += advance_ms
        self.core.process(self.now_ms)
        self.model.process(self.now_ms)
        self.tickets.append((self.core_ledger.ticket, self.model_ledger.ticket))
        self.compare_dirty()
        if take:
            for name in list(self.links):
                self.compare_output(name)
        self.compare_money()
        self.compare_counts()
        self.compare_deadline()

    def compare_dirty(self) -> None:
        names = {id(core): name for name, (core, _) in self.links.items()}
        names |= {id(model): name for name, (_, model) in self.links.items()}
        core = {names[id(link)] for link in self.core.dirty_links()}
        model = {names[id(link)] for link in self.model.dirty_links()}
        assert core == model, f"dirty links: {core} != {model}"

    def compare_output(self, name: str) -> None:
        core, model = self.links[name]
        ours, theirs = core.take(), model.take()
        where = f"output of {name}: {self.show(ours)} != {self.show(theirs)}"
        assert len(ours) == len(theirs), where
        for (core_id, packet), (model_id, expected) in zip(ours, theirs, strict=True):
            assert packet == expected, where
            if packet[0] == PREPARE:
                self.sent(name, core_id, model_id, packet)
            else:
                assert core_id == model_id, where

    def show(self, packets: list[tuple[int, bytes]]) -> list[Any]:
        return [(request_id, decode(packet)) for request_id, packet in packets]

    def sent(self, name: str, core_id: int, model_id: int, packet: bytes) -> None:
        prepare = decode(packet)
        assert isinstance(prepare, Prepare)
        assert 0 <= core_id < 2**32
        key = (name, core_id)
        assert self.quiet_until_ms.get(key, 0) <= self.now_ms, f"request id {key} is used again"
        self.quiet_until_ms[key] = prepare.expires_at_ms + REQUEST_ID_QUIET_MS
        self.waiting.append(Waiting(name, core_id, model_id, prepare))
        if name == "control" and model_id in self.model.entries:
            core, model = self.core.punt_account(core_id), self.model.punt_account(model_id)
            assert core.name == model.name

    def compare_money(self) -> None:
        for name, (core, model) in self.accounts.items():
            ours, theirs = self.core.counters(core), self.model.counters(model)
            assert ours == theirs, f"counters of {name}: {ours} != {theirs}"
            assert self.core_ledger.counters(core.id) == ours
            assert self.core.balance(core) == self.model.balance(model)
        for asset in self.assets:
            for kind in KINDS:
                core_id = self.core_ledger.internal_id(*asset, kind)
                model_id = self.model_ledger.internal_id(*asset, kind)
                inside = self.core_ledger.counters(core_id)
                expected = self.model_ledger.counters(model_id)
                assert inside == expected, f"{kind} of {asset}: {inside} != {expected}"
        assert self.core_ledger.sums() == self.model_ledger.sums()
        for asset, sums in self.core_ledger.sums().items():
            assert sums["debits_pending"] == sums["credits_pending"], asset
            assert sums["debits_posted"] == sums["credits_posted"], asset

    def compare_counts(self) -> None:
        ours, theirs = self.core.statuses(), self.model.statuses()
        assert ours == theirs, f"statuses: {differences(ours, theirs)}"
        assert self.core.in_flight() == self.model.in_flight()
        for name, (core, model) in self.links.items():
            assert core.in_flight == model.in_flight, f"in flight on {name}"
            assert core.egress_size == model.egress_size, f"egress of {name}"
        ours_noted = self.named(self.core.take_events())
        theirs_noted = self.named(self.model.take_events())
        assert ours_noted == theirs_noted, f"events: {ours_noted} != {theirs_noted}"

    def named(self, events: list[tuple[str, Any, int]]) -> list[tuple[str, str, int]]:
        return sorted((kind, account.name if account else "", n) for kind, account, n in events)

    def compare_deadline(self) -> None:
        ours, theirs = self.core.next_deadline_ms(), self.model.next_deadline_ms()
        if self.core_ledger.store is not None and ours is not None:
            # What left in this batch is noted as relayed by the next one, and recorded soon after.
            # The model keeps no records.
            if ours <= self.now_ms + RECORD_LATER_MS:
                return
        assert (ours is None) == (theirs is None), f"deadline {ours}, {theirs}"
        assert ours is None or ours <= theirs, f"deadline {ours} is later than {theirs}"


def differences(ours: dict[str, int], theirs: dict[str, int]) -> dict[str, tuple[int, int]]:
    """What differs, as name -> (switch under test, model)."""
    names = ours.keys() | theirs.keys()
    every = {name: (ours.get(name, 0), theirs.get(name, 0)) for name in names}
    return {name: pair for name, pair in every.items() if pair[0] != pair[1]}
