"""XRP for a test network: our stand-in for the XRP Ledger, which closes a ledger twice a second.
Imports the neighbours.
"""

from typing import Any

from fastilp.errors import FastILPError
from fastilp.testnet.calls import rpc
from fastilp.testnet.ledgers import Launch, TestLedger

PORT = 5005
# Made for this, and for nothing else.
SECRETS = ("sEdSeMz5LM7nysQW7XTUVUQLbVvpphY", "sEdVgB9sQ6rp3e5JQsKHYZ9YhSLPrpL")
ADDRESSES = ("rauZK4bLgReqvNbB3iiaCynrhdq7VjfBCP", "rU5C67VHKsbVA7haPyc4EoaT2JNkX6Th9S")
# Has all of it, as in rippled's stand-alone mode. Everybody knows it.
GENESIS_SECRET = "snoPBrXtMeMyMHUVTgbuqAfg1SUTb"
STAND_IN_WORDS = ("engine", "xrp-stand-in", "--close-every", "0.5")
_FUNDS = 10_000 * 10**6
_POLL_MS = 200
_PAGE = 200


class XrpLedger(TestLedger):
    asset_code = "XRP"
    asset_scale = 6
    amount = 50 * 10**6
    extra, package = "xrp", "xrpl"
    url = ""

    def start(self) -> None:
        self.tell("a stand-in for the XRP Ledger")
        words = (*STAND_IN_WORDS, "--listen", self.ports.address(PORT))
        ready = self.programs.ready(self.programs.fastilp("the ledger", words))
        self.url = f"http://{ready['http']}"
        self.tell("an account for each engine, with 10,000 XRP")
        fund(self.url)
        self.programs.wait(lambda: is_funded(self.url), "accounts on the ledger")

    def engine(self, side: int) -> Launch:
        return Launch(engine_words(self.url), {"FASTILP_ENGINE_XRP_SECRET": SECRETS[side]})

    def balance(self, side: int) -> int:
        found = _call(self.url, "account_info", {"account": ADDRESSES[side]})
        return int(found["account_data"]["Balance"])

    def fees(self, side: int) -> int:
        """Of all transactions that it has signed."""
        paid = 0
        marker: dict[str, Any] = {}
        while True:
            asked = {"account": ADDRESSES[side], "forward": True, "limit": _PAGE, **marker}
            found = _call(self.url, "account_tx", asked)
            signed = (each["tx"] for each in found["transactions"])
            paid += sum(int(each["Fee"]) for each in signed if each["Account"] == ADDRESSES[side])
            if "marker" not in found:
                return paid
            marker = {"marker": found["marker"]}

    def hints(self) -> list[str]:
        body = f'{{"method":"account_tx","params":[{{"account":"{ADDRESSES[1]}"}}]}}'
        return [f"curl -s -d '{body}' {self.url}"]


def fund(url: str) -> None:
    """Both engines' accounts, in the next ledger."""
    for address in ADDRESSES:
        payment = {"Destination": address, "Amount": str(_FUNDS)}
        _call(url, "submit", {"secret": GENESIS_SECRET, "tx_json": payment})


def is_funded(url: str) -> bool:
    asked = [rpc(url, "account_info", {"account": address}) for address in ADDRESSES]
    return all(each["status"] == "success" for each in asked)


def engine_words(url: str) -> tuple[str, ...]:
    """Behind `fastilp engine`."""
    return ("xrp", "--xrp-url", url, "--poll-frequency", str(_POLL_MS))


def _call(url: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = rpc(url, method, params)
    if result["status"] != "success":
        raise FastILPError(f"{method}: {result['error_message']}")
    return result
