"""The receiving side for programs: which packets are one connection."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from fastilp._core.stream_frames import ConnectionMaxData, StreamData, StreamMaxData
from fastilp.stream.server import Incoming, Server
from fastilp.stream.uplink import NetworkUplink


class Uplink:
    """Takes the server's ears; the test says what they hear."""

    heard: Callable[..., Any]

    def receive(self, received: object, heard: Callable[..., Any]) -> Callable[[], None]:
        self.heard = heard
        return lambda: None


def test_a_payer_is_one_connection_whatever_is_before_the_token() -> None:
    async def test() -> Incoming:
        uplink = Uplink()
        server = Server(cast(NetworkUplink, uplink))
        for number, data in enumerate((b"ab", b"cd", b"ef")):
            frame = StreamData(1, 2 * number, data)
            answer = uplink.heard(f"example.bob.x{number}.token", frame)
            assert answer == [StreamMaxData(1, 65_536), ConnectionMaxData(65_536)]
        uplink.heard("example.bob.other", StreamData(1, 0, b"xy"))
        found = [await anext(connections) for connections in [aiter(server)] * 2]
        assert await found[1].read() == b"xy"
        return found[0]

    first = asyncio.run(test())
    assert first.inbox.take() == b"abcdef"
