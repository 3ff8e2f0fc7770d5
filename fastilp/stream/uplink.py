"""An account of some connector, dialled from a program: the way out, and in, of its payments.

Imports transports, control's IL-DCP, endpoints and _core. Inside is a switch of its own with two
accounts in one asset, the connector's and the program's, and a ledger in memory: what is owed is
the connector's business. Which address and asset the account has, the connector says (RFC 31),
over a first connection that lasts as long as that question.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

from fastilp._core.books import Account
from fastilp._core.ledger import Ledger
from fastilp._core.link import Link
from fastilp._core.packet import Fulfill, Reject, decode
from fastilp._core.stream_frames import Frame
from fastilp._core.switch import Switch
from fastilp.control import ildcp
from fastilp.endpoints.stream.receiver import Incoming as IncomingPacket
from fastilp.endpoints.stream.receiver import StreamReceiver
from fastilp.endpoints.stream.uplink import AccountUplink, Answered
from fastilp.errors import DecodeError, PaymentError, UsageError
from fastilp.transports.auth import url_without_token
from fastilp.transports.batch import BatchPort
from fastilp.transports.batch_client import BatchDialler
from fastilp.transports.btp import BtpPort
from fastilp.transports.btp_client import BtpDialler
from fastilp.transports.http_client import HttpSender
from fastilp.transports.pump import Pump

Details = ildcp.Config
"""Address, scale and code of the asset of an account."""
# Until the connector names ours. Nothing is ever sent there.
_NO_DETAILS = Details("private.program", 0, "NONE")
_CONNECT_SECONDS = 10.0
_BTP = ("btp+ws:", "btp+wss:", "ws:", "wss:")
_BATCH = ("ilp+tcp:", "ilp+tls:", "ilp+unix:")
_HTTP = ("http:", "https:")


class NetworkUplink:
    """What `open_uplink` gives; an `Uplink` for payments, and where a server listens."""

    def __init__(self, url: str, token: str | None, tls: ssl.SSLContext | None, own: Details):
        self._url = url_without_token(url)
        self._switch = Switch(Ledger.memory(), own.address)
        self._pump = Pump(self._switch)
        try:
            self._connector = self._add_account("connector", own)
            self._program = self._add_account("program", own)
            self._switch.set_route("", self._connector)
            self._switch.set_route(own.address, self._program)
            self._payments = AccountUplink(
                self._switch, self._program, self._pump.wake, own.address, self._pump.now_ms
            )
            self._port: BtpPort | BatchPort | None = None
            self._dialler: BtpDialler | BatchDialler | None = None
            self._sender: HttpSender | None = None
            self._up = asyncio.Event()
            self._dial(url, token, tls)
        except BaseException:
            self._pump.close()
            raise
        self._receiver: StreamReceiver | None = None

    @property
    def address(self) -> str:
        return self._payments.address

    @property
    def asset_code(self) -> str:
        return self._payments.asset_code

    @property
    def asset_scale(self) -> int:
        return self._payments.asset_scale

    def now_ms(self) -> int:
        return self._pump.now_ms()

    def send(self, prepare: bytes, answered: Answered) -> None:
        self._payments.send(prepare, answered)

    @property
    def can_receive(self) -> bool:
        """ILP-over-HTTP would need a server of ours."""
        return self._sender is None

    def receive(
        self,
        received: Callable[[IncomingPacket], None],
        heard: Callable[[str, Frame], list[Frame]],
    ) -> Callable[[], tuple[str, bytes]]:
        """Take packets to the account's address from now on. Returns what makes address and shared
        secret of a connection; secrets are good as long as the uplink."""
        if not self.can_receive:
            raise UsageError(f"{self._url}: over HTTP we only send; BTP or ilp+tcp can receive")
        if self._receiver is not None:
            raise UsageError("an uplink has one server")
        receiver = StreamReceiver(
            self._switch,
            os.urandom(32),
            self._pump.now_ms,
            self._pump.wake,
            received,
            heard=heard,
        )
        self._receiver = receiver
        return lambda: receiver.credentials("program", self.address)

    async def ask_details(self) -> Details:
        """Which address and asset the account has, by IL-DCP."""
        asker = _Asker(self._switch, self._program, self._connector, self._pump)
        answer = await asker.ask()
        if isinstance(answer, Fulfill):
            try:
                return ildcp.parse_response(answer.data)
            except DecodeError as error:
                raise PaymentError(f"{self._url}: IL-DCP: {error}") from None
        raise PaymentError(
            f"{self._url} does not say which address and asset the account has: "
            f"{answer.code} {answer.message}; give `details` if it knows no IL-DCP"
        )

    async def connected(self) -> None:
        """Raises PaymentError if that takes too long."""
        if self._dialler is None:
            return
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._up.wait()
        except TimeoutError:
            why = self._dialler.last_error or "no answer"
            raise PaymentError(f"{self._url} cannot be reached: {why}") from None

    async def close(self) -> None:
        self._payments.close()
        if self._dialler is not None:
            await self._dialler.close()
        if self._port is not None:
            self._port.close()
        if self._sender is not None:
            self._sender.close()
        self._pump.close()

    def _add_account(self, name: str, own: Details) -> Account:
        return self._switch.add_account(
            name, asset_code=own.asset_code, asset_scale=own.asset_scale, round_trip_time=0
        )

    def _dial(self, url: str, token: str | None, tls: ssl.SSLContext | None) -> None:
        scheme = url.partition("/")[0]
        if scheme in _BTP:
            port = BtpPort(self._link("btp"), self._pump, self._changed)
            self._port, self._dialler = port, BtpDialler(port, url, token, ssl_context=tls)
        elif scheme in _BATCH:
            door = BatchPort(self._link("batch"), self._pump, self._changed)
            self._port, self._dialler = door, BatchDialler(door, url, token, ssl_context=tls)
        elif scheme in _HTTP:
            link = self._link("message")
            known = _token_in(url) if token is None else token
            self._sender = HttpSender(link, self._pump, url, known, ssl_context=tls)
        else:
            raise UsageError(f"{self._url}: an uplink is btp+ws(s)://, ilp+tcp://, or http(s)://")
        if self._dialler is not None:
            self._dialler.start()

    def _link(self, kind: str) -> Link:
        link = self._switch.open_link(self._connector, kind=kind)
        self._switch.set_egress(self._connector, link)
        return link

    def _changed(self, port: BtpPort | BatchPort) -> None:
        if port.up:
            self._up.set()
        else:
            self._up.clear()


def _token_in(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        # Whoever sends by this URL says what is wrong with it.
        return ""


class _Asker:
    """One Prepare without money, straight to the connector."""

    def __init__(self, switch: Switch, own: Account, connector: Account, pump: Pump) -> None:
        self._answer: asyncio.Future[Fulfill | Reject] = asyncio.Future()
        self._link = switch.open_link(own, name="program/ildcp", local=True, takes=False)
        self._link.owner = self
        request = ildcp.request(pump.now_ms() + int(_CONNECT_SECONDS * 1_000))
        self._link.receive([(0, bytes(request))], egress=connector)
        pump.wake()

    async def ask(self) -> Fulfill | Reject:
        try:
            return await self._answer
        finally:
            self._link.close()

    def flush(self, link: Link) -> None:
        """Called by the pump."""
        for _, packet in link.take():
            answer = decode(packet)
            if isinstance(answer, Fulfill | Reject) and not self._answer.done():
                self._answer.set_result(answer)


@asynccontextmanager
async def open_uplink(
    url: str,
    token: str | None = None,
    *,
    ssl_context: ssl.SSLContext | None = None,
    details: Details | None = None,
) -> AsyncIterator[NetworkUplink]:
    """Dial an account: `btp+ws://user:token@host:port/path`, `btp+wss://`, `ilp+tcp://`,
    `ilp+tls://`, `ilp+unix://`, or, to send only, `http(s)://:token@host/accounts/user/ilp`; the
    token may be given apart.
    The connection is dialled again as often as it is lost. `details`: address, scale and code of
    the asset, where the connector does not tell. Raises PaymentError, UsageError."""
    if details is None:
        details = await _learn(url, token, ssl_context)
    uplink = NetworkUplink(url, token, ssl_context, details)
    try:
        await uplink.connected()
        yield uplink
    finally:
        await uplink.close()


async def _learn(url: str, token: str | None, tls: ssl.SSLContext | None) -> Details:
    uplink = NetworkUplink(url, token, tls, _NO_DETAILS)
    try:
        await uplink.connected()
        return await uplink.ask_details()
    finally:
        await uplink.close()
