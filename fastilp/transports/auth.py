"""Who is it? Tokens of peers, and what each of them opens. Imports the errors only. A login that
fails is logged, at most one per account and ten seconds, so that a stranger cannot fill the disk.

A token is looked up by its digest under a key that strangers do not know, and then compared in
constant time: neither the time of a lookup nor anything kept in memory tells how near a guess
was. Control writes a table, the listeners read it, so a change is in force for the next request.
"""

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from fastilp.errors import UsageError

_log = logging.getLogger("fastilp.auth")

_LOG_PAUSE_SECONDS = 10.0

Port = TypeVar("Port")
"""What a token opens: the account's HttpPort or BtpPort."""


class TokenTable(Generic[Port]):
    """The incoming tokens of one kind of link. One token per username; two usernames may share a
    token, and then the token alone names nobody."""

    def __init__(self, key: bytes | None = None) -> None:
        """`key` of the digests; without one it is drawn at random."""
        self.version = 0
        """Another number after each change: whoever remembers an answer must forget it then."""
        self.on_change: list[Callable[[], None]] = []
        """Called after each change, likewise."""
        self._key = key or secrets.token_bytes(32)
        self.opener: Callable[[str], Port] | None = None
        """Makes the port of a username that was put without one, when it is first asked for."""
        self._by_username: dict[str, tuple[bytes, Port | None]] = {}
        self._by_token: dict[bytes, set[str]] = {}
        self._quiet_until: dict[str | None, float] = {}
        self._unsaid: dict[str | None, int] = {}
        # Compared against when the username is unknown, so that this takes as long as a wrong
        # token.
        self._nobody = secrets.token_bytes(32)

    def put(self, username: str, token: str, port: Port) -> None:
        """Set the username's token and port; an earlier token of this username is void from now
        on."""
        if not token:
            raise UsageError("an incoming token must not be empty")
        self.put_digest(username, self._digest(token), port)

    def put_digest(self, username: str, digest: bytes, port: Port | None) -> None:
        """The same for a token of which only HMAC-SHA256 under the table's key is known. A port of
        None is made by `opener` when it is needed."""
        if self._by_username.get(username) == (digest, None):
            # Nobody can remember another answer.
            self._by_username[username] = (digest, port)
            return
        self.remove(username)
        self._by_username[username] = (digest, port)
        self._by_token.setdefault(digest, set()).add(username)
        self._changed()

    def remove(self, username: str) -> None:
        """Forget the username; it is no error if there is none."""
        entry = self._by_username.pop(username, None)
        if entry is None:
            return
        usernames = self._by_token[entry[0]]
        usernames.discard(username)
        if not usernames:
            del self._by_token[entry[0]]
        self._changed()

    def find(self, username: str, token: str) -> Port | None:
        """The port of this username, if this is its token."""
        digest = self._digest(token)
        expected, port = self._by_username.get(username, (self._nobody, None))
        return self._opened(username, port) if hmac.compare_digest(expected, digest) else None

    def find_by_token(self, token: str) -> Port | None:
        """The port that this token alone names; None if there is none, or more than one."""
        digest = self._digest(token)
        usernames = self._by_token.get(digest, ())
        if len(usernames) != 1:
            return None
        username = next(iter(usernames))
        expected, port = self._by_username[username]
        return self._opened(username, port) if hmac.compare_digest(expected, digest) else None

    def _opened(self, username: str, port: Port | None) -> Port | None:
        if port is None and username in self._by_username and self.opener is not None:
            port = self.opener(username)
        return port

    def refused(self, protocol: str, username: str | None, reason: str = "") -> None:
        """Tell the operator that somebody came with a wrong token, or none. `reason`: what was
        wrong, where it was not the token."""
        # Every name that is no account's counts as one, or a stranger would have many.
        name = username if username in self._by_username else None
        now = time.monotonic()
        if now < self._quiet_until.get(name, 0.0):
            self._unsaid[name] = self._unsaid.get(name, 0) + 1
            return
        self._quiet_until[name] = now + _LOG_PAUSE_SECONDS
        if not reason:
            reason = "the token is wrong" if name else "it names no account"
        _log.warning(
            f"login refused: {reason}",
            extra={"account": name, "protocol": protocol, "not_logged": self._unsaid.pop(name, 0)},
        )

    def __len__(self) -> int:
        return len(self._by_username)

    def _changed(self) -> None:
        self.version += 1
        for forget in self.on_change:
            forget()

    def _digest(self, token: str) -> bytes:
        # A header may hold any bytes: then they are nobody's token, not an error.
        raw = token.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, raw, hashlib.sha256)


def url_without_token(url: str) -> str:
    """The URL for messages and logs: what may be a username and a token is left out, even where the
    URL is no good and a token holds slashes."""
    head, at, tail = url.rpartition("@")
    if not at:
        return url
    scheme, colon, _ = head.partition("://")
    return f"{scheme}{colon}{tail}" if colon else tail


def bearer_token(authorization: str) -> str:
    """The token in an Authorization header: `Bearer x` in any case, or the bare token as
    interledger-relay sends it. Empty if there is none."""
    value = authorization.strip()
    scheme, _, rest = value.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    return value
