"""What nodes answer, and what it is taken for: where money may be on its way, it is waited for."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from fastilp.engines.errors import EngineError, NotNowError
from fastilp.engines.lightning.electrum import ElectrumError, ElectrumNode
from fastilp.engines.lightning.lnd import LndNode
from fastilp.engines.lightning.node import Payment, State
from tests.certificates import certificate_file
from tests.engines.lnd_stand_in import MACAROON, Channel, LndStandIn

HASH = "ab" * 32
PREIMAGE = "cd" * 32


def sent(fee_msat: int | None, **more: Any) -> dict[str, Any]:
    found = {"type": "payment", "direction": 0, "payment_hash": HASH, "preimage": PREIMAGE}
    return found | {"amount_msat": -500_000, "fee_msat": fee_msat} | more


def saved(status: int) -> dict[str, Any]:
    return {"status": status, "status_str": "so", "amount_msat": 500_000}


UNPAID, EXPIRED, PAID, IN_FLIGHT, FAILED = 0, 1, 3, 4, 5
NOT_FOUND = ElectrumError("Electrum, get_invoice: Request not found")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("invoice", "flying", "history", "state"),
    [
        (NOT_FOUND, 0, [], State.UNKNOWN),
        (NOT_FOUND, 7, [], State.UNKNOWN),
        (saved(UNPAID), 0, [], State.FAILED),
        (saved(FAILED), 0, [], State.FAILED),
        (saved(EXPIRED), 0, [], State.FAILED),
        # After a restart: it does not know any more that it was paying.
        (saved(UNPAID), 7, [], State.PENDING),
        (saved(EXPIRED), 7, [], State.PENDING),
        (saved(IN_FLIGHT), 0, [], State.PENDING),
        # By somebody, on the chain.
        (saved(PAID), 0, [], State.PENDING),
        (saved(PAID), 0, [sent(12)], State.PAID),
        (NOT_FOUND, 0, [sent(None)], State.PAID),
        # Some parts of it.
        (saved(IN_FLIGHT), 7, [sent(-200_000)], State.PENDING),
        (saved(UNPAID), 0, [sent(0, direction=1)], State.FAILED),
        (saved(UNPAID), 0, [sent(0, payment_hash="cd" * 32)], State.FAILED),
        (saved(UNPAID), 0, [{"type": "channel_opening"}], State.FAILED),
    ],
)
async def test_what_electrum_says(invoice: Any, flying: int, history: Any, state: State) -> None:
    node = answering(
        get_invoice=invoice,
        list_channels=[
            {"local_unsettled_sent": 0},
            {"local_unsettled_sent": flying},
            {"type": "BACKUP"},
        ],
        lightning_history=history,
    )
    assert (await node.payment(HASH)).state is state


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["get_invoice", "list_channels", "lightning_history"])
@pytest.mark.parametrize("answer", [None, 5, "x", {}, [5], [{}], [{"local_unsettled_sent": "x"}]])
async def test_nonsense_of_electrum_is_not_taken_for_failed(method: str, answer: Any) -> None:
    whole = {
        "get_invoice": saved(UNPAID),
        "list_channels": [{"local_unsettled_sent": 7}],
        "lightning_history": [],
    }
    node = answering(**(whole | {method: answer}))
    try:
        assert (await node.payment(HASH)).state is State.PENDING
    except NotNowError:
        pass


def answering(**answers: Any) -> ElectrumNode:
    """Electrum with these answers."""
    node = ElectrumNode("http://127.0.0.1:1", "user", "password", None)

    async def call(method: str, **_: Any) -> Any:
        answer = answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer

    node._call = call  # type: ignore[method-assign]
    return node


@pytest.mark.asyncio
async def test_parts_of_a_satoshi() -> None:
    with pytest.raises(EngineError, match="no parts of a satoshi"):
        await answering().create_invoice(500_001, "", 600)


def test_proofs() -> None:
    """Of the preimage 32 zero bytes."""
    digest = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
    assert Payment(State.PAID, preimage="00" * 32).proves(digest)
    for preimage in ("", "0" * 63, "zz" * 32, "01" * 32):
        assert not Payment(State.PAID, preimage=preimage).proves(digest)


@pytest.mark.asyncio
async def test_lnd_by_its_own_certificate(tmp_path: Path) -> None:
    """No other one is trusted; a wrong macaroon is told."""
    macaroon, wrong = tmp_path / "right", tmp_path / "wrong"
    macaroon.write_bytes(MACAROON)
    wrong.write_bytes(b"wrong")
    mine, other = _certificate(tmp_path / "mine"), _certificate(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine)
    stand_in = LndStandIn("lnd", Channel(), context)
    await stand_in.start()
    try:
        assert "on regtest" in await described(stand_in, macaroon, mine)
        with pytest.raises(NotNowError, match="certificate verify failed"):
            await described(stand_in, macaroon, other)
        with pytest.raises(NotNowError, match="verification failed"):
            await described(stand_in, wrong, mine)
    finally:
        await stand_in.stop()


async def described(stand_in: LndStandIn, macaroon: Path, tls: Path) -> str:
    node = LndNode(stand_in.url, str(macaroon), str(tls))
    node.open()
    try:
        return await node.describe()
    finally:
        await node.close()


def _certificate(directory: Path) -> Path:
    directory.mkdir()
    return certificate_file(directory)
