"""Who may listen to incoming payments: WebSocket addresses of the API, and what they get. Imports
control and transports.
"""

from collections.abc import Mapping
from urllib.parse import unquote

from fastilp.control.api.context import Context
from fastilp.control.api.problems import Problem
from fastilp.control.notifications import Notifications
from fastilp.transports.feed import Feed
from fastilp.transports.http_messages import HttpResponse, username_in

_INCOMING = "/payments/incoming"


class Feeds:
    """`transports.http_server.Feeds` for the node's notifications."""

    def __init__(self, context: Context, notifications: Notifications) -> None:
        self._context = context
        self._notifications = notifications

    def __call__(self, path: str, headers: Mapping[str, str]) -> Feed | HttpResponse | None:
        path = path.rstrip("/")
        authorization = headers.get("authorization", "")
        username = username_in(path, _INCOMING)
        try:
            if path == _INCOMING:
                if not self._context.is_admin(authorization):
                    raise Problem(401, "invalid admin auth token provided")
                return self._notifications.listen(None)
            if username is None:
                return None
            entry = self._context.account_of(authorization, unquote(username))
            return self._notifications.listen(entry.account)
        except Problem as problem:
            return _response_of(problem)


def _response_of(problem: Problem) -> HttpResponse:
    found = problem.response()
    headers = {
        name.title(): value
        for name, value in found.headers.items()
        if name not in ("content-type", "content-length")
    }
    return HttpResponse(found.status_code, bytes(found.body), found.media_type or "", headers)
