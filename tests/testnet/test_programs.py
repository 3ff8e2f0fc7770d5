"""Programs of a test network: what is waited for, what is said of one that ends, and that none of
them is left."""

import os
import sys
from pathlib import Path

import pytest

from fastilp.errors import FastILPError
from fastilp.testnet.ledgers import Ports
from fastilp.testnet.programs import Program, Programs
from tests.helpers import free_ports

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("here", flush=True)
time.sleep(600)
"""


def python(programs: Programs, name: str, text: str) -> Program:
    return programs.start(name, (sys.executable, "-c", text))


def test_one_that_ends_is_told_of_with_its_log(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    python(programs, "one", "import sys; print('what happened'); sys.exit(3)")
    with pytest.raises(FastILPError, match=r"one has ended with status 3(.|\n)*what happened"):
        programs.wait(lambda: False, "another")
    assert programs.stop() == []


def test_what_is_never_ready_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    with pytest.raises(FastILPError, match="the ledger: not ready"):
        programs.wait(lambda: False, "the ledger", seconds=0.0)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FastILPError, match=r"one cannot be started: .*nowhere: No such file"):
        Programs(tmp_path).start("one", (str(tmp_path / "nowhere"),))


def test_stop_ends_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastilp.testnet.programs._STOP_SECONDS_MAX", 0.5)
    programs = Programs(tmp_path)
    mild = python(programs, "mild one", "import time; time.sleep(600)")
    stubborn = python(programs, "stubborn one", STUBBORN)
    programs.wait(lambda: "here" in stubborn.log(), "stubborn one")
    assert programs.stop() == ["stubborn one"]
    for program in (mild, stubborn):
        assert program.popen.returncode is not None
        with pytest.raises(ProcessLookupError):
            os.kill(program.popen.pid, 0)
    assert mild.ended() == "mild one was ended by SIGTERM"
    assert stubborn.ended() == "stubborn one was ended by SIGKILL"


def test_settings_of_the_shell_do_not_reach_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTILP_LISTEN__HTTP", "127.0.0.1:1")
    programs = Programs(tmp_path)
    text = "import os; print(sorted(name for name in os.environ if 'FASTILP' in name))"
    command = (sys.executable, "-c", text)
    program = programs.start("one", command, {"FASTILP_ENGINE_PRIVATE_KEY": "key"})
    program.popen.wait()
    assert program.log() == "['FASTILP_ENGINE_PRIVATE_KEY']\n"


def test_ports_are_the_usual_ones_where_they_are_free() -> None:
    [free] = free_ports(1)
    assert Ports(usual=True).address(free) == f"127.0.0.1:{free}"
    assert Ports(usual=False).address(free) == "127.0.0.1:0"


def test_a_port_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    text = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); "
    text += "print(s.getsockname()[1], flush=True); time.sleep(600)"
    other = python(programs, "other", text)
    taken = int(programs.wait(other.log, "other"))
    chosen = Ports(usual=True).number(taken)
    assert programs.stop() == []
    assert chosen not in (0, taken)
