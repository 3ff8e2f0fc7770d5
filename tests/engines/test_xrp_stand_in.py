"""What the stand-in for the XRP Ledger refuses: it judges what the engine signs, so it must not
take what rippled would not."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from xrpl.core.binarycodec import decode, encode

from fastilp.engines.xrp.stand_in import GENESIS_SECRET, StandInLedger
from fastilp.engines.xrp.stand_in.ledger import decoded
from fastilp.engines.xrp.wallet import Wallet
from fastilp.errors import DecodeError
from tests.engines.xrp_world import ADDRESSES, FUNDS, SECRETS, conserved, stand_in
from tests.helpers import until


@pytest.fixture
def ledger() -> StandInLedger:
    found = StandInLedger()
    for address in ADDRESSES[:2]:
        found.fund(address, FUNDS)
    found.close()
    return found


def signed(ledger: StandInLedger, secret: str = SECRETS[0], **fields: Any) -> str:
    return ledger.signed(secret, {"Destination": ADDRESSES[1], "Amount": "5", **fields})


def balances(ledger: StandInLedger) -> list[int]:
    return [ledger.validated.accounts[address].balance for address in ADDRESSES[:2]]


@pytest.mark.parametrize("secret", SECRETS[:2])
def test_a_payment(ledger: StandInLedger, secret: str) -> None:
    """Of both kinds of keys; validated when the ledger closes, and not before."""
    blob = signed(ledger, secret, Destination=ADDRESSES[2], Amount="1000000")
    result, transaction = ledger.submit(blob)
    assert result == "tesSUCCESS" and ledger.submit(blob)[0] == "tefALREADY"
    found = ledger.find(transaction["hash"])
    assert found is not None and not found[1]
    assert sum(balances(ledger)) == 2 * FUNDS
    ledger.close()
    found = ledger.find(transaction["hash"])
    assert found is not None and found[1]
    assert found[0].meta["delivered_amount"] == "1000000"
    assert sum(balances(ledger)) == 2 * FUNDS - 1_000_010
    assert ledger.submit(blob)[0] == "tefPAST_SEQ"
    conserved(ledger)


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        ({"Fee": "9"}, "telINSUF_FEE_P"),
        ({"LastLedgerSequence": 2}, "tefMAX_LEDGER"),
        ({"Sequence": 1}, "tefPAST_SEQ"),
        ({"Sequence": 9}, "terPRE_SEQ"),
        ({"Destination": ADDRESSES[0]}, "temREDUNDANT"),
        ({"Amount": "0"}, "temBAD_AMOUNT"),
        (
            {"Amount": {"currency": "USD", "issuer": ADDRESSES[2], "value": "1"}},
            "temBAD_AMOUNT",
        ),
        ({"Flags": 0x0002_0000}, "temBAD_SEND_XRP_PARTIAL"),
        ({"NetworkID": 5}, "telNETWORK_ID_MAKES_TX_NON_CANONICAL"),
        ({"Amount": str(FUNDS)}, "tecUNFUNDED_PAYMENT"),
        ({"Destination": ADDRESSES[2]}, "tecNO_DST_INSUF_XRP"),
    ],
)
def test_codes(ledger: StandInLedger, fields: dict[str, Any], result: str) -> None:
    before = balances(ledger)
    assert ledger.submit(signed(ledger, **fields))[0] == result
    ledger.close()
    fee = 10 if result.startswith("tec") else 0
    assert balances(ledger) == [before[0] - fee, before[1]]
    conserved(ledger)


def test_an_account_that_is_not_there(ledger: StandInLedger) -> None:
    assert ledger.submit(signed(ledger, SECRETS[2], Sequence=1))[0] == "terNO_ACCOUNT"


def test_a_gap_is_held_until_it_is_filled(ledger: StandInLedger) -> None:
    sequence = ledger.current.accounts[ADDRESSES[0]].sequence
    assert ledger.submit(signed(ledger, Sequence=sequence + 1, Amount="7"))[0] == "terPRE_SEQ"
    ledger.close()
    assert balances(ledger) == [FUNDS, FUNDS]
    assert ledger.submit(signed(ledger))[0] == "tesSUCCESS"
    ledger.close()
    assert balances(ledger) == [FUNDS - 32, FUNDS + 12]
    conserved(ledger)


def test_what_is_past_is_in_no_ledger(ledger: StandInLedger) -> None:
    sequence = ledger.current.accounts[ADDRESSES[0]].sequence
    late = signed(ledger, Sequence=sequence + 1, LastLedgerSequence=ledger.number + 1)
    assert ledger.submit(late)[0] == "terPRE_SEQ"
    ledger.close()
    ledger.submit(signed(ledger))
    ledger.close()
    assert balances(ledger) == [FUNDS - 15, FUNDS + 5]


def test_forged_blobs_are_refused(ledger: StandInLedger) -> None:
    """Another amount, another's key, another's account, half of it, none at all."""
    blob = signed(ledger)
    fields = decode(blob)
    other = Wallet(SECRETS[1])
    theirs = decode(signed(ledger, SECRETS[1], Destination=ADDRESSES[2]))
    forged = [
        encode({**fields, "Amount": "5000"}),
        encode({**fields, "SigningPubKey": theirs["SigningPubKey"]}),
        encode({**theirs, "Account": ADDRESSES[0]}),
        encode({**fields, "TxnSignature": theirs["TxnSignature"]}),
        encode({name: value for name, value in fields.items() if name != "TxnSignature"}),
        other.sign({**fields, "TransactionType": "AccountSet"})[0][: len(blob) // 2],
        blob[:-2],
        blob + "00",
        "zz",
        "",
        "12" * 100_000,
        "\u0661\u0661",
    ]
    for each in forged:
        with pytest.raises(DecodeError):
            ledger.submit(each)
    assert decoded(blob)["Amount"] == "5"
    ledger.close()
    assert balances(ledger) == [FUNDS, FUNDS]


@pytest.mark.asyncio
async def test_the_interface() -> None:
    async with stand_in() as found, aiohttp.ClientSession() as session:

        async def call(method: str, **params: Any) -> dict[str, Any]:
            body = orjson.dumps({"method": method, "params": [params]})
            async with session.post(found.url, data=body) as response:
                return dict(orjson.loads(await response.read())["result"])

        for raw in (b"", b"[]", b"{}", b'{"method": 1, "params": 7}', b"\xff", b"null"):
            async with session.post(found.url, data=raw) as response:
                assert response.status in (200, 400)
        assert (await call("path_find"))["error"] == "unknownCmd"
        assert (await call("submit", tx_blob="12"))["error"] == "invalidTransaction"
        assert (await call("submit", secret="s", tx_json=7))["error"] == "invalidTransaction"
        assert (await call("account_info", account="r"))["error"] == "actNotFound"
        found_range = {"min_ledger": 1, "max_ledger": 2}
        assert (await call("tx", transaction="AB", **found_range))["searched_all"] is True
        found_range["max_ledger"] = 3
        assert (await call("tx", transaction="AB", **found_range))["searched_all"] is False
        assert (await call("account_tx", ledger_index_min="x"))["error"] == "invalidParams"
        assert (await call("account_tx", ledger_index_min=9))["error"] == "lgrIdxsInvalid"
        paying = {"Destination": ADDRESSES[2], "Amount": "2000000"}
        sent = await call("submit", secret=GENESIS_SECRET, tx_json=paying)
        assert sent["engine_result"] == "tesSUCCESS"
        assert (await call("ledger_accept"))["ledger_current_index"] == 4
        info = await call("account_info", account=ADDRESSES[2])
        assert info["account_data"]["Balance"] == "2000000"


def test_the_command(tmp_path: Path) -> None:
    """Closes ledgers by itself, says where it listens, ends when it is told to."""
    ready = tmp_path / "ready.json"
    command = [
        sys.executable, "-m", "fastilp", "engine", "xrp-stand-in",
        "--listen", "127.0.0.1:0", "--close-every", "0.05", "--ready-file", str(ready),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        until(ready.exists, lambda: "it is not ready")
        assert orjson.loads(ready.read_bytes())["pid"] == process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and "stand-in on http://127.0.0.1:" in output
