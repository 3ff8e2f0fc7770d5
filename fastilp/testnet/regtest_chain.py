"""A Bitcoin chain of our own with an Electrum server before it: bcoin from npm, e-x from PyPI.

Imports errors and the npm cache. bcoin runs in memory, and answers as e-x wants it to; e-x keeps
its index in the folder it is given.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from fastilp.errors import FastILPError
from fastilp.loadtest.npm import CACHE, ensure, node

BCOIN = "bcoin@1.0.2"
# Without what they ask for: that is here already, and another aiohttp is of no use.
ELECTRUM_SERVER = ("e-x==1.18.0", "aiorpcx==0.25.0", "plyvel==1.5.1", "pylru==1.3.3")
INSTALL_S_MAX = 300

# bcoin's native database is not built, nor needed: the chain is in memory. Addresses are written
# as in Bitcoin Core; e-x wants a number for a version, and exactly this Content-Type.
_CHAIN = """
'use strict';
const Module = require('module'), http = require('http');
const load = Module._load;
Module._load = (name, ...rest) =>
  name === 'leveldown' ? class {} : load.call(Module, name, ...rest);
const [modules, port, httpPort] = process.argv.slice(1);
const bcoin = require(modules + '/bcoin');
bcoin.Network.get('regtest').addressPrefix.bech32 = 'bcrt';
const node = new bcoin.FullNode({
  network: 'regtest', memory: true, indexTx: true, workers: false, noAuth: true,
  httpHost: '127.0.0.1', httpPort: Number(httpPort), listen: false,
});
const original = node.rpc.calls.getnetworkinfo || node.rpc.getNetworkInfo;
node.rpc.calls.getnetworkinfo = async (...args) =>
  ({...await original.call(node.rpc, ...args), version: 220000});
node.rpc.calls.estimatesmartfee = async () => ({feerate: 0.00001, blocks: 1});
http.createServer(async (request, response) => {
  let body = '';
  for await (const part of request) body += part;
  const answer = JSON.stringify(await node.rpc.call(JSON.parse(body)));
  response.writeHead(200, {'Content-Type': 'application/json'});
  response.end(answer);
}).listen(0);
"""


def chain_command(port: int, unused_port: int) -> list[str]:
    """bcoin's RPC is at `port`."""
    script = _CHAIN.replace(".listen(0)", f".listen({port}, '127.0.0.1')")
    script += "node.open().catch((error) => { console.error(error); process.exit(1); });\n"
    return [node(), "-e", script, str(ensure([BCOIN])), str(port), str(unused_port)]


CHAIN_ENVIRONMENT = {"NODE_BACKEND": "js"}


# Against observers of its connections, e-x would keep each answer back for a second.
_SERVER = """
from electrumx.cli.electrumx_server import main
from electrumx.server.transport import PaddedRSTransport
PaddedRSTransport.WAIT_FOR_BUFFER_GROWTH_SECONDS = 0.0
main()
"""


def server_command() -> list[str]:
    return [sys.executable, "-c", _SERVER]


def server_environment(directory: Path, port: int, chain_port: int) -> dict[str, str]:
    """e-x is at `port`, its index in `directory`."""
    return {
        "PYTHONPATH": str(_electrum_server()),
        "COIN": "Bitcoin",
        "NET": "regtest",
        "DB_DIRECTORY": str(directory),
        "DAEMON_URL": f"http://user:password@127.0.0.1:{chain_port}",
        "SERVICES": f"tcp://127.0.0.1:{port}",
        "PEER_DISCOVERY": "off",
        "PEER_ANNOUNCE": "",
        "DAEMON_POLL_INTERVAL_BLOCKS": "50",
        "DAEMON_POLL_INTERVAL_MEMPOOL": "50",
        "COST_SOFT_LIMIT": "0",
        "COST_HARD_LIMIT": "0",
        "REQUEST_SLEEP": "0",
        "CACHE_MB": "16",
        "ALLOW_ROOT": "1",
    }


@cache
def _electrum_server() -> Path:
    """Its packages, in a folder of their own."""
    digest = hashlib.sha256("\n".join(ELECTRUM_SERVER).encode()).hexdigest()[:16]
    folder = CACHE.parent / "pypi" / f"{digest}-{sys.version_info[0]}.{sys.version_info[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "installed"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _install(folder)
            done.touch()
    return folder


def _install(folder: Path) -> None:
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--target", str(folder), *ELECTRUM_SERVER,
    ]  # fmt: skip
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=INSTALL_S_MAX, check=False
    )
    if done.returncode != 0:
        raise FastILPError(f"{', '.join(ELECTRUM_SERVER)} cannot be installed:\n{done.stderr}")
