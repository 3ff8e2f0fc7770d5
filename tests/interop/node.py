"""`fastilp run` as a child process: its configuration, its admin API, its end by signal or kill.

Nothing of fastilp is imported; the program is run as an operator runs it, `python -m fastilp run
--config node.toml`, and asked over HTTP. A node keeps its port and its data over restarts.
"""

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.certificates import Authority
from tests.helpers import free_port, wait_until
from tests.interop.processes import Process, btp_plugin, http_plugin

ADMIN_TOKEN = "admin"
SECRET_SEED = "8852500887504328225458511465394229327394647958135038836332350604"
CRASH_REPORT = "the last run did not end cleanly"
LEFT_OPEN = ("in_flight_out", "in_flight_in", "not_relayed")
ROOT = Path(__file__).resolve().parents[2]

Account = dict[str, Any]
Asset = tuple[str, int]


def account(username: str, asset: Asset = ("XRP", 9), **more: Any) -> Account:
    """An account whose holder knows the token `<username>_in`, on every transport."""
    return {
        "username": username,
        "asset_code": asset[0],
        "asset_scale": asset[1],
        "ilp_over_http_incoming_token": f"{username}_in",
        "ilp_over_btp_incoming_token": f"{username}_in",
        **more,
    }


def toml(settings: Mapping[str, Any]) -> str:
    """Tables of plain values and arrays of such tables: what a node's configuration is made of."""
    lines: list[str] = []
    for section, value in settings.items():
        tables = value if isinstance(value, list) else [value]
        title = f"[[{section}]]" if isinstance(value, list) else f"[{section}]"
        for table in tables:
            lines.append(title)
            lines += [f"{json.dumps(key)} = {json.dumps(item)}" for key, item in table.items()]
    return "\n".join(lines) + "\n"


class Node:
    """One fastilp, stopped or running."""

    def __init__(
        self,
        directory: Path,
        address: str,
        accounts: list[Account],
        *,
        routes: Mapping[str, str] | None = None,
        rates: Mapping[str, str] | None = None,
        port: int = 0,
        inherit: bool = False,
        listen: Mapping[str, str] | None = None,
        sections: Mapping[str, Any] | None = None,
        tls: Authority | None = None,
        **node_settings: Any,
    ) -> None:
        self.address = address
        self.tls = tls
        self.port = port or free_port()
        self.urls = {entry["username"]: entry.get("ilp_over_http_url", "") for entry in accounts}
        self.data = directory / "data"
        self.scales = {entry["username"]: int(entry["asset_scale"]) for entry in accounts}
        self.environment: dict[str, str] = {}
        self.process: Process | None = None
        self._config = directory / "node.toml"
        settings = {
            "node": {
                **({} if inherit else {"ilp_address": address}),
                "admin_auth_token": ADMIN_TOKEN,
                "secret_seed": SECRET_SEED,
                "data_dir": str(self.data),
                "drain_max_ms": 2_000,
                **node_settings,
            },
            "listen": {
                "http": f"127.0.0.1:{self.port}",
                **({"http_tls_certificate": str(tls.server_file)} if tls else {}),
                **(listen or {}),
            },
            **(sections or {}),
            "logging": {"format": "json"},
            "accounts": accounts,
            "routes": dict(routes or {}),
            "rates": dict(rates or {}),
        }
        directory.mkdir(parents=True, exist_ok=True)
        self._config.write_text(toml(settings))

    def start(self) -> None:
        """Start and wait until it is ready for packets."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        command = [sys.executable, "-m", "fastilp", "run", "--config", str(self._config)]
        paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        self.process = Process(command, {"PYTHONPATH": paths, **self.environment})

    def wait_ready(self) -> None:
        wait_until(self._is_ready, True)

    def _is_ready(self) -> bool:
        process = self.running()
        assert process.popen.poll() is None, "".join(process.output)
        try:
            return bool(self.call("GET", "/")["status"] == "Ready")
        except (OSError, AssertionError):
            return False

    def running(self) -> Process:
        assert self.process is not None
        return self.process

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        status = self.running().stop(signal.SIGTERM)
        self.process = None
        return status

    def kill(self) -> None:
        """kill -9: nothing of it runs on."""
        self.running().stop(signal.SIGKILL)
        self.process = None

    @property
    def origin(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        token: str = ADMIN_TOKEN,
        seconds: float = 10.0,
        **headers: str,
    ) -> Any:
        """The JSON of the answer; what is no success fails with what the node said."""
        request = urllib.request.Request(f"{self.origin}{path}", method=method)
        request.add_header("Authorization", f"Bearer {token}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        context = self.tls.context() if self.tls else None
        try:
            with urllib.request.urlopen(request, timeout=seconds, context=context) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            error.close()
            raise AssertionError(f"{method} {path}: {error.code} {text}") from None

    def crash_report(self) -> dict[str, dict[str, int]]:
        """What it said at its start of the run before: per account, what that left open."""
        report = {}
        for line in self.running().output:
            if CRASH_REPORT in line:
                entry = json.loads(line)
                report[entry["name"]] = {
                    key: entry[key]
                    for key in (*LEFT_OPEN, "in_flight_out_bound")
                    if key in LEFT_OPEN or entry[key] is not None
                }
        return report

    def resident_mib(self) -> int:
        """Memory of the process that is in use."""
        status = Path(f"/proc/{self.running().popen.pid}/status").read_text()
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        return int(kib) // 1024

    def balance(self, username: str) -> int:
        """In the smallest unit of the account's asset; positive: the node owes the holder."""
        whole: float = self.get(f"/accounts/{username}/balance")["balance"]
        return round(whole * 10.0 ** self.scales[username])

    def accounts(self) -> dict[str, Any]:
        """What the node tells of each account: exact numbers as strings, links, counters."""
        return {entry["username"]: entry for entry in self.get("/status")["accounts"]}

    def balances(self) -> dict[str, int]:
        return {username: int(entry["balance"]) for username, entry in self.accounts().items()}

    def ways_out(self) -> set[str]:
        """The accounts that a Prepare can leave to."""
        kinds = ("btp", "http-out", "loopback")
        accounts = self.accounts().items()
        return {name for name, entry in accounts if any(entry["links"].get(k) for k in kinds)}

    def btp(self, username: str) -> dict[str, Any]:
        """The plugin of an account's holder over BTP."""
        return btp_plugin(self.port, username, f"{username}_in", tls=self.tls is not None)

    def ilp_url(self, username: str) -> str:
        return f"{self.origin}/accounts/{username}/ilp"

    def http(self, username: str, port: int) -> dict[str, Any]:
        """The plugin of an account's holder over HTTP, which listens on `port`."""
        return http_plugin(self.ilp_url(username), port, f"{username}_in", f"{username}_out")


def http_account(username: str, port: int, asset: Asset = ("XRP", 9), **more: Any) -> Account:
    """An account whose holder is posted to on `port`."""
    more["ilp_over_http_url"] = f"http://127.0.0.1:{port}/"
    more["ilp_over_http_outgoing_token"] = f"{username}_out"
    return account(username, asset, **more)


@contextmanager
def running(*nodes: Node) -> Iterator[None]:
    """Start them at once; at the end ask what still runs to stop, which must go well."""
    try:
        for node in nodes:
            node.launch()
        for node in nodes:
            node.wait_ready()
        yield
        statuses = [node.stop() for node in reversed(nodes) if node.process is not None]
        assert not any(statuses), f"exit statuses: {statuses}"
    finally:
        for node in reversed(nodes):
            if node.process is not None:
                node.kill()
