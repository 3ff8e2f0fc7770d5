"""The programs of a test network: started one by one, stopped together. Imports errors.

Each has a log in the network's folder and, if it writes one, a ready file. They are in sessions of
their own, so that Ctrl-C is ours alone, and none of them outlives `stop`.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fastilp.errors import FastILPError

READY_SECONDS_MAX = 120.0
_STOP_SECONDS_MAX = 30.0
_LOOK_SECONDS = 0.02
_LOG_LINES_SHOWN = 15
_FASTILP = (sys.executable, "-m", "fastilp")

Found = TypeVar("Found")


class Program:
    """A process, its log, and how a person would start it again."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log_path = log
        self._command = command
        self._environment = environment
        # A setting of somebody's shell is meant for another node.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("FASTILP_")}
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def shown(self, fastilp: str) -> str:
        """What to type to start it again, where it is one of our own."""
        words = self._command[len(_FASTILP) : -2]  # Without the ready file.
        variables = [f"{name}={shlex.quote(text)}" for name, text in self._environment.items()]
        return " ".join([*variables, fastilp, shlex.join(words)])

    def ended(self) -> str:
        """How, if it has; else nothing."""
        status = self.popen.poll()
        if status is None:
            return ""
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else ""
        return f"{self.name} {how or f'has ended with status {status}'}"

    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")


class Programs:
    """`directory` is theirs: logs, ready files and whatever they are told to keep there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.all: list[Program] = []
        self.behind: list[Callable[[], None]] = []
        """Called when all of them have ended: programs that somebody else looks after."""

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Program:
        """`name` is for people, and for the log's file."""
        log = self.directory / f"{name.replace(' ', '-')}.log"
        try:
            program = Program(name, command, environment or {}, log)
        except OSError as error:
            reason = error.strerror or str(error)
            raise FastILPError(f"{name} cannot be started: {command[0]}: {reason}") from None
        self.all.append(program)
        return program

    def fastilp(
        self, name: str, words: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Program:
        """One of our own commands, which writes a ready file."""
        ready = ("--ready-file", str(self._ready(name)))
        return self.start(name, (*_FASTILP, *words, *ready), environment)

    def ready(self, program: Program) -> dict[str, Any]:
        """What its ready file says, as soon as there is one."""
        path = self._ready(program.name)
        self.wait(path.exists, program.name)
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def wait(
        self, look: Callable[[], Found | None], what: str, seconds: float = READY_SECONDS_MAX
    ) -> Found:
        """Look until there is something; not longer than `seconds`, nor after a program ended."""
        end = time.monotonic() + seconds
        while not (found := look()):
            self.check()
            if time.monotonic() > end:
                raise FastILPError(f"{what}: not ready after {seconds:.0f} s")
            time.sleep(_LOOK_SECONDS)
        return found

    def check(self) -> None:
        for program in self.all:
            if ended := program.ended():
                last = "\n".join(program.log().splitlines()[-_LOG_LINES_SHOWN:])
                raise FastILPError(f"{ended}; the end of its log is\n{last}")

    def stop(self) -> list[str]:
        """All of them, the last first. Returns what did not end by itself when it was told to."""
        running = [each for each in reversed(self.all) if each.popen.poll() is None]
        try:
            for program in running:
                program.popen.terminate()
            end = time.monotonic() + _STOP_SECONDS_MAX
            return [each.name for each in running if not _waited(each, end)]
        finally:
            for program in running:
                program.popen.kill()
                program.popen.wait()
            while self.behind:
                self.behind.pop()()

    def _ready(self, name: str) -> Path:
        return self.directory / f"{name.replace(' ', '-')}.ready.json"


def _waited(program: Program, end: float) -> bool:
    try:
        program.popen.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True
