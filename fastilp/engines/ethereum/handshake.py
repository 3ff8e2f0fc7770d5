"""How two engines tell each other their addresses, and prove that they are theirs; the messages are
those of Interledger.rs's engine. Imports the neighbours.

Each signs a challenge of the other. The challenges that are open are kept in the store, so that a
restart in the middle loses nothing. What is signed names neither the chain nor the peer, so a peer
could have another one's address signed for itself: an address belongs to the account that showed it
first, and an account keeps its address, until the connector deletes the account.
"""

import uuid
from typing import Any

import orjson

from fastilp.engines import failures
from fastilp.engines.context import Context, OwnChange
from fastilp.engines.errors import EngineError
from fastilp.engines.ethereum.signing import Key, address_of, bytes_of, signer_of
from fastilp.engines.parking import credit_parked
from fastilp.errors import DecodeError

CHALLENGE_BYTES_MAX = 256
# Both sides may begin, more than once: so many are open at a time, the oldest go.
CHALLENGES_MAX = 4


class Handshake:
    def __init__(
        self, context: Context, key: Key, token_address: str | None, asset_scale: int
    ) -> None:
        self._context = context
        self._key = key
        self._token = token_address
        self._scale = asset_scale

    def peer(self, account_id: str) -> str | None:
        """The peer's address."""
        with self._context.read() as records:
            found = records.get(f"peer/{account_id}")
        return None if found is None else str(found["own_address"])

    async def begin(self, account_id: str) -> None:
        """Returns when both know each other. Raises NotNowError, EngineError."""
        if self.peer(account_id) is not None:
            return
        challenge = str(uuid.uuid4()).encode()
        raw = await self._context.message(account_id, _dumps({"challenge": list(challenge)}))
        try:
            answer = _decoded(raw)
            address = self._signed_address(answer, [challenge])
            theirs = _challenge(answer)
        except DecodeError as error:
            raise EngineError(f"the peer's engine answered wrongly: {error}") from None
        # First the answer that they wait for: a failure begins the whole again.
        if theirs is not None:
            await self._context.message(account_id, self._answer(theirs, None))
        with self._context.change() as change:
            self._bind(change, account_id, address)

    async def receive(self, account_id: str, message: bytes) -> bytes:
        """Raises EngineError."""
        try:
            given = _decoded(message)
            if "to" in given or "signature" in given:
                self._take_answer(account_id, given)
                return b""
            theirs = _challenge(given)
        except DecodeError as error:
            raise EngineError(str(error), status=400) from None
        if theirs is None:
            raise EngineError("Invalid message type", status=400)
        ours = str(uuid.uuid4()).encode()
        with self._context.change() as change:
            name = f"challenges/{account_id}"
            known = (change.get(name) or [])[1 - CHALLENGES_MAX :]
            change.put(name, [*known, ours.hex()])
        return self._answer(theirs, ours)

    def forget(self, account_id: str) -> None:
        """Payments from the address are parked from now on."""
        with self._context.change() as change:
            peer = change.get(f"peer/{account_id}")
            if peer is not None:
                change.delete(f"address/{peer['own_address']}")
            change.delete(f"peer/{account_id}")
            change.delete(f"challenges/{account_id}")
            failures.forget(change, account_id)

    def _take_answer(self, account_id: str, given: dict[str, Any]) -> None:
        with self._context.change() as change:
            known = change.get(f"challenges/{account_id}")
            if not known:
                # Of a handshake that is over, or never was: nothing to do with it.
                return
            address = self._signed_address(given, [bytes.fromhex(each) for each in known])
            self._bind(change, account_id, address)
            change.delete(f"challenges/{account_id}")

    def _signed_address(self, given: dict[str, Any], challenges: list[bytes]) -> str:
        """Raises DecodeError."""
        to = given.get("to")
        if not isinstance(to, dict):
            raise DecodeError('"to" must be an object with "own_address"')
        address = address_of(to.get("own_address"))
        token = to.get("token_address")
        if (None if token is None else address_of(token)) != self._token:
            raise DecodeError(f"pays in {token or 'ETH'}, and we in {self._token or 'ETH'}")
        signers = [signer_of(challenge, given.get("signature")) for challenge in challenges]
        if address not in signers:
            text = f"Recovered address did not match: {signers[-1]}, must be {address}"
            raise DecodeError(text)
        return address

    def _bind(self, change: OwnChange, account_id: str, address: str) -> None:
        """Raises EngineError where it would take something from somebody."""
        if address == self._key.address:
            raise EngineError("the peer has our own address: each engine needs its own key")
        known, owner = change.get(f"peer/{account_id}"), change.get(f"address/{address}")
        if known is not None and known["own_address"] != address:
            message = f"the account has the address {known['own_address']}; delete it to change it"
            raise EngineError(message, status=409)
        if owner not in (None, account_id):
            raise EngineError(f"{address} belongs to the account {owner}", status=409)
        change.put(f"peer/{account_id}", {"own_address": address, "token_address": self._token})
        change.put(f"address/{address}", account_id)
        credit_parked(change, account_id, address, self._scale)

    def _answer(self, theirs: bytes, ours: bytes | None) -> bytes:
        return _dumps(
            {
                "to": {"own_address": self._key.address, "token_address": self._token},
                "signature": self._key.sign_challenge(theirs),
                "challenge": None if ours is None else list(ours),
            }
        )


def _dumps(message: Any) -> bytes:
    return orjson.dumps(message)


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise DecodeError("a message must be JSON") from None
    if not isinstance(found, dict):
        raise DecodeError("Invalid message type")
    return found


def _challenge(message: dict[str, Any]) -> bytes | None:
    challenge = message.get("challenge")
    return None if challenge is None else bytes_of(challenge, CHALLENGE_BYTES_MAX)
