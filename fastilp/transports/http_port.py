"""The incoming HTTP side of one account: requests become packets of its http-in link, and the
answers find their way back to the request. Imports _core and transports only.

Requests of connections that the core parses never come here; it finds their answers in `exchanges`.
Those of the full parser do, with request ids that have the top bit set. The switch answers every
Prepare by its expiry, so what waits is bounded by `in_flight_in_max`.
"""

import itertools
from typing import Protocol

from fastilp._core import status
from fastilp._core.http_in import HttpExchanges
from fastilp._core.link import Link
from fastilp._core.packet import Reject
from fastilp.transports.http_messages import packet_head, problem, response_head
from fastilp.transports.pump import Pump

_PREPARE, _REJECT = 12, 14
# Ids without this bit are given out by the core.
_OWN_ID = 1 << 31
_INVALID = next(text for _, name, _, text in status.table() if name == "invalid_packet")
_CLOSED = problem(503, "this account is closed")


def refusal(pump: Pump) -> bytes:
    """For what is not a Prepare at all; a packet, for peers that read it (quilt)."""
    return bytes(Reject(code="F01", triggered_by=pump.switch.address, message=_INVALID))


class Client(Protocol):
    """The connection that a request came in on."""

    closed: bool

    def write_ready(self) -> None:
        """Write the answers that are complete, in the order of their requests."""


class Exchange:
    """One request and its place in the order of answers; `head` is None until it is answered,
    `more` while pieces of the body are still to come."""

    __slots__ = ("begun", "body", "client", "head", "more")

    def __init__(self, client: Client) -> None:
        self.client = client
        self.head: bytes | None = None
        self.body = b""
        self.begun = False
        self.more = False


class HttpPort:
    """The shell of one http-in message link. Put it into the listener's token table."""

    def __init__(self, link: Link, pump: Pump) -> None:
        self.link = link
        self.exchanges = HttpExchanges(link, self._is_invalid_packet, self._flush_others)
        self._pump = pump
        self._waiting: dict[int, Exchange] = {}
        self._ids = itertools.count()
        self._closed = False
        link.owner = self.exchanges

    @property
    def waiting(self) -> int:
        """Requests that wait for an answer."""
        return len(self._waiting) + self.exchanges.waiting

    def submit(self, exchange: Exchange, packet: bytes) -> None:
        """Hand a request's body to the switch; the answer comes with a later turn."""
        if not packet or packet[0] != _PREPARE:
            self._refuse(exchange)
            return
        if self._closed:
            self._unavailable(exchange)
            return
        request_id = next(self._ids) % _OWN_ID | _OWN_ID
        while request_id in self._waiting:
            request_id = next(self._ids) % _OWN_ID | _OWN_ID
        self._waiting[request_id] = exchange
        self.link.receive(((request_id, packet),))
        self._pump.wake()

    def _flush_others(self, packets: list[tuple[int, bytes]]) -> None:
        clients: dict[Client, None] = {}
        for request_id, packet in packets:
            if packet[0] == _PREPARE:
                self._flush_prepare(request_id)
                continue
            exchange = self._waiting.pop(request_id, None)
            if exchange is None or exchange.client.closed:
                self._pump.switch.count_undeliverable()
                continue
            code = 400 if packet[0] == _REJECT and self._is_invalid_packet(packet) else 200
            exchange.body = packet
            exchange.head = packet_head(code, len(packet))
            clients[exchange.client] = None
        for client in clients:
            client.write_ready()

    def close(self) -> None:
        """Answer what waits with 503 and close the link."""
        self._closed = True
        waiting, self._waiting = self._waiting, {}
        for exchange in waiting.values():
            self._unavailable(exchange)
            if not exchange.client.closed:
                exchange.client.write_ready()
        self.exchanges.abandon(response_head(_CLOSED) + b"\r\n" + _CLOSED.body)
        self.link.owner = None
        self.link.close()

    def _flush_prepare(self, request_id: int) -> None:
        """Nobody can be sent a Prepare here: HTTP clients only ask."""
        reject = Reject(
            code="T01",
            triggered_by=self._pump.switch.address,
            message="account has no outgoing link",
        )
        self.link.receive(((request_id, bytes(reject)),))
        self._pump.wake()

    def _unavailable(self, exchange: Exchange) -> None:
        exchange.body = _CLOSED.body
        exchange.head = response_head(_CLOSED)

    def _refuse(self, exchange: Exchange) -> None:
        exchange.body = refusal(self._pump)
        exchange.head = packet_head(400, len(exchange.body))

    def _is_invalid_packet(self, packet: bytes) -> bool:
        """Whether this is our own answer to an undecodable Prepare, which HTTP calls 400."""
        code_at = 2 + (packet[1] & 0x7F if packet[1] >= 0x80 else 0)
        if packet[code_at : code_at + 3] != b"F01":
            return False
        reject = Reject.decode(packet)
        return reject.message == _INVALID and reject.triggered_by == self._pump.switch.address
