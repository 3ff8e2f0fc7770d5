"""Child processes: our Node scripts, npm's ilp-connector, and free ports for them.

A script prints JSON lines; `Script.event` waits for the next one of a name. Everything started
here ends with its standard input or by its process id, so that nothing outlives the tests.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.helpers import free_port
from tests.interop import npm

SCRIPTS = Path(__file__).parent / "js"
PACKAGES = [
    "ilp-connector@23.0.2",
    "ilp-plugin-btp@1.5.0",
    "ilp-plugin-http@1.6.1",
    "ilp-store-memory@1.0.0",
    "ilp-protocol-stream@2.7.1",
    "ilp-protocol-ccp@1.2.3",
    "ilp-protocol-ildcp@2.2.3",
    "ilp-packet@3.1.3",
    "@interledger/pay@0.2.2",
    "@interledger/stream-receiver@0.2.2",
]
EVENT_SECONDS = 30.0

Event = dict[str, Any]


class Process:
    """A child whose output threads read line by line, so that it never blocks on a full pipe."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = " ".join(command[-3:])[:200]
        self.popen = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.output: list[str] = []
        assert self.popen.stdout is not None and self.popen.stderr is not None
        self._threads = [
            threading.Thread(target=self._read, args=(pipe,), daemon=True)
            for pipe in (self.popen.stdout, self.popen.stderr)
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, pipe: Iterator[str]) -> None:
        for line in pipe:
            self.output.append(line)
            self.lines.put(line)
        self.lines.put(None)

    def wait_for(self, text: str, timeout: float = EVENT_SECONDS) -> str:
        """The next line that contains `text`."""
        while True:
            line = self._next_line(timeout, text)
            if text in line:
                return line

    def _next_line(self, timeout: float, wanted: str) -> str:
        try:
            line = self.lines.get(timeout=timeout)
        except queue.Empty:
            line = None
        if line is None:
            raise AssertionError(f"no {wanted!r} came; output:\n{''.join(self.output[-60:])}")
        return line

    def send_signal(self, number: int) -> None:
        os.kill(self.popen.pid, number)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Signal, wait, and give the exit status; kill what does not go."""
        if self.popen.poll() is None:
            self.send_signal(number)
            self.send_signal(signal.SIGCONT)
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        status = self.popen.wait()
        # For the report of a test that failed; pytest keeps it to itself otherwise.
        print(f"--- {self.name}: status {status}\n{''.join(self.output[-60:])}")
        for thread in self._threads:
            thread.join(5)
        for pipe in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if pipe is not None:
                pipe.close()
        return status


class Script(Process):
    """One of our scripts in js/, with one JSON task, on Node 16: ilp-protocol-stream 2.7.1 dies
    on 18 and later."""

    def __init__(self, name: str, task: Mapping[str, Any], authority: Path | None = None) -> None:
        """`authority`: PEM of a certificate that it trusts beside the usual ones."""
        modules = npm.ensure(PACKAGES)
        command = [npm.node(version16=True), str(SCRIPTS / name), json.dumps(task)]
        trusted = {"NODE_EXTRA_CA_CERTS": str(authority)} if authority else {}
        super().__init__(command, {"NODE_PATH": str(modules), **trusted})

    def event(self, name: str, timeout: float = EVENT_SECONDS) -> Event:
        """The next event of this name; an `error` event or the end of the script fails the test."""
        while True:
            line = self._next_line(timeout, name)
            if not line.startswith("{"):
                continue
            event: Event = json.loads(line)
            if event["event"] == "error":
                raise AssertionError(event["message"])
            if event["event"] == name:
                return event


class NpmConnector(Process):
    """npm's ilp-connector, configured by its environment; its admin API tells balances."""

    def __init__(self, address: str, accounts: Mapping[str, Any], **settings: Any) -> None:
        self.admin_port = free_port()
        values = {
            "env": "test",
            "ilp_address": address,
            "accounts": accounts,
            "backend": "one-to-one",
            "spread": 0,
            "admin_api": True,
            "admin_api_port": self.admin_port,
            "initial_connect_timeout": 1000,
            **settings,
        }
        environment = {
            f"CONNECTOR_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in values.items()
        }
        environment["DEBUG"] = "connector:app*,connector*:error"
        modules = npm.ensure(PACKAGES)
        main = modules / "ilp-connector" / "dist" / "index.js"
        super().__init__([npm.node(version16=True), str(main)], environment)

    def wait_ready(self) -> None:
        self.wait_for("connector ready")

    def balance(self, account: str) -> int:
        """What the account's holder owes ilp-connector (its sign is the opposite of ours)."""
        url = f"http://127.0.0.1:{self.admin_port}/balance"
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(json.load(response)["accounts"][account]["balance"])


@contextlib.contextmanager
def stopping(*processes: Process) -> Iterator[None]:
    """Stop all of them at the end, the last first."""
    try:
        yield
    finally:
        for process in reversed(processes):
            process.stop()


def btp_plugin(
    port: int, username: str, token: str, path: str | None = None, *, tls: bool = False
) -> dict[str, Any]:
    """A client's ilp-plugin-btp for an account of ours."""
    where = f"/accounts/{username}/ilp/btp" if path is None else path
    scheme = "btp+wss" if tls else "btp+ws"
    return {"btp": {"server": f"{scheme}://:{token}@127.0.0.1:{port}{where}"}}


def http_plugin(url: str, port: int, token: str, incoming_token: str) -> dict[str, Any]:
    """A client's ilp-plugin-http: it posts to `url` with `token`, and listens on `port`."""
    return {
        "http": {
            "incoming": {"port": port, "staticToken": incoming_token},
            "outgoing": {"url": url, "staticToken": token},
        }
    }
