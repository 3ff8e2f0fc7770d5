"""`fastilp run` as a process over real sockets, for tests; nothing of it is imported."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.helpers import until

ADMIN_TOKEN = "admin"
_END_SECONDS = 60.0
_CHECK = """
import sys
from fastilp.storage.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
ledger.check()
ledger.close()
"""


class NodeProcess:
    """A node on a free port, its files in `directory`. As a context manager it kills at the end."""

    def __init__(
        self, directory: Path, config: str, address: str = "example.node", listen: str = ""
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.data_dir = directory / "data"
        self.config = directory / "node.toml"
        self.config.write_text(
            f"""
[node]
ilp_address = "{address}"
admin_auth_token = "{ADMIN_TOKEN}"
data_dir = "{self.data_dir}"
[listen]
http = "127.0.0.1:0"
{listen}
[logging]
format = "json"
{config}
"""
        )
        self.http = ""
        self.batch = ""
        self.process: subprocess.Popen[bytes] | None = None
        self._ready = directory / "ready.json"
        self._log = directory / "log"

    def __enter__(self) -> "NodeProcess":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process is not None:
            self.kill()

    def start(self, *arguments: str) -> None:
        """Returns when packets are served; the log starts anew."""
        self._ready.unlink(missing_ok=True)
        self.spawn("--ready-file", str(self._ready), *arguments)
        until(self._is_ready, self.log)
        ready = self.ready()
        self.http, self.batch = ready["http"], ready.get("batch", "")

    def _is_ready(self) -> bool:
        assert self.running().poll() is None, self.log()
        return self._ready.exists()

    def ready(self) -> dict[str, Any]:
        """What the ready file says."""
        found: dict[str, Any] = json.loads(self._ready.read_text())
        return found

    def spawn(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "fastilp", "run", "--config", str(self.config)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([*command, *arguments], stderr=log)

    def python(self, script: str, *arguments: str) -> str:
        """What a Python program prints: for looking into the data of a node that has ended."""
        command = [sys.executable, "-c", script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def running(self) -> "subprocess.Popen[bytes]":
        assert self.process is not None
        return self.process

    def signal(self, number: int) -> None:
        self.running().send_signal(number)

    def wait(self) -> int:
        """Its exit status."""
        status = self.running().wait(_END_SECONDS)
        self.process = None
        return status

    def kill(self) -> None:
        self.running().kill()
        self.wait()

    def log(self) -> str:
        return self._log.read_text()

    def events(self) -> list[dict[str, Any]]:
        lines = self.log().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def get(self, path: str, token: str = ADMIN_TOKEN) -> Any:
        return json.loads(self.request(path, token))

    def request(self, path: str, token: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"http://{self.http}{path}", data=body)
        request.add_header("Authorization", f"Bearer {token}")
        request.add_header("Content-Type", "application/octet-stream")
        with urllib.request.urlopen(request, timeout=60) as response:
            content: bytes = response.read()
            return content

    def status_of(self, path: str, token: str) -> int:
        try:
            self.request(path, token)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return 200

    def send(self, username: str, packet: bytes) -> bytes:
        """A packet from the holder of an account whose token is `<username>-token`, over HTTP."""
        return self.request(f"/accounts/{username}/ilp", f"{username}-token", packet)

    def check_books(self) -> None:
        """Of a node that has ended: debits equal credits, accounts that were closed included."""
        self.python(_CHECK, str(self.data_dir))

    def check_sums(self) -> None:
        """Of a node with one asset: nothing was made, nothing was lost."""
        assert sum(self.balances().values()) == 0

    def balances(self) -> dict[str, int]:
        return {each["username"]: int(each["balance"]) for each in self.get("/status")["accounts"]}
