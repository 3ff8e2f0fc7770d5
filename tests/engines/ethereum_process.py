"""`fastilp engine ethereum` as a process, on a port and with data that it keeps over restarts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.engines.anvil import KEYS


class EngineProcess:
    def __init__(
        self, directory: Path, port: int, connector: str, chain: str, key: int, confirmations: int
    ) -> None:
        """`key`: which of anvil's."""
        directory.mkdir()
        self.url = f"http://127.0.0.1:{port}"
        self._log, self._key = directory / "log", key
        self._ready = directory / "ready.json"
        self._command = [
            sys.executable, "-m", "fastilp", "engine", "ethereum",
            "--settlement-api-bind-address", f"127.0.0.1:{port}",
            "--connector-url", connector, "--ethereum-url", chain,
            "--data-dir", str(directory / "data"), "--confirmations", str(confirmations),
            "--poll-frequency", "20", "--retry-longest-ms", "200",
            "--ready-file", str(self._ready),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """It `is_ready` later."""
        self._ready.unlink(missing_ok=True)
        environment = {**os.environ, "FASTILP_ENGINE_PRIVATE_KEY": KEYS[self._key]}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=environment, stderr=log)

    def is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        return self._ready.exists()

    def end(self, number: int = signal.SIGKILL) -> int:
        """Its exit status, of an earlier end too."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(30)

    def log(self) -> str:
        return self._log.read_text()
