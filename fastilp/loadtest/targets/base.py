"""What every target has in common: a process that is started, pinned, waited for and ended.

Imports errors and the tasks. Each process ends with its target, by its own id.
"""

import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fastilp.errors import FastILPError
from fastilp.loadtest.task import Destination, Load, Peer, Transport
from fastilp.ports import free_port

HOST = "127.0.0.1"
START_SECONDS = 120.0
_STOP_SECONDS = 40.0
_POLL_SECONDS = 0.02


class TargetError(FastILPError):
    """A target did not start; the message has what it printed last."""


@dataclass(frozen=True)
class Access:
    """How the started target is reached: who sends, who receives, where to."""

    senders: tuple[Peer, ...]
    receivers: tuple[Peer, ...]
    destination: Destination
    listen_port: int | None = None
    """The next hop that the target was given."""


@dataclass
class Process:
    """A child on a core of its own, its output in a file."""

    command: Sequence[str]
    folder: Path
    name: str
    core: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = self.folder / f"{self.name}.log"
        with self.log.open("wb") as log:
            self.popen = self._start(log)
        if self.core is not None:
            # At once: threads that it starts later are on its core too.
            os.sched_setaffinity(self.popen.pid, {self.core})

    def _start(self, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                list(self.command),
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the tool, which then ends the target.
                start_new_session=True,
            )
        except OSError as error:
            raise TargetError(f"{self.command[0]} does not start: {error.strerror}") from None

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def check(self) -> None:
        if self.popen.poll() is not None:
            raise TargetError(
                f"{self.name} ended by itself, status {self.popen.returncode}:\n{self.tail()}"
            )

    def wait_for_text(self, text: str, seconds: float = START_SECONDS) -> None:
        end = time.monotonic() + seconds
        while text not in self.log.read_text(errors="replace"):
            self.check()
            self._not_after(end, f"did not say {text!r}")
            time.sleep(_POLL_SECONDS)

    def wait_for_file(self, path: Path, seconds: float = START_SECONDS) -> None:
        end = time.monotonic() + seconds
        while not path.exists():
            self.check()
            self._not_after(end, f"did not write {path.name}")
            time.sleep(_POLL_SECONDS)

    def wait_for_http(self, url: str, seconds: float = START_SECONDS) -> None:
        """Until it answers at all."""
        end = time.monotonic() + seconds
        while True:
            self.check()
            try:
                urllib.request.urlopen(url, timeout=5).close()
                return
            except urllib.error.HTTPError as answer:
                answer.close()
                return
            except OSError:
                self._not_after(end, f"did not answer at {url}")
                time.sleep(_POLL_SECONDS)

    def _not_after(self, end: float, complaint: str) -> None:
        if time.monotonic() > end:
            raise TargetError(f"{self.name} {complaint}:\n{self.tail()}")

    def stop(self) -> None:
        """Ask, wait, then kill."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        self.popen.wait()


class Target(ABC):
    """A connector that this machine may be able to start."""

    name: str
    transports: frozenset[Transport]
    configurable = False
    """Whether it is given routes and a rate of exchange, where a load has them."""
    pays = False
    """Whether payments begin and end in it."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def missing(self) -> str | None:
        """Why it cannot be started here; None if it can."""
        return None

    def refuses(self, load: Load) -> str | None:
        """Why it cannot take this load; None if it can."""
        if load.transport not in self.transports:
            return f"{self.name} does not speak {load.transport}"
        if load.payment is not None and not self.pays:
            return f"{self.name} is measured without payments"
        if (load.routes or load.rate_of_exchange) and not self.configurable:
            return f"{self.name} is measured without routes and rates of exchange"
        return None

    def version(self) -> str:
        return ""

    @abstractmethod
    def start(self, load: Load, core: int | None) -> Access:
        """Start it with the accounts that the load needs. Raises TargetError."""

    def books(self) -> dict[str, int]:
        """Balances by account, from the holder's view, where the target tells."""
        return {}

    @property
    def pids(self) -> list[int]:
        return [process.popen.pid for process in self.processes]

    @property
    def folder(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="fastilp-loadtest-")
        return Path(self._folder.name)

    def run(
        self,
        command: Sequence[str],
        name: str,
        core: int | None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        process = Process(command, self.folder, name, core, environment or {})
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()
        self.processes.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def next_hop_port(load: Load) -> int | None:
    return free_port() if load.transport == "http" else None
