"""Interledger.rs, given as an `ilp-node` program, with Debian's redis-server for its books.

Imports the target's base. Configured through its HTTP API, as its operators do. ILP-over-HTTP only:
its BTP takes packets one after the other, which another tool measures as well.
"""

import json
import os
import secrets
import shutil
import urllib.request

from fastilp.loadtest.targets.base import HOST, Access, Target, next_hop_port
from fastilp.loadtest.task import Destination, Load, Peer
from fastilp.ports import free_port

_ADDRESS = "example.rust"
_ADMIN_TOKEN = "admin"
_BESIDE = ("~/.cargo/bin", "/usr/local/bin")


class InterledgerRs(Target):
    name = "interledger-rs"
    transports = frozenset({"http"})

    def missing(self) -> str | None:
        if _program("ilp-node") is None:
            return "there is no ilp-node on the path: build Interledger.rs, and put it there"
        if _program("redis-server") is None:
            return "there is no redis-server on the path (`apt-get install redis-server`)"
        return None

    def refuses(self, load: Load) -> str | None:
        if load.accounts != 2 or load.routes or load.flood:
            return "interledger-rs is measured with two accounts only"
        return super().refuses(load)

    def start(self, load: Load, core: int | None) -> Access:
        listen_port = next_hop_port(load) or 0
        redis_port, http_port = free_port(), free_port()
        redis = [_program("redis-server") or "", "--port", str(redis_port), "--bind", HOST]
        self.run([*redis, "--save", "", "--appendonly", "no"], "redis", core).wait_for_text("eady")
        node = self.run(
            [_program("ilp-node") or "", *_flags(redis_port, http_port, free_port())],
            "ilp-node",
            core,
            {"RUST_LOG": "off"},
        )
        node.wait_for_http(f"http://{HOST}:{http_port}/")
        self._add_account(http_port, "alice", {})
        self._add_account(
            http_port,
            "bob",
            {
                "ilp_over_http_url": f"http://{HOST}:{listen_port}/accounts/bob/ilp",
                "ilp_over_http_outgoing_token": "bob-out",
            },
        )
        sender = Peer(
            kind="http", host=HOST, port=http_port, path="/accounts/alice/ilp", token="alice-in"
        )
        return Access((sender,), (), Destination(prefix=f"{_ADDRESS}.bob.load"), listen_port)

    def _add_account(self, port: int, name: str, more: dict[str, str]) -> None:
        account = {
            "username": name,
            "ilp_address": f"{_ADDRESS}.{name}",
            "asset_code": "XRP",
            "asset_scale": 9,
            "ilp_over_http_incoming_token": f"{name}-in",
            "routing_relation": "NonRoutingAccount",
            **more,
        }
        request = urllib.request.Request(
            f"http://{HOST}:{port}/accounts", data=json.dumps(account).encode()
        )
        request.add_header("Authorization", f"Bearer {_ADMIN_TOKEN}")
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request, timeout=30).close()


def _flags(redis_port: int, http_port: int, settlement_port: int) -> list[str]:
    values = {
        "ilp_address": _ADDRESS,
        "admin_auth_token": _ADMIN_TOKEN,
        "redis_url": f"redis://{HOST}:{redis_port}/",
        "secret_seed": secrets.token_hex(32),
        "http_bind_address": f"{HOST}:{http_port}",
        "settlement_api_bind_address": f"{HOST}:{settlement_port}",
    }
    return [part for name, value in values.items() for part in (f"--{name}", value)]


def _program(name: str) -> str | None:
    beside = [os.path.expanduser(path) for path in _BESIDE]
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *beside)))
