"""SPSP queries: to real servers over HTTP and TLS, with answers of every kind."""

import asyncio
import base64
import gzip
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fastilp.endpoints.spsp import SpspClient, SpspDetails, url_of
from fastilp.errors import ConfigError, PaymentError
from tests.certificates import certificate_file

SECRET = bytes(range(224, 256))
ADDRESS = "example.bob.token"
GOOD = {"destination_account": ADDRESS, "shared_secret": base64.b64encode(SECRET).decode()}

POINTERS = [
    ("$bob.example", "https://bob.example/.well-known/pay"),
    ("$bob.example/", "https://bob.example/.well-known/pay"),
    ("$bob.example/pay", "https://bob.example/pay"),
    ("$bob.example/a/b%20c", "https://bob.example/a/b%20c"),
    ("$bob.example/pay/", "https://bob.example/pay/"),
    ("https://bob.example/spsp?x=1", "https://bob.example/spsp?x=1"),
    ("http://127.0.0.1:7770/accounts/bob/spsp", "http://127.0.0.1:7770/accounts/bob/spsp"),
]
NO_POINTERS = [
    "", "$", "$/", "$/pay", "bob.example", "$bob.example:443", "$bob.example?x", "$bob.example#x",
    "$user@bob.example", "$b\u00f6b.example", "$bob.example/\u00f6", "$bob example",
    "$bob.example/a b",
    "ftp://bob.example", "http://", "http://bob.example:0/", "http://bob.example:x/",
    "http://user:secret@bob.example/", "http://bob.example/a b", "https://bob.example/\n",
]  # fmt: skip


@pytest.mark.parametrize(("receiver", "url"), POINTERS)
def test_payment_pointers(receiver: str, url: str) -> None:
    assert url_of(receiver) == url


@pytest.mark.parametrize("receiver", NO_POINTERS)
def test_what_is_no_receiver(receiver: str) -> None:
    with pytest.raises(PaymentError):
        url_of(receiver)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(handler: Handler, context: ssl.SSLContext | None = None) -> tuple[Any, str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    host, port = runner.addresses[0][:2]
    return runner, f"{'https' if context else 'http'}://{host}:{port}"


def ask(handler: Handler, path: str = "/bob", **more: Any) -> SpspDetails:
    """What a client makes of a server's answers."""

    async def run() -> SpspDetails:
        runner, url = await serve(handler)
        client = SpspClient(timeout_seconds=more.pop("timeout_seconds", 10.0))
        try:
            return await client.query(url + path, **more)
        finally:
            await client.close()
            await runner.cleanup()

    return asyncio.run(run())


def answering(body: Any, status: int = 200) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=content, content_type="application/spsp4+json")

    return handler


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(SECRET).decode(),
        base64.b64encode(SECRET).decode().rstrip("="),
        base64.urlsafe_b64encode(SECRET).decode(),
        base64.urlsafe_b64encode(SECRET).decode().rstrip("="),
    ],
)
def test_secrets_in_both_alphabets(text: str) -> None:
    found = ask(answering({**GOOD, "shared_secret": text, "more": [1]}))
    assert found == SpspDetails(ADDRESS, SECRET, receipts_enabled=False)


def test_what_is_asked() -> None:
    seen: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({**GOOD, "receipts_enabled": True})

    found = ask(handler, "/pay?x=1", receipt_nonce=bytes(16), receipt_secret=bytes(32))
    assert found.receipts_enabled
    [request] = seen
    assert (request.method, request.path_qs) == ("GET", "/pay?x=1")
    assert request.headers["Accept"].startswith("application/spsp4+json")
    assert base64.b64decode(request.headers["Receipt-Nonce"]) == bytes(16)
    assert base64.b64decode(request.headers["Receipt-Secret"]) == bytes(32)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 200, "no address"),
        (b"no JSON", 200, "no address"),
        ([], 200, "no address"),
        (b"[" * 60_000, 200, "no address"),
        ({"shared_secret": GOOD["shared_secret"]}, 200, "no address"),
        ({**GOOD, "destination_account": "no address"}, 200, "no address"),
        ({**GOOD, "destination_account": 5}, 200, "no address"),
        ({"destination_account": ADDRESS}, 200, "not 32 bytes"),
        ({**GOOD, "shared_secret": "AAAA"}, 200, "not 32 bytes"),
        ({**GOOD, "shared_secret": "?" * 44}, 200, "not 32 bytes"),
        ({**GOOD, "shared_secret": "\u00e4" * 44}, 200, "not 32 bytes"),
        ({"id": "InvalidReceiverError", "message": "no\nbob"}, 404, "404: no\\nbob"),
        (b"<html>", 500, "answers 500"),
        (b"x" * 70_000, 200, "answers more than"),
    ],
)
def test_answers_that_are_none(body: Any, status: int, words: str) -> None:
    with pytest.raises(PaymentError) as failure:
        ask(answering(body, status))
    assert words in str(failure.value) and "\n" not in str(failure.value)
    assert len(str(failure.value)) < 600


def test_redirects() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/round":
            raise web.HTTPFound("/round")
        if request.path == "/away":
            raise web.HTTPFound("ftp://bob.example/")
        if request.path != "/there":
            raise web.HTTPTemporaryRedirect("/there")
        return web.json_response(GOOD)

    assert ask(handler).destination == ADDRESS
    for path in ("/round", "/away"):
        with pytest.raises(PaymentError):
            ask(handler, path)


def test_what_is_compressed_is_not_unpacked() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        body = gzip.compress(json.dumps({**GOOD, "more": "x" * 10_000}).encode())
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    with pytest.raises(PaymentError, match="is no receiver"):
        ask(handler)


def test_redirects_share_the_time() -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(0.15)
        raise web.HTTPFound(f"{request.path}x")

    with pytest.raises(PaymentError, match="does not answer in time"):
        ask(handler, timeout_seconds=0.4)


def test_servers_that_do_not_answer() -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.Response()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    for handler in (silent, drip):
        with pytest.raises(PaymentError, match="does not answer in time"):
            ask(handler, timeout_seconds=0.2)

    async def nobody() -> None:
        client = SpspClient()
        with pytest.raises(PaymentError, match=r"cannot be asked: Connect call failed \S+ 1\)$"):
            await client.query("http://127.0.0.1:1/")
        await client.close()

    asyncio.run(nobody())


def test_tls(tmp_path: Path) -> None:
    """A certificate of our own authority is trusted where the settings say so, and nowhere else;
    and nothing leads from TLS to where there is none."""
    path = certificate_file(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/plain":
            raise web.HTTPFound("http://127.0.0.1:1/")
        return web.json_response(GOOD)

    async def run() -> None:
        runner, url = await serve(handler, context)
        trusting, doubting = SpspClient(str(path)), SpspClient()
        assert (await trusting.query(f"{url}/bob")).shared_secret == SECRET
        with pytest.raises(PaymentError, match="certificate"):
            await doubting.query(f"{url}/bob")
        with pytest.raises(PaymentError, match="leads away from TLS"):
            await trusting.query(f"{url}/plain")
        for client in (trusting, doubting):
            await client.close()
        await runner.cleanup()

    asyncio.run(run())


def test_a_file_of_certificates_that_is_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for path in (tmp_path / "nothing.pem", empty):
        with pytest.raises(ConfigError, match="payments.ca_file"):
            SpspClient(str(path))
