"""Text messages of a node's WebSocket, printed as they come. Imports aiohttp's client."""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Callable

import aiohttp

from fastilp.cli.client import NodeClient
from fastilp.errors import FastILPError

_PING_SECONDS = 30.0


def print_line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_messages(node: NodeClient, path: str, show: Callable[[str], None] = print_line) -> None:
    """Until the node closes, which is an error, or Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_print_messages(node, path, show))


async def _print_messages(node: NodeClient, path: str, show: Callable[[str], None]) -> None:
    headers = {"Authorization": f"Bearer {node.token}"} if node.token is not None else {}
    try:
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(
                node.url + path, headers=headers, heartbeat=_PING_SECONDS, ssl=_context(node)
            )
            async for message in socket:
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    show(_text(message.data))
    except aiohttp.WSServerHandshakeError as error:
        # The client has dropped the body, so there is nothing but the status to tell.
        raise node.refusal(f"GET {node.url}{path}", error.status, _reason(error), b"") from None
    except aiohttp.ClientConnectorError as error:
        raise node.unreachable(error.os_error) from None
    except (aiohttp.ClientError, OSError) as error:
        raise node.unreachable(OSError(str(error))) from None
    raise FastILPError(f"{node.url} closed the connection; did the node stop?")


def _context(node: NodeClient) -> ssl.SSLContext | bool:
    return node.ssl_context() if node.url.startswith("https:") else True


def _reason(error: aiohttp.WSServerHandshakeError) -> str:
    # 200: a server that answers the request, but knows of no WebSocket there.
    return "no WebSocket there" if error.status < 400 else ""


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode("utf-8", "replace")
