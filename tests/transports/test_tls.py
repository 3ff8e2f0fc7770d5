"""Both protocols over TLS on one port, with a certificate made here."""

import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fastilp.transports.btp_client import BtpDialler
from fastilp.transports.http_client import HttpSender
from fastilp.transports.http_server import HttpListener
from tests.transports.harness import FULFILLMENT, Hub, hub, on_uvloop, prepare, until


def certificate(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for 127.0.0.1, and that of a client who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(time.time_ns())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    path = directory / "server.pem"
    path.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(encoding)
    )
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(path)
    client_side = ssl.create_default_context(cafile=str(path))
    return server_side, client_side


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
