"""Calls to the engine that is tried, and what they came to. Imports quantity."""

import asyncio
import uuid
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import orjson

TIMEOUT_S = 20


class CheckError(AssertionError):
    """The engine does not do what it must; the text says what it did."""


class Reply(NamedTuple):
    status: int
    body: bytes


class Calls:
    """To one engine."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url.rstrip("/")
        self._session = session

    async def call(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Reply:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with self._session.request(
                method, self.url + path, data=body or None, headers=headers, timeout=timeout
            ) as response:
                return Reply(response.status, await response.read())
        except TimeoutError:
            raise CheckError(f"{method} {path}: no answer in {TIMEOUT_S} seconds") from None
        except aiohttp.ClientError as error:
            raise CheckError(f"{method} {path}: {error or type(error).__name__}") from None

    async def create(self, account_id: str) -> Reply:
        body = orjson.dumps({"id": account_id})
        return await self.call("POST", "/accounts", body, {"Content-Type": "application/json"})

    async def delete(self, account_id: str) -> Reply:
        return await self.call("DELETE", f"/accounts/{quote(account_id)}")

    async def settle(self, account_id: str, body: Any, key: str | None = "") -> Reply:
        """An empty key is a fresh one; None sends none. `body`: a Quantity's JSON, or bytes."""
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key or str(uuid.uuid4())
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        path = f"/accounts/{quote(account_id)}/settlements"
        return await self.call("POST", path, raw, headers)

    async def message(self, account_id: str, body: bytes) -> Reply:
        headers = {
            "Content-Type": "application/octet-stream",
            "Idempotency-Key": str(uuid.uuid4()),
        }
        path = f"/accounts/{quote(account_id)}/messages"
        return await self.call("POST", path, body, headers)


def expect(reply: Reply, *statuses: int, what: str) -> None:
    if reply.status not in statuses:
        wanted = " or ".join(str(status) for status in statuses)
        shown = reply.body[:200].decode(errors="replace")
        raise CheckError(f"{what}: answered {reply.status}, must be {wanted}: {shown}")


def expect_refused(reply: Reply, what: str) -> None:
    """Any 4xx: the caller is at fault, and repeating it is of no use."""
    if not 400 <= reply.status < 500:
        raise CheckError(f"{what}: answered {reply.status}, must be 4xx")


async def gathered(*calls: Any) -> list[Reply]:
    return list(await asyncio.gather(*calls))
