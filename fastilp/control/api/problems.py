"""Refusals: RFC 7807 problem+json with the types and titles of Interledger.rs. Imports nothing of
fastilp.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

_TYPES = "https://errors.interledger.org/http-api"
ACCOUNT_NOT_FOUND = f"{_TYPES}/accounts/account-not-found"
JSON_SYNTAX = f"{_TYPES}/json-syntax"
JSON_DATA = f"{_TYPES}/json-data"
JSON_EOF = f"{_TYPES}/json-eof"
CONTENT_TYPE = "application/problem+json"

ALREADY_EXISTS = "Provided resource already exists"
KEY_IS_TIED = "Provided idempotency key is tied to other input"


class Problem(Exception):
    """An answer that refuses."""

    def __init__(
        self,
        status: int,
        detail: str | None = None,
        *,
        kind: str = "about:blank",
        title: str | None = None,
        invalid: list[dict[str, str]] | None = None,
        headers: dict[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """`members`: more of the body, which are ours (RFC 7807 3.2)."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.title = title or HTTPStatus(status).phrase
        self.invalid = invalid
        self.headers = headers or {}
        self.members = members or {}

    def response(self) -> Response:
        body: dict[str, Any] = {"type": self.kind, "title": self.title, "status": self.status}
        if self.detail is not None:
            # What a client sent may be no text at all.
            body["detail"] = self.detail.encode("utf-8", "replace").decode()
        if self.invalid is None:
            body["datetime"] = datetime.now().astimezone().isoformat()
        else:
            # As Interledger.rs: an error about parameters has no time.
            body["invalid-params"] = self.invalid
        body |= self.members
        headers = dict(self.headers)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return Response(content.encode("utf-8", "replace"), self.status, headers, CONTENT_TYPE)


def account_not_found(username: str) -> Problem:
    detail = f"account `{username}` was not found"
    return Problem(404, detail, kind=ACCOUNT_NOT_FOUND, title="Account Not Found")
