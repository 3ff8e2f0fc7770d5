"""An Ethereum chain for a test network: anvil, from npm, in memory. Imports the neighbours and npm.

Each transaction is mined at once, so an engine's payment is final as soon as it looks again.
"""

import platform
import re
from pathlib import Path

from fastilp.errors import FastILPError
from fastilp.loadtest import npm
from fastilp.testnet.calls import rpc
from fastilp.testnet.ledgers import Launch, TestLedger

PACKAGE = "@foundry-rs/anvil@1.7.1"
PORT = 8545
CHAIN_ID = 31337
# Anvil's own, with 10,000 ETH each. Everybody knows them.
KEYS = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
)
ADDRESSES = (
    "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
    "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
)
_POLL_MS = 200
_LISTENS = re.compile(r"Listening on (\S+)")


class EthereumLedger(TestLedger):
    asset_code = "ETH"
    asset_scale = 18
    amount = 5 * 10**16
    extra, package = "ethereum", "eth_account"
    url = ""

    def start(self) -> None:
        self.tell(f"npm: {PACKAGE}")
        program = _program()
        self.tell("anvil: an Ethereum chain")
        command = (str(program), *options(self.ports.number(PORT)))
        anvil = self.programs.start("anvil", command)
        found = self.programs.wait(lambda: _LISTENS.search(anvil.log()), "anvil")
        self.url = f"http://{found[1]}"

    def engine(self, side: int) -> Launch:
        return Launch(engine_words(self.url), {"FASTILP_ENGINE_PRIVATE_KEY": KEYS[side]})

    def balance(self, side: int) -> int:
        return int(rpc(self.url, "eth_getBalance", ADDRESSES[side], "latest"), 16)

    def fees(self, side: int) -> int:
        """Gas of all its transactions."""
        paid = 0
        for number in range(int(rpc(self.url, "eth_blockNumber"), 16) + 1):
            for transaction in rpc(self.url, "eth_getBlockByNumber", hex(number), True)[
                "transactions"
            ]:
                if transaction["from"] == ADDRESSES[side]:
                    receipt = rpc(self.url, "eth_getTransactionReceipt", transaction["hash"])
                    paid += int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
        return paid

    def hints(self) -> list[str]:
        body = (
            '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance",'
            f'"params":["{ADDRESSES[1]}","latest"]}}'
        )
        return [f"curl -s -H 'Content-Type: application/json' -d '{body}' {self.url}"]


def options(port: int) -> tuple[str, ...]:
    """Anvil's."""
    return ("--port", str(port), "--chain-id", str(CHAIN_ID))


def engine_words(url: str) -> tuple[str, ...]:
    """Behind `fastilp engine`."""
    return (
        "ethereum",
        *("--ethereum-url", url),
        *("--chain-id", str(CHAIN_ID)),
        *("--confirmations", "0"),
        *("--poll-frequency", str(_POLL_MS)),
    )


def _program() -> Path:
    try:
        modules = npm.ensure([PACKAGE])
    except (RuntimeError, OSError) as error:
        raise FastILPError(
            f"{PACKAGE} cannot be had: {error}\nInstall Node with npm, and let npm reach a registry"
        ) from None
    found = sorted((modules / "@foundry-rs").glob("anvil-*/bin/anvil"))
    if not found:
        system = f"{platform.system()} {platform.machine()}"
        raise FastILPError(f"{PACKAGE} has no program for {system}")
    return found[0]
