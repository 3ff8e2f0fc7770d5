"""How the command line begins: what is loaded when, and Ctrl-C at any time of it."""

import signal
import socket
import subprocess
import sys

import pytest

import fastilp
from fastilp.cli import accounts, payments
from fastilp.cli.entry import INTERRUPTED_STATUS
from fastilp.cli.lazy import Lazy, loaded
from fastilp.cli.main import COMMANDS
from tests.cli.command import fastilp as call

# `python -m fastilp` with an interrupt from within: when a certain module is about to be imported.
INTERRUPTED = """
import os, runpy, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]))
wanted = sys.argv[2]
sys.argv[:] = ["fastilp", *sys.argv[3:]]
sys.meta_path.insert(0, Interrupt())
runpy.run_module("fastilp", run_name="__main__", alter_sys=True)
"""
# What is imported for the program, for a command, and deep inside of that.
MOMENTS = [
    ("fastilp.cli.main", "--version"),
    ("typer.main", "--version"),
    ("fastilp.cli.packet", "packet"),
    ("fastilp._core.packet", "packet"),
    ("pydantic.main", "loadtest"),
    ("fastilp.node.composition", "run"),
    ("rich.panel", "--help"),
    ("rich.markdown", "packet"),
]


def interrupted(handler: str, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTED, handler, module, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("module", "command"), MOMENTS)
def test_an_interrupt_while_loading_ends_it_quietly(module: str, command: str) -> None:
    done = interrupted("default_int_handler", module, command, "--help")
    assert (done.returncode, done.stderr) == (INTERRUPTED_STATUS, "")


def test_an_interrupt_that_is_ignored_stays_ignored() -> None:
    done = interrupted("SIG_IGN", "typer.main", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fastilp ")


def test_an_interrupt_of_a_command_that_waits_ends_it_quietly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "fastilp", "health", "--node", url],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=_heed_interrupts,
        )  # fmt: skip
        connection, _ = server.accept()
        with connection:
            # It has asked by then, and waits for an answer.
            assert connection.recv(4)
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (INTERRUPTED_STATUS, "")


def _heed_interrupts() -> None:
    # A shell that runs the tests in the background has switched them off.
    signal.signal(signal.SIGINT, signal.default_int_handler)


LAZY = [
    *COMMANDS.items(),
    *accounts.LAZY.items(),
    *payments.LAZY.items(),
]


@pytest.mark.parametrize(("name", "lazy"), LAZY, ids=[name for name, _ in LAZY])
def test_a_list_says_of_a_command_what_its_own_help_begins_with(name: str, lazy: Lazy) -> None:
    own = " ".join((loaded(name, lazy).help or "").split())
    assert own.startswith(lazy.help)


def test_a_list_of_commands_loads_none_of_them() -> None:
    program = (
        "import sys; from fastilp.cli.main import application\n"
        "application()(['--help'], standalone_mode=False)\n"
        "found = [name for name in sys.modules if name.startswith('fastilp.')]\n"
        "sys.exit(' '.join(name for name in found if not name.startswith('fastilp.cli')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert set(done.stderr.split()) == {"fastilp.errors", "fastilp.types"}
    assert all(name in done.stdout for name in COMMANDS)


def test_a_name_that_nobody_has_is_no_command() -> None:
    for arguments in (("fly",), ("payments", "fly")):
        assert call(*arguments).status == 2


@pytest.mark.parametrize("name", fastilp.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(fastilp, name).__name__ == name
    assert name in dir(fastilp)


def test_there_are_no_other_public_names() -> None:
    with pytest.raises(AttributeError, match="'fastilp' has no attribute 'Connector'"):
        fastilp.Connector  # type: ignore[attr-defined]  # noqa: B018
