"""Lightning for a test network: two wallets with a channel, on a Bitcoin chain of their own
(`regtest`). Imports the neighbours.
"""

from fastilp.testnet.ledgers import Launch, TestLedger
from fastilp.testnet.regtest import PASSWORD, Regtest, Wallet, check

_POLL_MS = 200


class LightningLedger(TestLedger):
    asset_code = "BTC"
    asset_scale = 8
    amount = 50_000
    extra, package = "engines", "lmdb"

    def check(self) -> None:
        super().check()
        self.tell("npm: bcoin; PyPI: e-x")
        check()

    def start(self) -> None:
        directory = self.programs.directory / "lightning"
        directory.mkdir()
        self._regtest = Regtest(directory, self.tell)
        self.programs.behind.append(self._regtest.stop)
        self._regtest.start()

    def engine(self, side: int) -> Launch:
        words = engine_words(self._wallet(side))
        return Launch(words, {"FASTILP_ENGINE_ELECTRUM_PASSWORD": PASSWORD})

    def balance(self, side: int) -> int:
        """On its side of the channel."""
        return self._wallet(side).balance_sat()

    def fees(self, side: int) -> int:
        """Nobody is between the two who could want one."""
        return 0

    def hints(self) -> list[str]:
        return [
            f"electrum --regtest -D {self._wallet(side).directory} list_channels" for side in (0, 1)
        ]

    def _wallet(self, side: int) -> Wallet:
        return self._regtest.wallets[side]


def engine_words(wallet: Wallet) -> tuple[str, ...]:
    """Behind `fastilp engine`."""
    return ("lightning", *wallet.engine_flags, "--poll-frequency", str(_POLL_MS))
