"""fastilp itself: `fastilp run` with a settings file made for the load.

Imports the target's base. Accounts are sender0 … and receiver0 …, over the one transport of the
load; the ledger lies in a temporary folder on a real disk, because commits are what is measured.
"""

import base64
import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from fastilp.loadtest.targets.base import HOST, Access, Process, Target, next_hop_port
from fastilp.loadtest.task import Destination, Load, Peer
from fastilp.ports import free_port
from fastilp.types import VERSION

ADDRESS = "example.hub"
_ADMIN_TOKEN = "admin"
# Destinations behind a route have seven segments, as on a network with regions.
_ROUTE_PREFIX = "example.net.region.city.r"
_ROUTE_SUFFIX = ".shop.till"
_ROOM_FACTOR = 2
_CONNECTIONS_MORE = 1_024


class FastilpNode(Target):
    name = "fastilp"
    transports = frozenset({"batch", "btp", "http", "embedded"})
    configurable = True
    pays = True

    def __init__(self) -> None:
        super().__init__()
        self._http = ""

    def version(self) -> str:
        return VERSION

    def start(self, load: Load, core: int | None) -> Access:
        listen_port = next_hop_port(load)
        batch_port = free_port() if load.transport == "batch" else None
        settings = self.folder / "node.toml"
        with settings.open("w") as file:
            file.writelines(_settings(load, self.folder / "data", batch_port, listen_port))
        ready = self.folder / "ready.json"
        command = [sys.executable, "-m", "fastilp", "run", "--config", str(settings)]
        process = self.run([*command, "--ready-file", str(ready)], "fastilp", core, same_package())
        process.wait_for_file(ready)
        self._http = json.loads(ready.read_text())["http"]
        port = batch_port or int(self._http.rpartition(":")[2])
        receivers = () if listen_port else account_names("receiver", load.receivers)
        return Access(
            tuple(_peer(load, name, port) for name in account_names("sender", load.senders)),
            tuple(_peer(load, name, port) for name in receivers),
            destination_of(load),
            listen_port,
        )

    def status(self) -> dict[str, object]:
        """What the node tells of itself: counters by account, outcomes, what is in flight."""
        request = urllib.request.Request(f"http://{self._http}/status")
        request.add_header("Authorization", f"Bearer {_ADMIN_TOKEN}")
        with urllib.request.urlopen(request, timeout=60) as response:
            found: dict[str, object] = json.load(response)
            return found

    def books(self) -> dict[str, int]:
        accounts = self.status()["accounts"]
        assert isinstance(accounts, list)
        return {each["username"]: int(each["balance"]) for each in accounts}

    @property
    def process(self) -> Process:
        return self.processes[0]


def same_package() -> dict[str, str]:
    """The node is this very copy of fastilp, wherever its process is started from."""
    return {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}


def account_names(side: str, count: int) -> list[str]:
    digits = len(str(count - 1))
    return [f"{side}{number:0{digits}}" for number in range(count)]


def _token(name: str) -> str:
    return base64.b32encode(name.encode()).decode().rstrip("=").lower()


def _peer(load: Load, name: str, port: int) -> Peer:
    path = f"/accounts/{name}/ilp" + ("/btp" if load.transport == "btp" else "")
    # The path names the account of a BTP connection, and its token is enough.
    username = name if load.transport == "batch" else ""
    assert load.transport != "embedded"
    return Peer(
        kind=load.transport, host=HOST, port=port, path=path, username=username, token=_token(name)
    )


def destination_of(load: Load) -> Destination:
    if load.routes:
        digits = len(str(load.routes - 1))
        return Destination(
            prefix=_ROUTE_PREFIX, digits=digits, count=load.routes, suffix=_ROUTE_SUFFIX
        )
    digits = len(str(load.receivers - 1))
    return Destination(
        prefix=f"{ADDRESS}.receiver", digits=digits, count=load.receivers, suffix=".load"
    )


def _settings(
    load: Load, data_dir: Path, batch_port: int | None, listen_port: int | None
) -> Iterator[str]:
    room = max(65_536, (load.window or 0) * _ROOM_FACTOR)
    connections = _CONNECTIONS_MORE + max(load.accounts, load.sockets)
    if load.flood:
        room = max(room, load.flood.window * _ROOM_FACTOR)
    yield (
        f'[node]\nilp_address = "{ADDRESS}"\nadmin_auth_token = "{_ADMIN_TOKEN}"\n'
        f'data_dir = "{data_dir}"\ndurability = "{load.durability}"\nin_flight_max = {room}\n'
        f'drain_max_ms = 2000\n[listen]\nhttp = "{HOST}:0"\n'
        # One for each account, or as many sockets as the sender opens; and some to ask it.
        f"http_connections_max = {connections}\nbatch_connections_max = {connections}\n"
    )
    if batch_port:
        yield f'batch = "{HOST}:{batch_port}"\n'
    yield '[logging]\nlevel = "warning"\nformat = "json"\n[rates]\nAAA = "1"\n'
    yield f'BBB = "{load.rate_of_exchange or 1}"\n'
    for name in account_names("sender", load.senders):
        yield _account(load, name, "AAA", room, None)
    asset = "BBB" if load.rate_of_exchange else "AAA"
    for name in account_names("receiver", load.receivers):
        yield _account(load, name, asset, room, listen_port)
    if load.routes:
        yield "[routes]\n"
        digits, receivers = len(str(load.routes - 1)), account_names("receiver", load.receivers)
        for number in range(load.routes):
            receiver = receivers[number % load.receivers]
            yield f'"{_ROUTE_PREFIX}{number:0{digits}}" = "{receiver}"\n'


def _account(load: Load, name: str, asset: str, room: int, listen_port: int | None) -> str:
    text = (
        f'[[accounts]]\nusername = "{name}"\nasset_code = "{asset}"\nasset_scale = 9\n'
        f"in_flight_in_max = {room}\nin_flight_out_max = {room}\n"
        f'ilp_over_{load.transport}_incoming_token = "{_token(name)}"\n'
    )
    if listen_port:
        text += (
            f'ilp_over_http_url = "http://{HOST}:{listen_port}/accounts/{name}/ilp"\n'
            f'ilp_over_http_outgoing_token = "{_token(name)}"\n'
        )
    return text
