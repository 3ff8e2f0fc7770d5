"""Calls to a node's admin API over real HTTP, byte for byte as given; nothing of fastilp is
imported."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.node_process import ADMIN_TOKEN, NodeProcess

_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> dict[str, Any]:
        """A refusal, which must have the shape of one."""
        assert self.headers["content-type"] == "application/problem+json", self
        found = self.json()
        assert found["status"] == self.status
        assert found["type"] and found["title"]
        assert isinstance(found, dict)
        return found


class Api:
    """One keep-alive connection; `token` is the admin's unless a call names another."""

    def __init__(self, node: NodeProcess) -> None:
        self._address = node.http
        self._connection = http.client.HTTPConnection(node.http, timeout=_TIMEOUT_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = ADMIN_TOKEN,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`body`: bytes as they are, anything else as JSON. `token` None: no Authorization."""
        sent = dict(headers or {})
        if token is not None:
            sent.setdefault("Authorization", f"Bearer {token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            self._connection.request(method, path, body, sent)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, content)

    def get(self, path: str, token: str | None = ADMIN_TOKEN) -> Answer:
        return self.call("GET", path, token=token)

    def create(self, username: str, **fields: Any) -> dict[str, Any]:
        """An account that must come to be; ABC with scale 9 unless it says otherwise."""
        body = {"username": username, "asset_code": "ABC", "asset_scale": 9, **fields}
        answer = self.call("POST", "/accounts", body)
        assert answer.status == 200, answer
        found = answer.json()
        assert isinstance(found, dict)
        return found
