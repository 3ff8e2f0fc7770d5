"""Incoming payments: a WebSocket of the node, printed line by line."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from aiohttp import web

from tests.cli.command import fastilp

PAYMENT = '{"to_username":"alice","amount":5}'


class Server:
    """Sends one payment to whoever comes with the right token, then waits."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []
        self.close_after_one = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.path, request.headers.get("Authorization")))
        if request.headers.get("Authorization") != "Bearer secret":
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(PAYMENT)
        if self.close_after_one:
            await socket.close()
        await socket.receive()
        return socket

    async def _start(self) -> None:
        application = web.Application()
        for path in ("/accounts/alice/payments/incoming", "/payments/incoming"):
            application.router.add_get(path, self._serve)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    found.start()
    yield found
    found.stop()


@pytest.mark.parametrize(
    "words",
    [("accounts", "incoming-payments", "alice"), ("payments", "incoming")],
    ids=["CLI-07", "CLI-08"],
)
def test_prints_each_payment_until_ctrl_c(server: Server, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "fastilp", *words, "--node", server.url, "--auth", "secret"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{PAYMENT}\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    account = "/accounts/alice" if words[0] == "accounts" else ""
    assert server.seen == [(f"{account}/payments/incoming", "Bearer secret")]


def test_refusals(server: Server) -> None:
    refused = fastilp("payments", "incoming", "--node", server.url, "--auth", "wrong")
    assert refused.status == 1 and "401" in refused.stderr
    words = ("accounts", "incoming-payments", "bob", "--auth", "secret")
    missing = fastilp(*words, "--node", server.url)
    assert missing.status == 1 and "404" in missing.stderr
    gone = fastilp(*words, "--node", "http://127.0.0.1:1")
    assert gone.status == 1 and "no node answers" in gone.stderr


def test_a_node_that_hangs_up(server: Server) -> None:
    server.close_after_one = True
    done = fastilp("payments", "incoming", "--node", server.url, "--auth", "secret")
    assert (done.status, done.stdout) == (1, f"{PAYMENT}\n")
    assert "closed the connection" in done.stderr
