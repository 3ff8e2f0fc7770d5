"""How two Ethereum engines get to know each other, with the messages of Interledger.rs's engine,
and what nobody can make them believe. No chain: none is needed for it."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from eth_account import Account
from eth_utils.crypto import keccak

from fastilp.engines.ethereum.signing import HANDSHAKE_PREFIX, Key, signer_of
from fastilp.errors import DecodeError
from tests.engines.anvil import ADDRESSES, KEYS
from tests.engines.ethereum_world import (
    NOWHERE,
    PAYEE,
    PAYER,
    chosen,
    connectors,
    engine,
    hosted,
    join,
)
from tests.engines.world import until

CHALLENGE = b"5b9c7a1e-7f6b-4c11-9d58-0d6d8b2f4a31"
OTHERS_TOKEN = "0x" + "77" * 20


def proof(key: int, challenge: list[int], **to: Any) -> dict[str, Any]:
    """What an honest engine with this key would answer; `to` changes what it says of itself."""
    return {
        "to": {"own_address": ADDRESSES[key], "token_address": None} | to,
        "signature": Key(bytes.fromhex(KEYS[key])).sign_challenge(bytes(challenge)),
        "challenge": None,
    }


def test_signatures_are_those_of_ethereum() -> None:
    """Signed by us and by eth_account, digit by digit; and read back."""
    for private_key, address in zip(KEYS, ADDRESSES, strict=True):
        key = Key(bytes.fromhex(private_key))
        ours = key.sign_challenge(CHALLENGE)
        theirs = Account.unsafe_sign_hash(keccak(HANDSHAKE_PREFIX + CHALLENGE), private_key)
        numbers = [int.from_bytes(bytes(ours[name]), "big") for name in ("v", "r", "s")]
        assert numbers == [theirs.v, theirs.r, theirs.s] and ours["v"][0] in (27, 28)
        assert key.address == address == signer_of(CHALLENGE, ours)
        assert signer_of(b"another challenge", ours) != address


@pytest.mark.parametrize(
    "signature",
    [
        None, [], {}, {"v": [27], "r": [1]}, {"v": 27, "r": [1], "s": [1]},
        {"v": [29], "r": [1], "s": [1]}, {"v": [], "r": [], "s": []},
        {"v": [27], "r": [256], "s": [1]}, {"v": [27], "r": [True], "s": [1]},
        {"v": [27], "r": [1] * 33, "s": [1]}, {"v": [27], "r": [255] * 32, "s": [255] * 32},
        {"v": [27], "r": [0], "s": [0]},
    ],
)  # fmt: skip
def test_what_is_no_signature_is_refused(signature: Any) -> None:
    with pytest.raises(DecodeError):
        signer_of(CHALLENGE, signature)


@pytest.mark.asyncio
async def test_both_know_each_other_whoever_begins(tmp_path: Path) -> None:
    """The first account is created before the other engine has heard of anything."""
    async with connectors() as stand_in:
        one = chosen(tmp_path / "one", stand_in.url, 0, ethereum_url=NOWHERE)
        other = chosen(tmp_path / "other", stand_in.url, 1, ethereum_url=NOWHERE)
        async with hosted(one) as (first, first_calls), hosted(other) as (second, second_calls):
            join(stand_in, first_calls, second_calls)
            assert (await first_calls.create(PAYER)).status == 201
            assert engine(first).handshake.peer(PAYER) is None
            assert (await second_calls.create(PAYEE)).status == 201
            await until(lambda: engine(first).handshake.peer(PAYER))
            await until(lambda: engine(second).handshake.peer(PAYEE))
            assert engine(first).handshake.peer(PAYER) == ADDRESSES[1]
            assert engine(second).handshake.peer(PAYEE) == ADDRESSES[0]
        async with hosted(one) as (first, first_calls):
            assert engine(first).handshake.peer(PAYER) == ADDRESSES[1]
            assert (await first_calls.create(PAYER)).status == 201


@pytest.mark.asyncio
async def test_b3_step_by_step_across_a_restart(tmp_path: Path) -> None:
    """The peer is played by hand, with the documented bytes; the challenge outlives the process."""
    settings = chosen(tmp_path, NOWHERE, 0, ethereum_url=NOWHERE)
    async with hosted(settings) as (host, calls):
        await calls.create(PAYER)
        reply = await calls.message(PAYER, orjson.dumps({"challenge": list(CHALLENGE)}))
        assert reply.status == 201
        answer = orjson.loads(reply.body)
        assert answer["to"] == {"own_address": ADDRESSES[0], "token_address": None}
        assert signer_of(CHALLENGE, answer["signature"]) == ADDRESSES[0]
    async with hosted(settings) as (host, calls):
        message = orjson.dumps(proof(1, answer["challenge"]))
        assert (await calls.message(PAYER, message)).status == 201
        assert engine(host).handshake.peer(PAYER) == ADDRESSES[1]
        # Of a handshake that is over: taken, and nothing changes.
        again = orjson.dumps(proof(2, answer["challenge"]))
        assert (await calls.message(PAYER, again)).status == 201
        assert engine(host).handshake.peer(PAYER) == ADDRESSES[1]


async def challenged(calls: Any, account: str = PAYER) -> list[int]:
    reply = await calls.message(account, orjson.dumps({"challenge": list(CHALLENGE)}))
    found: list[int] = orjson.loads(reply.body)["challenge"]
    return found


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("to", "detail"),
    [
        ({"own_address": ADDRESSES[2]}, "Recovered address did not match"),
        ({"own_address": "0x12"}, "20 bytes"),
        ({"own_address": None}, "20 bytes"),
        ({"token_address": OTHERS_TOKEN}, "pays in 0x77"),
    ],
)
async def test_forged_answers_are_refused(tmp_path: Path, to: dict[str, Any], detail: str) -> None:
    settings = chosen(tmp_path, NOWHERE, 0, ethereum_url=NOWHERE)
    async with hosted(settings) as (host, calls):
        await calls.create(PAYER)
        message = orjson.dumps(proof(1, await challenged(calls), **to))
        reply = await calls.message(PAYER, message)
        assert reply.status == 400 and detail in orjson.loads(reply.body)["detail"]
        assert engine(host).handshake.peer(PAYER) is None


@pytest.mark.asyncio
async def test_an_address_stays_with_its_account(tmp_path: Path) -> None:
    """Whoever can have a challenge signed elsewhere must not get another one's payments."""
    settings = chosen(tmp_path, NOWHERE, 0, ethereum_url=NOWHERE)
    async with hosted(settings) as (host, calls):
        for account in (PAYER, "thief"):
            await calls.create(account)
        first = orjson.dumps(proof(1, await challenged(calls)))
        assert (await calls.message(PAYER, first)).status == 201
        stolen = orjson.dumps(proof(1, await challenged(calls, "thief")))
        assert (await calls.message("thief", stolen)).status == 409
        changed = orjson.dumps(proof(2, await challenged(calls)))
        assert (await calls.message(PAYER, changed)).status == 409
        ours = orjson.dumps(proof(0, await challenged(calls, "thief")))
        assert b"our own address" in (await calls.message("thief", ours)).body
        assert engine(host).handshake.peer(PAYER) == ADDRESSES[1]
        # Given up by the connector, it is free.
        assert (await calls.delete(PAYER)).status == 204
        again = orjson.dumps(proof(1, await challenged(calls, "thief")))
        assert (await calls.message("thief", again)).status == 201


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "message",
    [
        b"", b"{", b"[]", b"7", b"null", b"{}", b'{"challenge":null}', b'{"challenge":"abc"}',
        b'{"challenge":[256]}', b'{"challenge":[-1]}', orjson.dumps({"challenge": [1] * 257}),
        b"\xff\xfe", b"[" * 30_000,
    ],
)  # fmt: skip
async def test_messages_that_mean_nothing_are_refused(tmp_path: Path, message: bytes) -> None:
    settings = chosen(tmp_path, NOWHERE, 0, ethereum_url=NOWHERE)
    async with hosted(settings) as (_, calls):
        await calls.create(PAYER)
        reply = await calls.message(PAYER, message)
        assert reply.status == 400 and orjson.loads(reply.body)["detail"]


def test_nested_json_is_an_error_and_no_crash() -> None:
    """What eth-account imports sets Python's limit so high that the stack would end first."""
    with pytest.raises(RecursionError):
        json.loads("[" * 100_000)
