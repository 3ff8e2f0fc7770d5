"""A real Ethereum chain for tests: anvil, from npm, on loopback, in memory."""

import itertools
import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.helpers import free_port, until
from tests.interop.npm import ensure, node

ANVIL = "@foundry-rs/anvil@1.7.1"
SOLC = "solc@0.8.37"
CHAIN_ID = 31337
# Anvil's own, with 10,000 ETH each; everybody knows them.
KEYS = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
)
ADDRESSES = (
    "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
    "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
    "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
)
TOKEN = """
pragma solidity ^0.8.0;
contract Token {
    mapping(address => uint256) public balanceOf;
    event Transfer(address indexed from, address indexed to, uint256 value);
    constructor() { balanceOf[msg.sender] = 10 ** 24; }
    function transfer(address to, uint256 value) external returns (bool) {
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        emit Transfer(msg.sender, to, value);
        return true;
    }
    function twice(address to, uint256 value) external {
        this.transferOf(msg.sender, to, value);
        this.transferOf(msg.sender, to, value);
    }
    function transferOf(address from, address to, uint256 value) external {
        require(msg.sender == address(this));
        balanceOf[from] -= value;
        balanceOf[to] += value;
        emit Transfer(from, to, value);
    }
}
"""
_COMPILE = """
const solc = require(process.argv[1]);
const input = {
  language: 'Solidity',
  sources: {'t.sol': {content: require('fs').readFileSync(0, 'utf8')}},
  settings: {outputSelection: {'*': {'*': ['evm.bytecode.object']}}},
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
process.stdout.write(output.contracts['t.sol'].Token.evm.bytecode.object);
"""


class Anvil:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._numbers = itertools.count()

    def call(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": params}
        request = urllib.request.Request(
            self.url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "error" not in answer, answer
        return answer["result"]

    def head(self) -> int:
        return int(self.call("eth_blockNumber"), 16)

    def balance(self, address: str) -> int:
        return int(self.call("eth_getBalance", address, "latest"), 16)

    def mine(self, count: int = 1) -> None:
        self.call("anvil_mine", hex(count))

    def send(
        self, sender: str, to: str | None, value: int = 0, data: str = "0x", **more: Any
    ) -> str:
        """From one of its own accounts, by its own hand: another program with the key."""
        fields = {"from": sender, "value": hex(value), "data": data, **more}
        if to is not None:
            fields["to"] = to
        return str(self.call("eth_sendTransaction", fields))

    def payments(self, sender: str) -> list[dict[str, Any]]:
        """All mined transactions of this sender, in the order of the chain."""
        found = []
        for number in range(self.head() + 1):
            block = self.call("eth_getBlockByNumber", hex(number), True)
            found += [each for each in block["transactions"] if each["from"] == sender]
        return found

    def deploy(self) -> str:
        """The token, all of it to the first account."""
        transaction = self.send(ADDRESSES[0], None, data="0x" + _bytecode())
        self.mine()
        receipt = self.call("eth_getTransactionReceipt", transaction)
        return str(receipt["contractAddress"]).lower()


@contextmanager
def anvil(directory: Path, *options: str) -> Iterator[Anvil]:
    port = free_port()
    program = ensure([ANVIL]) / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
    command = [str(program), "--port", str(port), "--chain-id", str(CHAIN_ID), *options]
    log = directory / "anvil.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        until(lambda: _listens(process, port, log), log.read_text)
        yield Anvil(port)
    finally:
        process.kill()
        process.wait()


def _listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@cache
def _bytecode() -> str:
    command = [node(), "-e", _COMPILE, str(ensure([SOLC]) / "solc")]
    done = subprocess.run(command, input=TOKEN, capture_output=True, text=True, check=True)
    return done.stdout
