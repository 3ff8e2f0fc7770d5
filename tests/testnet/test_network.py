"""A test network as a person starts it: on a real chain, once and until Ctrl-C. What it says of
sums that differ, one fault a time."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from fastilp.loadtest import npm
from fastilp.testnet.network import NAMES, Side, disagreements
from tests.cli.command import fastilp
from tests.helpers import until

ROOT = Path(__file__).resolve().parent.parent.parent
ETH = 10**18
AMOUNT = 5 * 10**16
DROPS = 50 * 10**6


def sides() -> list[Side]:
    """After 500 that were settled with 3 of fees; alice has paid 700, and bob 100."""
    alice = Side("alice", "", "", {"alice": -600, "bob": 100}, 500, 0, 1_000, 497, 3)
    bob = Side("bob", "", "", {"alice": -100, "bob": 600}, 0, 0, 1_000, 1_500, 0)
    return [alice, bob]


def test_sums_that_agree() -> None:
    assert disagreements(sides()) == []


@pytest.mark.parametrize(
    ("side", "name", "value", "said"),
    [
        (0, "open", 7, "alice's node has not paid 7"),
        (1, "on_ledger", 1_499, "on the ledger bob has 499 more, and not 500"),
        (0, "on_ledger", 496, "on the ledger alice has -501 more, and not -500"),
        (0, "fees", 4, "on the ledger alice has -499 more, and not -500"),
        (1, "settled", 1, "alice's books have -500 and not -499"),
        (0, "balances", {"alice": -600, "bob": 101}, "alice's node owes bob's 101, but"),
        (1, "balances", {"alice": -100, "bob": 599}, "bob's books have 499 and not 500"),
    ],
)
def test_sums_that_do_not(side: int, name: str, value: Any, said: str) -> None:
    found = deepcopy(sides())
    setattr(found[side], name, value)
    assert any(each.startswith(said) for each in disagreements(found))


def test_what_is_still_to_be_paid_explains_what_it_has_moved() -> None:
    found = sides()
    found[0].open, found[1].open = 30, 40
    found[0].balances["bob"] -= 30
    found[1].balances["alice"] -= 40
    assert disagreements(found) == [
        "alice's node has not paid 30 that it wants to",
        "bob's node has not paid 40 that it wants to",
    ]


def test_a_network_in_which_nothing_was_settled() -> None:
    assert disagreements(
        [Side("alice", "", "", {"bob": 0}), Side("bob", "", "", {"alice": 0})]
    ) == ["nothing was settled yet"]


@pytest.mark.parametrize("words", [("--once",), ("--currency", "doubloons")])
def test_the_currency_must_be_known(words: tuple[str, ...]) -> None:
    done = fastilp("testnet", *words)
    assert done.status == 1 and "--currency must be one of eth, xrp, ln" in done.stderr


@pytest.mark.interop
def test_a_part_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npm, "CACHE", tmp_path)
    monkeypatch.setattr(npm, "_ensure", npm._ensure.__wrapped__)
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    done = fastilp("testnet", "--currency", "eth", "--once")
    assert done.status == 1 and "anvil@1.7.1 cannot be had" in done.stderr
    assert "Install Node with npm" in done.stderr


@pytest.mark.interop
def test_ex_02_eth_settlement_once() -> None:
    """Balances as in Interledger.rs's example, of amounts that a person can read."""
    done = fastilp("testnet", "--currency", "eth", "--once", "--json")
    assert done.status == 0, done.stderr
    report = json.loads(done.stdout)
    alice, bob = report["nodes"]
    assert (report["asset_code"], report["asset_scale"]) == ("ETH", 18)
    assert report["agrees"] and report["problems"] == []
    assert alice["balances"] == {"alice": str(-AMOUNT), "bob": "0"}
    assert bob["balances"] == {"alice": "0", "bob": str(AMOUNT)}
    assert (alice["settled"], bob["settled"]) == (str(AMOUNT), "0")
    start = 10_000 * ETH
    # One transaction: the fee is that of a plain transfer.
    fees = int(alice["fees"])
    assert fees > 0 and fees % 21_000 == 0 and bob["fees"] == "0"
    assert int(alice["on_ledger"]) == start - AMOUNT - fees
    assert int(bob["on_ledger"]) == start + AMOUNT


@pytest.mark.interop
def test_ln_settlement_once() -> None:
    """On a Bitcoin chain and in a channel of its own."""
    if not os.environ.get("FASTILP_SOAK"):
        pytest.skip("takes half a minute; FASTILP_SOAK=1 runs it")
    if shutil.which("electrum") is None:
        pytest.skip("there is no Electrum")
    done = fastilp("testnet", "--currency", "ln", "--once", "--json")
    assert done.status == 0, done.stderr
    report = json.loads(done.stdout)
    alice, bob = report["nodes"]
    assert (report["asset_code"], report["asset_scale"]) == ("BTC", 8) and report["agrees"]
    assert (alice["settled"], bob["settled"]) == ("50000", "0")
    moved = [int(each["on_ledger"]) - int(each["on_ledger_before"]) for each in (alice, bob)]
    assert moved == [-50_000, 50_000]


class Running:
    """`fastilp testnet --currency xrp`, as from a terminal."""

    def __init__(self, directory: Path) -> None:
        self.out, self.err = directory / "out", directory / "err"
        (directory / "tmp").mkdir()
        self.kept = directory / "tmp"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.popen = subprocess.Popen(
                (sys.executable, "-m", "fastilp", "testnet", "--currency", "xrp"),
                stdout=out,
                stderr=err,
                env={**os.environ, "TMPDIR": str(self.kept)},
            )
        until(self._is_set_up, self.err.read_text, seconds=200)

    def _is_set_up(self) -> bool:
        assert self.popen.poll() is None, self.err.read_text()
        return "start it again" in self.err.read_text()

    def to_try(self, begin: str) -> list[str]:
        """What it prints for people to type, but for the program's name."""
        found = re.search(rf" -m fastilp ({begin} .*)", self.err.read_text())
        assert found is not None
        return shlex.split(found[1])

    def engine(self, number: int) -> tuple[int, dict[str, str], list[str]]:
        """Its process, and how to start it again."""
        found = re.findall(
            r"^  # (\w+)'s engine is the process (\d+):\n  (\w+)=(\w+) .* -m fastilp (.*)",
            self.err.read_text(),
            re.M,
        )
        whose, pid, name, value, words = found[number]
        assert whose == NAMES[number]
        return int(pid), {name: value}, shlex.split(words)


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_played_with_until_ctrl_c(tmp_path: Path) -> None:
    """The payee's engine is killed, five times the credit is paid, and it comes back."""
    net = Running(tmp_path)
    again = None
    try:
        pid, environment, words = net.engine(1)
        os.kill(pid, signal.SIGKILL)
        paying = subprocess.Popen(
            (sys.executable, "-m", "fastilp", *net.to_try("pay alice")), stdout=subprocess.PIPE
        )
        until(lambda: "bob's engine was ended by SIGKILL" in net.err.read_text())
        again = subprocess.Popen(
            (sys.executable, "-m", "fastilp", *words),
            env={**os.environ, **environment},
            stderr=subprocess.DEVNULL,
        )
        receipt, _ = paying.communicate(timeout=200)
        assert paying.returncode == 0 and json.loads(receipt)["delivered_amount"] == 10 * DROPS
        wanted = "bob's node: bob             550.000000"
        until(lambda: wanted in net.out.read_text(), net.err.read_text)
        last = net.out.read_text().rpartition(wanted)[2]
        assert last.rstrip().endswith("nodes and ledger agree")
    finally:
        net.popen.send_signal(signal.SIGINT)
        status = net.popen.wait(60)
        if again is not None:
            again.kill()
            again.wait()
    assert status == 0
    assert not any(alive(net.engine(number)[0]) for number in (0, 1))
    assert list(net.kept.iterdir()) == []
