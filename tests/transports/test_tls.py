"""The protocols over TLS, with a certificate made here; HTTP and BTP share a port."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from fastilp.transports.batch_client import BatchDialler
from fastilp.transports.btp_client import BtpDialler
from fastilp.transports.http_client import HttpSender
from fastilp.transports.http_server import HttpListener
from tests.certificates import certificate
from tests.transports.batch_harness import batch_hub
from tests.transports.harness import FULFILLMENT, Hub, hub, on_uvloop, prepare, until


@contextlib.asynccontextmanager
async def secure_hub(context: ssl.SSLContext) -> AsyncIterator[tuple[Hub, int]]:
    """A hub that listens with TLS too."""
    async with hub() as node:
        listener = HttpListener(node.pump, node.http_tokens, node.btp_tokens, ssl_context=context)
        await listener.start("127.0.0.1", 0)
        try:
            yield node, listener.port
        finally:
            await listener.drain(0.5)


@on_uvloop
async def test_http_over_tls(tmp_path: Path) -> None:
    server_side, client_side = certificate(tmp_path)
    async with hub() as near, secure_hub(server_side) as (far, port):
        far.receiver("bob")
        far.http("near", "secret")
        alice = near.receiver("alice")
        link = near.switch.open_link(near.account("bob"))
        url = f"https://127.0.0.1:{port}/accounts/near/ilp"
        sender = HttpSender(link, near.pump, url, "secret", ssl_context=client_side)
        for request_id in range(50):
            alice.send(request_id, prepare(data=bytes(20_000)))
        await until(lambda: len(alice.seen) == 50)
        assert {packet.fulfillment for packet in alice.seen} == {FULFILLMENT}
        sender.close()
        # A certificate that nobody vouches for.
        distrustful = HttpSender(link, near.pump, url, "secret")
        alice.send(50, prepare())
        await until(lambda: len(alice.seen) == 51)
        assert alice.seen[50].code == "T01"
        assert "certificate" in distrustful.last_error.lower()
        distrustful.close()


@on_uvloop
async def test_btp_over_tls(tmp_path: Path) -> None:
    server_side, client_side = certificate(tmp_path)
    async with hub() as near, secure_hub(server_side) as (far, port):
        far.receiver("bob")
        far.btp("near", "secret")
        alice = near.receiver("alice")
        link_port = near.btp("bob", "unused")
        url = f"btp+wss://near:secret@127.0.0.1:{port}/"
        dialler = BtpDialler(link_port, url, ssl_context=client_side)
        dialler.start()
        await until(lambda: link_port.up)
        for request_id in range(50):
            alice.send(request_id, prepare(data=bytes(20_000)))
        await until(lambda: len(alice.seen) == 50)
        assert {packet.fulfillment for packet in alice.seen} == {FULFILLMENT}
        await dialler.close()
        distrustful = BtpDialler(link_port, url)
        distrustful.start()
        await until(lambda: "certificate" in distrustful.last_error.lower())
        await distrustful.close()


@on_uvloop
async def test_batch_over_tls(tmp_path: Path) -> None:
    server_side, client_side = certificate(tmp_path)
    async with batch_hub() as near, batch_hub(ssl_context=server_side) as far:
        far.hub.receiver("bob")
        far.batch("near", "secret")
        alice = near.hub.receiver("alice")
        port = near.batch("bob", "unused")
        url = f"ilp+tls://near:secret@127.0.0.1:{far.listener.port}"
        dialler = BatchDialler(port, url, ssl_context=client_side)
        dialler.start()
        await until(lambda: port.up)
        # Many records of TLS, and below what may wait on one link.
        for request_id in range(200):
            alice.send(request_id, prepare(data=bytes(8_000)))
        await until(lambda: len(alice.seen) == 200)
        assert {packet.fulfillment for packet in alice.seen} == {FULFILLMENT}
        await dialler.close()
        distrustful = BatchDialler(port, url)
        distrustful.start()
        await until(lambda: "certificate" in distrustful.last_error.lower())
        await distrustful.close()
