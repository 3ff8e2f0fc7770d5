"""Any connector that somebody else started, by URL and token. What its next hop is, the user says:
a receiver of ours that dials it, one that listens, or none where it answers by itself.

Imports the target's base and errors.
"""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from fastilp.errors import UsageError
from fastilp.loadtest.targets.base import Access, Target
from fastilp.loadtest.task import Destination, Load, Peer, Transport, WireTransport

_DEFAULT_BATCH_PORT = 7767
_KINDS: dict[str, WireTransport] = {
    "http": "http",
    "btp+ws": "btp",
    "ws": "btp",
    "ilp+tcp": "batch",
    "ilp+unix": "batch",
}
_DEFAULT_PORTS = {"http": 80, "btp": 80, "batch": _DEFAULT_BATCH_PORT}


@dataclass(frozen=True)
class Remote:
    """What the user said of it."""

    url: str
    destination: str
    token: str = ""
    username: str = ""
    receiver_url: str | None = None
    receiver_token: str = ""
    receiver_username: str = ""
    listen_port: int | None = None
    pids: tuple[int, ...] = ()


def peer_of(url: str, username: str, token: str) -> Peer:
    """Raises UsageError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("the URL's host or port is not valid") from None
    kind = _KINDS.get(parts.scheme)
    if kind is None:
        raise UsageError(
            f"{parts.scheme!r} is no scheme of loadtest; there are: {', '.join(_KINDS)} (TLS ends"
            " before it, in a proxy)"
        )
    _check_sendable(url, username, token)
    return Peer(
        kind=kind,
        host=parts.hostname or "127.0.0.1",
        port=port or _DEFAULT_PORTS[kind],
        unix=parts.path if parts.scheme == "ilp+unix" else "",
        path=parts.path or "/",
        username=username or unquote(parts.username or ""),
        token=token or unquote(parts.password or ""),
    )


def _check_sendable(url: str, username: str, token: str) -> None:
    """They go into lines of HTTP: a line break, a blank or a letter beyond ASCII fits into none."""
    for name, text in (("the URL", url), ("the username", username), ("the token", token)):
        if not all("!" <= character <= "~" for character in text):
            raise UsageError(f"{name} must be printable ASCII without blanks, not {text!r}")


class RemoteTarget(Target):
    name = "url"

    def __init__(self, remote: Remote) -> None:
        super().__init__()
        self._remote = remote
        self._sender = peer_of(remote.url, remote.username, remote.token)
        self.transports = frozenset({transport_of(remote)})

    def start(self, load: Load, core: int | None) -> Access:
        remote = self._remote
        receivers: tuple[Peer, ...] = ()
        if remote.receiver_url:
            receivers = (
                peer_of(remote.receiver_url, remote.receiver_username, remote.receiver_token),
            )
        return Access(
            (self._sender,) * load.senders,
            receivers,
            Destination(prefix=remote.destination),
            remote.listen_port,
        )

    @property
    def pids(self) -> list[int]:
        return list(self._remote.pids)


def transport_of(remote: Remote) -> Transport:
    kind = peer_of(remote.url, remote.username, remote.token).kind
    assert kind != "pair"
    return kind
