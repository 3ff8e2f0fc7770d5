"""Messages between the settlement engines of two peers (RFC 38): ours sends through us, theirs
through its connector, in Prepares to `peer.settle` without money. Imports _core, requests and
engine_client.

Such a Prepare is never forwarded: it ends at the engine of the account that it comes from. RFC 38
gives its condition as SHA-256 of nothing, which 32 zero bytes do not fulfill; we send that of 32
zero bytes, like everybody, and take any. Promises that nothing a peer or an engine says raises.
"""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable

from fastilp._core.books import Account
from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp.control.engine_client import EngineAnswer, EngineClient, EngineError
from fastilp.control.requests import Requests

_log = logging.getLogger("fastilp.settlement")

DESTINATION = "peer.settle"
_FULFILLMENT = bytes(32)
_CONDITION = bytes.fromhex("66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925")
# What the data of a packet holds (RFC 27).
DATA_SIZE_MAX = 32_767
_EXPIRY_MS = 30_000
# The answer has to be back before the Prepare expires.
_MARGIN_MS = 500
_PAUSE_SECONDS = 0.5
# Of one peer: others have their turn at their engines.
_AT_ONCE_MAX = 8

EngineOf = Callable[[Account], str | None]


class EngineMessages:
    """`engine_of`: the URL of an account's engine."""

    def __init__(
        self,
        client: EngineClient,
        requests: Requests,
        engine_of: EngineOf,
        now_ms: Callable[[], int],
    ) -> None:
        self._client = client
        self._requests = requests
        self._engine_of = engine_of
        self._now_ms = now_ms
        self._under_way: Counter[bytes] = Counter()

    # --- From our engine to theirs --------------------------------------------------------------

    async def send(self, account: Account, data: bytes) -> Fulfill | Reject:
        """What the peer, or the switch in its place, says."""
        answered: asyncio.Future[Fulfill | Reject] = asyncio.get_running_loop().create_future()

        def on_answer(answer: Fulfill | Reject) -> None:
            if not answered.done():
                answered.set_result(answer)

        prepare = Prepare(
            amount=0,
            expires_at=self._now_ms() + _EXPIRY_MS,
            execution_condition=_CONDITION,
            destination=DESTINATION,
            data=data,
        )
        self._requests.send(account, prepare, on_answer)
        return await answered

    # --- From theirs to ours --------------------------------------------------------------------

    async def handle(self, account: Account, prepare: Prepare) -> Fulfill | Reject:
        """The answer to a peer's message."""
        engine_url = self._engine_of(account)
        if engine_url is None:
            return _reject("F02", "there is no settlement engine for you here")
        under_way = self._under_way[account.id]
        if under_way >= _AT_ONCE_MAX:
            return _reject("T03", f"{under_way} messages of yours are under way: try again later")
        self._under_way[account.id] += 1
        try:
            return await self._handle(engine_url, account, prepare)
        finally:
            self._under_way[account.id] -= 1
            if not self._under_way[account.id]:
                del self._under_way[account.id]

    async def _handle(
        self, engine_url: str, account: Account, prepare: Prepare
    ) -> Fulfill | Reject:
        try:
            answer = await self._ask(engine_url, account, prepare)
        except Exception:
            _log.exception("a message failed", extra={"account": account.name})
            return _reject("T00", "an internal error")
        if answer is None:
            return _reject("T00", "the settlement engine does not answer")
        if len(answer.body) > DATA_SIZE_MAX:
            return _reject("T00", "the settlement engine's answer does not fit into a packet")
        if answer.is_success:
            return Fulfill(fulfillment=_FULFILLMENT, data=answer.body)
        code = "F00" if answer.status // 100 == 4 else "T00"
        text = f"the settlement engine answered HTTP {answer.status}"
        return _reject(code, text, answer.body)

    async def _ask(
        self, engine_url: str, account: Account, prepare: Prepare
    ) -> EngineAnswer | None:
        """Again and again while there is no answer and time is left, with one key. None: it is
        over."""
        key = secrets.token_hex(16)
        # Peers may say that a Prepare expires in ten years.
        end_ms = min(prepare.expires_at_ms, self._now_ms() + _EXPIRY_MS) - _MARGIN_MS
        while (left_ms := end_ms - self._now_ms()) > 0:
            try:
                return await self._client.message(
                    engine_url, account.id, prepare.data, key, left_ms / 1_000
                )
            except EngineError as error:
                about = {"account": account.name, "reason": str(error)}
                _log.info("a message did not reach the engine", extra=about)
            left_seconds = (end_ms - self._now_ms()) / 1_000
            await asyncio.sleep(min(_PAUSE_SECONDS, max(left_seconds, 0.0)))
        return None


def _reject(code: str, message: str, data: bytes = b"") -> Reject:
    return Reject(code=code, triggered_by=DESTINATION, message=message, data=data)
