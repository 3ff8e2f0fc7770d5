"""Two nodes, alice's and bob's, with an engine each on one ledger: started, set up, paid through.

Imports the neighbours. Whatever is known here was asked over HTTP: balances of the nodes, what they
have settled, money on the ledger. `look` compares them, and says what does not agree.
"""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from fastilp.testnet.calls import ask
from fastilp.testnet.ledgers import PAYEE, PAYER, SIDES, Ports, Tell, TestLedger
from fastilp.testnet.programs import Program, Programs

NAMES = ("alice", "bob")
_HTTP_PORTS = (7770, 8770)
_SETTLEMENT_PORTS = (7771, 8771)
_ENGINE_PORTS = (3000, 3001)
_AGREE_SECONDS_MAX = 60.0
_LOOK_SECONDS = 0.05
_LIMIT = 1_000
# STREAM pays in packets; of one alone there would be little to see.
_PACKETS = 5


@dataclass
class Side:
    """One node as it is now. Amounts in the smallest unit of the asset."""

    node: str
    url: str
    engine_url: str
    balances: dict[str, int] = field(default_factory=dict)
    """By account, from its holder's view."""
    settled: int = 0
    """What it has paid by its engine, and its engine has taken."""
    open: int = 0
    """What it still wants to pay."""
    on_ledger_before: int = 0
    on_ledger: int = 0
    fees: int = 0

    @property
    def moved(self) -> int:
        """By payments, without the ledger's own fees."""
        return self.on_ledger - self.on_ledger_before + self.fees

    def owes(self) -> int:
        """To the other node."""
        return self.balances[NAMES[1 - NAMES.index(self.node)]]


@dataclass
class Report:
    """What `--json` prints, amounts as texts."""

    asset_code: str
    asset_scale: int
    sides: list[Side]
    problems: list[str]

    def as_json(self) -> dict[str, Any]:
        return {
            "asset_code": self.asset_code,
            "asset_scale": self.asset_scale,
            "nodes": [_texts(asdict(side)) for side in self.sides],
            "problems": self.problems,
            "agrees": not self.problems,
        }


class Network:
    """Call `start`, then `pay` and `look` as often as you like. The programs are the caller's."""

    def __init__(self, ledger: TestLedger, programs: Programs, ports: Ports, tell: Tell) -> None:
        self.ledger = ledger
        self.sides: list[Side] = []
        self.nodes: list[Program] = []
        self.engines: list[Program] = []
        self._programs = programs
        self._ports = ports
        self._tell = tell

    def start(self) -> None:
        """Raises FastILPError that names the part that failed."""
        self.ledger.check()
        self.ledger.start()
        self._start_nodes()
        self._start_engines()
        self._tell("accounts at both nodes, and at both engines")
        # The payee's first: what the payer's engine asks, somebody then answers.
        for side in reversed(SIDES):
            there = self.sides[1 - side]
            for account in accounts(side, self.ledger, there.url, self.sides[side].engine_url):
                self._ask(side, "POST", "/accounts", account)
        for side in SIDES:
            self.sides[side].on_ledger_before = self.ledger.balance(side)

    def pay(self) -> dict[str, Any]:
        """The receipt of a payment from alice to bob."""
        self._tell("alice pays bob")
        body = {"receiver": self.receiver(PAYEE), "source_amount": str(self.ledger.amount)}
        url = f"{self.sides[PAYER].url}/accounts/alice/payments"
        receipt: dict[str, Any] = ask("POST", url, body, token(NAMES[PAYER]))
        return receipt

    def receiver(self, side: int) -> str:
        return f"{self.sides[side].url}/accounts/{NAMES[side]}/spsp"

    def settle(self) -> Report:
        """Wait until all of it agrees, or has had time enough to."""
        self._tell("the engines settle")
        end = time.monotonic() + _AGREE_SECONDS_MAX
        while (report := self.look()).problems and time.monotonic() < end:
            self._programs.check()
            time.sleep(_LOOK_SECONDS)
        return report

    def look(self) -> Report:
        for side in SIDES:
            here = self.sides[side]
            here.balances = self.balances(side)
            found = self._ask(side, "GET", f"/settlements?limit={_LIMIT}")
            here.settled = _sum(found, ("sent", "paid"))
            here.open = _sum(found, ("pending", "refused"))
            here.on_ledger = self.ledger.balance(side)
            here.fees = self.ledger.fees(side)
        problems = disagreements(self.sides)
        return Report(self.ledger.asset_code, self.ledger.asset_scale, self.sides, problems)

    def balances(self, side: int) -> dict[str, int]:
        status = self._ask(side, "GET", "/status")
        return {each["username"]: int(each["balance"]) for each in status["accounts"]}

    def _start_nodes(self) -> None:
        self._tell("two nodes")
        for side in SIDES:
            name, directory = NAMES[side], self._programs.directory
            path = directory / f"{name}.toml"
            path.write_text(
                node_toml(
                    side,
                    http=self._ports.address(_HTTP_PORTS[side]),
                    settlement=self._ports.address(_SETTLEMENT_PORTS[side]),
                    data_dir=str(directory / f"{name}-data"),
                )
            )
            words = ("run", "--config", str(path))
            self.nodes.append(self._programs.fastilp(f"{name}'s node", words))

    def _start_engines(self) -> None:
        ready = [self._programs.ready(node) for node in self.nodes]
        self._tell("two engines")
        for side in SIDES:
            launch, name = self.ledger.engine(side), f"{NAMES[side]}'s engine"
            bind = self._ports.address(_ENGINE_PORTS[side])
            data_dir = str(self._programs.directory / f"{NAMES[side]}-engine-data")
            connector = f"http://{ready[side]['settlement']}"
            words = ("engine", *launch.words, *engine_words(bind, connector, data_dir))
            self.engines.append(self._programs.fastilp(name, words, launch.environment))
        for side in SIDES:
            engine = self._programs.ready(self.engines[side])
            url = f"http://{ready[side]['http']}"
            self.sides.append(Side(NAMES[side], url, f"http://{engine['http']}"))

    def _ask(self, side: int, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return ask(method, f"{self.sides[side].url}{path}", body, admin_token(side))


def node_toml(side: int, *, http: str, settlement: str, data_dir: str) -> str:
    """The settings of a node; its accounts come over its API."""
    return f"""\
[node]
ilp_address = "example.{NAMES[side]}"
admin_auth_token = "{admin_token(side)}"
data_dir = "{data_dir}"

[listen]
http = "{http}"
settlement = "{settlement}"
"""


def engine_words(bind: str, connector_url: str, data_dir: str) -> tuple[str, ...]:
    """Of any engine."""
    return (
        *("--settlement-api-bind-address", bind),
        *("--connector-url", connector_url),
        *("--data-dir", data_dir),
    )


def accounts(
    side: int, ledger: TestLedger | type[TestLedger], peer_url: str, engine_url: str
) -> list[dict[str, Any]]:
    """At the node of this side: its owner, and the other node, with which it settles."""
    here, there = NAMES[side], NAMES[1 - side]
    asset = {"asset_code": ledger.asset_code, "asset_scale": ledger.asset_scale}
    owner = {**asset, "username": here, "ilp_over_http_incoming_token": token(here)}
    peer = {
        **asset,
        "username": there,
        "ilp_address": f"example.{there}",
        "routing_relation": "Peer",
        "ilp_over_http_url": f"{peer_url}/accounts/{here}/ilp",
        "ilp_over_http_incoming_token": f"{there}-to-{here}",
        "ilp_over_http_outgoing_token": f"{here}-to-{there}",
        "max_packet_amount": ledger.amount // _PACKETS,
        "min_balance": -2 * ledger.amount,
        "settle_threshold": ledger.amount,
        "settle_to": 0,
        "settlement_engine_url": engine_url,
    }
    return [owner, peer]


def admin_token(side: int) -> str:
    return f"admin-{NAMES[side]}"


def token(username: str) -> str:
    """The one that its holder shows."""
    return f"{username}-password"


def disagreements(sides: list[Side]) -> list[str]:
    """Sentences about sums that differ. None, where nothing is under way, and all agrees."""
    payer, payee = sides
    found = [
        f"{each.node}'s node has not paid {each.open} that it wants to"
        for each in sides
        if each.open
    ]
    if not payer.settled + payee.settled:
        found.append("nothing was settled yet")
    # What is still to be paid is off the books of who pays, and of nobody else's.
    if payer.owes() + payer.open != -(payee.owes() + payee.open):
        found.append(
            f"alice's node owes bob's {payer.owes()}, but bob's node thinks {-payee.owes()}"
        )
    net = payer.settled - payee.settled
    for each, moved in ((payer, -net), (payee, net)):
        booked = moved - each.open
        if (total := sum(each.balances.values())) != booked:
            found.append(f"{each.node}'s books have {total} and not {booked}")
        if each.moved != moved:
            found.append(f"on the ledger {each.node} has {each.moved} more, and not {moved}")
    return found


def _sum(settlements: Iterable[dict[str, Any]], states: tuple[str, ...]) -> int:
    return sum(int(each["amount"]) for each in settlements if each["state"] in states)


def _texts(values: dict[str, Any]) -> dict[str, Any]:
    """Amounts of money are no numbers of JSON: a reader may make floats of them."""
    return {
        name: _texts(value)
        if isinstance(value, dict)
        else (str(value) if isinstance(value, int) else value)
        for name, value in values.items()
    }
