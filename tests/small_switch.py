"""A switch with control and a few accounts, driven by hand: what tests of control and endpoints
share.

No sockets and no clock; `exchange` does the turns that the pump would do.
"""

from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp._core.switch import Switch
from fastilp.control.accounts import Accounts
from fastilp.control.punts import Punts
from fastilp.types import AccountDetails, Relation

NOW_MS = 1_700_000_000_000
ADDRESS = "example.node"
RELATIONS = {
    "alice": Relation.CHILD,
    "bob": Relation.NON_ROUTING_ACCOUNT,
    "paul": Relation.PEER,
    "dad": Relation.PARENT,
}


def details(username: str, **more: object) -> AccountDetails:
    fields: dict[str, object] = {
        "username": username,
        "ilp_address": f"{ADDRESS}.{username}",
        "asset_code": "ABC",
        "asset_scale": 9,
        **more,
    }
    return AccountDetails(**fields)  # type: ignore[arg-type]


class SmallSwitch:
    """alice, bob, paul and dad, each with a message link; control answers what is punted."""

    def __init__(self) -> None:
        self.switch = Switch(Ledger.memory(), ADDRESS)
        self.accounts = Accounts(self.switch)
        self.links: dict[str, Link] = {}
        self.wakes = 0
        for username, relation in RELATIONS.items():
            account = self.accounts.add(details(username, routing_relation=relation))
            self.links[username] = self.switch.open_link(account)
        self.punts = Punts(self.switch, self.accounts.details, self.wake)
        self.now_ms = NOW_MS

    def wake(self) -> None:
        self.wakes += 1

    def prepare(self, destination: str, amount: int = 0, **more: object) -> Prepare:
        fields: dict[str, object] = {
            "expires_at": self.now_ms + 20_000,
            "execution_condition": bytes.fromhex(
                "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
            ),
            **more,
        }
        return Prepare(amount=amount, destination=destination, **fields)  # type: ignore[arg-type]

    def turn(self) -> None:
        """One turn of the pump: process, then every shell that has something to take."""
        self.switch.process(self.now_ms)
        for link in self.switch.dirty_links():
            if link.owner is not None:
                link.owner.flush(link)

    def exchange(self, username: str, prepare: Prepare) -> Prepare | Fulfill | Reject:
        """Send from an account's holder; the one packet that comes back to it."""
        link = self.links[username]
        link.receive([(77, bytes(prepare))])
        for _ in range(3):
            self.turn()
        [(_, packet)] = link.take()
        return decode(packet)

    def refusal(self, username: str, prepare: Prepare) -> tuple[str, str]:
        answer = self.exchange(username, prepare)
        assert isinstance(answer, Reject)
        assert answer.triggered_by == ADDRESS
        return answer.code, answer.message
