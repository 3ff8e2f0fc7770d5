"""npm's ilp-connector, the JavaScript connector, installed and started by the tool.

Imports the target's base and `npm`. Two accounts, a plugin each: BTP listeners that sender and
receiver dial, or ILP-over-HTTP both ways. Its rate limits and balances are out of the way.
"""

import json
from typing import Any

from fastilp.loadtest import npm
from fastilp.loadtest.targets.base import HOST, Access, Target, next_hop_port
from fastilp.loadtest.task import Destination, Load, Peer
from fastilp.ports import free_port

VERSION = "23.0.2"
PACKAGES = (
    f"ilp-connector@{VERSION}",
    "ilp-plugin-btp@1.5.0",
    "ilp-plugin-http@1.6.1",
    "ilp-store-memory@1.0.0",
)
_ADDRESS = "test.conn"
_PLENTY = "1000000000000000000"


class IlpConnector(Target):
    name = "ilp-connector"
    transports = frozenset({"btp", "http"})

    def missing(self) -> str | None:
        try:
            npm.ensure(PACKAGES)
            npm.node(version16=True)
        except (OSError, RuntimeError) as error:
            return f"its packages could not be installed: {str(error)[-300:]}"
        return None

    def refuses(self, load: Load) -> str | None:
        if load.accounts != 2 or load.routes or load.flood:
            return "ilp-connector is measured with two accounts only"
        return super().refuses(load)

    def version(self) -> str:
        return VERSION

    def start(self, load: Load, core: int | None) -> Access:
        listen_port = next_hop_port(load)
        ports = {"alice": free_port(), "bob": free_port()}
        accounts = {name: _account(load, name, port, listen_port) for name, port in ports.items()}
        settings: dict[str, Any] = {
            "env": "test",
            "ilp_address": _ADDRESS,
            "accounts": accounts,
            "backend": "one-to-one",
            "spread": 0,
            "admin_api": False,
            "initial_connect_timeout": 500,
        }
        environment = {
            f"CONNECTOR_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
            for key, value in settings.items()
        }
        environment["DEBUG"] = "connector:app*"
        environment["NODE_ENV"] = "production"
        main = npm.ensure(PACKAGES) / "ilp-connector" / "dist" / "index.js"
        command = [npm.node(version16=True), str(main)]
        self.run(command, self.name, core, environment).wait_for_text("connector ready")
        destination = Destination(prefix=f"{_ADDRESS}.bob.load")
        alice = _peer(load, "alice", ports["alice"])
        receivers = () if listen_port else (_peer(load, "bob", ports["bob"]),)
        return Access((alice,), receivers, destination, listen_port)


def _account(load: Load, name: str, port: int, listen_port: int | None) -> dict[str, Any]:
    if load.transport == "btp":
        plugin = "ilp-plugin-btp"
        options: dict[str, Any] = {"listener": {"port": port, "secret": f"{name}-secret"}}
    else:
        plugin = "ilp-plugin-http"
        options = {
            "incoming": {"port": port, "staticToken": f"{name}-secret"},
            "outgoing": {"url": f"http://{HOST}:{listen_port}/{name}", "staticToken": "token"},
        }
    return {
        "relation": "child",
        "plugin": plugin,
        "assetCode": "XRP",
        "assetScale": 9,
        "balance": {"maximum": _PLENTY, "minimum": f"-{_PLENTY}"},
        "rateLimit": {"refillCount": 1_000_000_000, "refillPeriod": 1000},
        "options": options,
    }


def _peer(load: Load, name: str, port: int) -> Peer:
    assert load.transport != "embedded"
    return Peer(kind=load.transport, host=HOST, port=port, path="/", token=f"{name}-secret")
