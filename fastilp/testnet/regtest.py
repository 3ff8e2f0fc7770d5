"""Lightning on this machine: a Bitcoin chain of our own, two Electrum wallets that are Lightning
nodes, and a channel between them. Imports the neighbours and errors.

All of it is real and nothing of it is worth anything. It needs Debian's package `electrum`, npm and
PyPI; what is missing is said by a FastILPError before anything is started.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastilp.errors import FastILPError
from fastilp.ports import free_ports
from fastilp.testnet.regtest_chain import (
    CHAIN_ENVIRONMENT,
    chain_command,
    server_command,
    server_environment,
)

USER, PASSWORD = "user", "regtest"
CHANNEL_SAT = 10_000_000
# So much of it is the second wallet's from the start, and each side must keep 1 %.
PUSHED_SAT = 5_000_000
COIN = 10**8
# Segwit is in force from block 432.
BLOCKS = 450
_LOOK_S = 0.05
_WAIT_S = 60.0
_NOBODY = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"


class RpcError(FastILPError):
    """The program answered, with an error of its own."""


class JsonRpc:
    """One program's JSON-RPC over HTTP."""

    def __init__(self, url: str, user: str = "", password: str = "") -> None:
        self.url = url
        self._headers = {"Content-Type": "application/json"}
        if user:
            token = b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"
        self._numbers = itertools.count(1)

    def call(self, method: str, params: Any = ()) -> Any:
        """Raises RpcError, OSError."""
        body = {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": params}
        request = urllib.request.Request(self.url, json.dumps(body).encode(), self._headers)
        with urllib.request.urlopen(request, timeout=_WAIT_S) as response:
            answer = json.load(response)
        if answer.get("error"):
            raise RpcError(f"{method}: {answer['error']}")
        return answer["result"]


class Wallet:
    """An Electrum daemon with a wallet: a Lightning node."""

    def __init__(self, name: str, directory: Path, rpc_port: int, peer_port: int) -> None:
        self.name = name
        self.directory = directory
        self._peer_port = peer_port
        self.rpc = JsonRpc(f"http://127.0.0.1:{rpc_port}", USER, PASSWORD)
        self._rpc_port = rpc_port
        self._path = str(directory / "regtest" / "wallets" / "default_wallet")

    @property
    def engine_flags(self) -> list[str]:
        """For `fastilp engine lightning`; PASSWORD is FASTILP_ENGINE_ELECTRUM_PASSWORD."""
        return ["--node", "electrum", "--electrum-url", self.rpc.url, "--electrum-user", USER]

    def call(self, method: str, **params: Any) -> Any:
        return self.rpc.call(method, params)

    def configure(self) -> None:
        """Writes its settings."""
        settings = {
            "rpchost": "127.0.0.1",
            "rpcport": self._rpc_port,
            "rpcsock": "tcp",
            "rpcuser": USER,
            "rpcpassword": PASSWORD,
            "lightning_listen": f"127.0.0.1:{self._peer_port}",
            # Whoever pays an invoice must not do so on the chain.
            "bolt11_fallback": False,
            "check_updates": False,
            "dynamic_fees": False,
            "fee_per_kb": 1_000,
        }
        folder = self.directory / "regtest"
        (folder / "wallets").mkdir(parents=True)
        (folder / "config").write_text(json.dumps(settings))

    def command(self, server_port: int) -> list[str]:
        """Only its flags tell Electrum to talk to a server without TLS."""
        server = ("--server", f"127.0.0.1:{server_port}:t", "--oneserver")
        return ["electrum", "--regtest", "-D", str(self.directory), "daemon", *server]

    def create(self) -> str:
        """Its first address."""
        self.call("create", wallet_path=self._path)
        self.load()
        return str(self.call("getunusedaddress"))

    def load(self) -> None:
        self.call("load_wallet", wallet_path=self._path)

    def channel(self) -> dict[str, Any]:
        """Empty while there is none."""
        found = self.call("list_channels")
        return dict(found[0]) if found else {}

    def balance_sat(self) -> int:
        """On its side of the channel."""
        return int(self.channel().get("local_balance", 0))

    def is_open(self) -> bool:
        channel = self.channel()
        return channel.get("state") == "OPEN" and channel.get("peer_state") == "GOOD"


class Regtest:
    """`start`, then use `wallets`, then `stop`."""

    def __init__(
        self,
        directory: Path,
        tell: Callable[[str], None] = lambda _: None,
        ports: Sequence[int] = (),
    ) -> None:
        """`ports` are seven; without them, any that are free."""
        self._directory = directory
        self._tell = tell
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = list(ports) or free_ports(7)
        chain_port, _, self._server_port, *rest = self._ports
        self.chain = JsonRpc(f"http://127.0.0.1:{chain_port}")
        self.wallets = tuple(
            Wallet(name, directory / name, rest[2 * index], rest[2 * index + 1])
            for index, name in enumerate(("alice", "bob"))
        )

    def start(self) -> None:
        """Raises FastILPError."""
        check()
        chain_port, unused_port = self._ports[:2]
        self._tell("a Bitcoin chain (bcoin), an Electrum server (e-x), two wallets (Electrum)")
        self._run("chain", chain_command(chain_port, unused_port), CHAIN_ENVIRONMENT)
        self._until(lambda: self.chain.call("getblockcount") == 0)
        index = self._directory / "index"
        index.mkdir()
        environment = server_environment(index, self._server_port, chain_port)
        self._run("server", server_command(), environment)
        self._until(lambda: _listens(self._server_port))
        for wallet in self.wallets:
            wallet.configure()
            self._run_wallet(wallet)
        addresses = [self._until(wallet.create) for wallet in self.wallets]
        self._tell(f"{BLOCKS} blocks, the first ones to the wallets")
        for address in addresses:
            self.mine(1, address)
        self.mine(BLOCKS)
        self._tell(f"a channel of {CHANNEL_SAT:,} sat between the wallets")
        self._open_channel()

    def restart_wallet(self, wallet: Wallet) -> None:
        """Ended at once, as by a crash; returns when its channel is at work again."""
        _end(self._processes.pop(wallet.name))
        # Electrum takes what the one before it has left behind for another one that runs.
        (wallet.directory / "regtest" / "daemon").unlink(missing_ok=True)
        self._run_wallet(wallet)
        self._until(lambda: wallet.call("ping"))
        wallet.load()
        self._until(lambda: all(each.is_open() for each in self.wallets))

    def mine(self, count: int, address: str = _NOBODY) -> None:
        self.chain.call("generatetoaddress", [count, address])

    def stop(self) -> None:
        for process in reversed(self._processes.values()):
            _end(process)
        self._processes.clear()

    def _open_channel(self) -> None:
        first, second = self.wallets
        self._until(lambda: float(first.call("getbalance").get("confirmed", 0)) > 0)
        first.call(
            "open_channel",
            connection_string=second.call("nodeid"),
            amount=_btc(CHANNEL_SAT),
            push_amount=_btc(PUSHED_SAT),
        )
        self._until(lambda: self.chain.call("getrawmempool"))
        self.mine(4)
        self._until(
            lambda: all(wallet.channel().get("state") != "OPENING" for wallet in self.wallets)
        )
        self.mine(3)
        self._until(lambda: all(wallet.is_open() for wallet in self.wallets))

    def _run_wallet(self, wallet: Wallet) -> None:
        self._run(wallet.name, wallet.command(self._server_port), {})

    def _run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        with (self._directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _until(self, look: Callable[[], Any]) -> Any:
        """What it finds; programs that are not there yet are waited for."""
        end_s = time.monotonic() + _WAIT_S
        trouble = ""
        while time.monotonic() < end_s:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise FastILPError(f"{name} has ended: {self._log(name)}")
            try:
                found = look()
            except (OSError, RpcError) as error:
                trouble = str(error)
            else:
                if found:
                    return found
            time.sleep(_LOOK_S)
        logs = "\n".join(f"{name}: {self._log(name)}" for name in self._processes)
        raise FastILPError(f"Lightning did not come up in {_WAIT_S:.0f} s: {trouble}\n{logs}")

    def _log(self, name: str) -> str:
        with contextlib.suppress(OSError):
            return (self._directory / f"{name}.log").read_text("utf-8", "replace")[-2_000:]
        return ""


def check() -> None:
    """Raises FastILPError that says what to install."""
    if shutil.which("electrum") is None:
        raise FastILPError("there is no Electrum (on Debian or Ubuntu: apt-get install electrum)")
    try:
        server_environment(Path(), 0, 0)
        chain_command(0, 0)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        raise FastILPError(f"parts of Lightning cannot be installed: {error}") from None


@contextmanager
def regtest(directory: Path, tell: Callable[[str], None] = lambda _: None) -> Iterator[Regtest]:
    """`directory` must be there, and stays."""
    found = Regtest(directory, tell)
    try:
        found.start()
        yield found
    finally:
        found.stop()


def _btc(sat: int) -> str:
    return f"{sat // COIN}.{sat % COIN:08}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """With all that it has started: Node may be behind a program of its wheel."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
