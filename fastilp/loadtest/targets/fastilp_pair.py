"""Two nodes of fastilp for a load of payments: alice has an account with the first, bob with the
second, and the first sends to the second over the transport of the load.

Imports the target's base, and how a node is started. As in the benches of Interledger.rs, what
makes a payment many packets is a limit of alice's account.
"""

import json
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from fastilp.loadtest.targets.base import HOST, Process, Target
from fastilp.loadtest.targets.fastilp import same_package
from fastilp.loadtest.task import Load
from fastilp.ports import free_port

PAYER, RECEIVER = "alice", "bob"
_ADMIN_TOKEN = "admin"
_HOP_TOKEN = "hop-password"
_ROOM = 65_536


@dataclass(frozen=True)
class Pair:
    """Where the API of each node is, and its process."""

    payer: str
    receiver: str
    payer_pid: int
    receiver_pid: int

    def books(self) -> dict[str, int]:
        """Balances of both nodes' accounts, from the holder's view."""
        found = {}
        for origin in (self.payer, self.receiver):
            request = urllib.request.Request(f"{origin}/status")
            request.add_header("Authorization", f"Bearer {_ADMIN_TOKEN}")
            with urllib.request.urlopen(request, timeout=60) as response:
                accounts = json.load(response)["accounts"]
            found.update({each["username"]: int(each["balance"]) for each in accounts})
        return found


def token_of(username: str) -> str:
    return f"{username}-password"


def start_pair(target: Target, load: Load, core: int | None) -> Pair:
    """Both are processes of the target. Raises TargetError."""
    port = free_port()
    hop = free_port() if load.transport == "batch" else port
    receiver, receiver_process = _start(
        target, core, "receiver", _receiver(load, port, hop, target.folder)
    )
    payer, payer_process = _start(target, core, "payer", _payer(load, hop, target.folder))
    return Pair(payer, receiver, payer_process.popen.pid, receiver_process.popen.pid)


def _start(target: Target, core: int | None, name: str, settings: str) -> tuple[str, Process]:
    file, ready = target.folder / f"{name}.toml", target.folder / f"{name}.json"
    file.write_text(settings)
    command = [sys.executable, "-m", "fastilp", "run", "--config", str(file)]
    process = target.run([*command, "--ready-file", str(ready)], name, core, same_package())
    process.wait_for_file(ready)
    return f"http://{json.loads(ready.read_text())['http']}", process


def _node(load: Load, name: str, port: int, folder: Path) -> str:
    return (
        f'[node]\nilp_address = "example.{name}"\nadmin_auth_token = "{_ADMIN_TOKEN}"\n'
        f'data_dir = "{folder / name}"\ndurability = "{load.durability}"\ndrain_max_ms = 2000\n'
        f'in_flight_max = {_ROOM}\n[listen]\nhttp = "{HOST}:{port}"\n'
    )


def _account(name: str, more: str) -> str:
    return (
        f'[[accounts]]\nusername = "{name}"\nasset_code = "ABC"\nasset_scale = 9\n'
        f"in_flight_in_max = {_ROOM}\nin_flight_out_max = {_ROOM}\n{more}"
    )


def _receiver(load: Load, port: int, hop: int, folder: Path) -> str:
    listen = f'batch = "{HOST}:{hop}"\n' if load.transport == "batch" else ""
    logging = '[logging]\nlevel = "warning"\nformat = "json"\n'
    return (
        _node(load, "receiver", port, folder)
        + listen
        + logging
        + _account(RECEIVER, f'ilp_over_http_incoming_token = "{token_of(RECEIVER)}"\n')
        + _account("payers_node", f'ilp_over_{load.transport}_incoming_token = "{_HOP_TOKEN}"\n')
    )


def _payer(load: Load, hop: int, folder: Path) -> str:
    urls = {
        "http": f"http://{HOST}:{hop}/accounts/payers_node/ilp",
        "btp": f"btp+ws://{HOST}:{hop}/accounts/payers_node/ilp/btp",
        "batch": f"ilp+tcp://payers_node@{HOST}:{hop}",
    }
    limit = f"max_packet_amount = {load.packet_max}\n" if load.packet_max is not None else ""
    logging = '[logging]\nlevel = "warning"\nformat = "json"\n'
    token = f'ilp_over_http_incoming_token = "{token_of(PAYER)}"\n'
    way = (
        f'ilp_address = "example.receiver"\n'
        f'ilp_over_{load.transport}_url = "{urls[load.transport]}"\n'
        f'ilp_over_{load.transport}_outgoing_token = "{_HOP_TOKEN}"\n'
    )
    return (
        _node(load, "payer", 0, folder)
        + logging
        + _account(PAYER, token + limit)
        + _account("receivers_node", way)
    )
