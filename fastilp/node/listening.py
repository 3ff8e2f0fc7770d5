"""Where a node listens: what is wrong with an address is said before anything is written, and in
the words of the settings. Imports config, transports, errors.
"""

import errno
import os
import socket
import ssl
import stat

from fastilp.config.models import ListenConfig
from fastilp.control.values import split_host_port
from fastilp.errors import ConfigError
from fastilp.node.certificates import Certificate
from fastilp.transports.auth import TokenTable
from fastilp.transports.batch import BatchLimits, BatchPort
from fastilp.transports.batch_server import BatchListener
from fastilp.transports.http_server import HttpListener
from fastilp.transports.pump import Pump

_UNIX = "unix:"


def check_addresses(listen: ListenConfig) -> None:
    """Raises ConfigError for an address that is taken or not ours."""
    _check_address(listen.http, "listen.http")
    if listen.admin is not None:
        _check_address(listen.admin, "listen.admin")
    if listen.open_btp is not None:
        _check_address(listen.open_btp, "listen.open_btp")
    if listen.settlement is not None:
        _check_address(listen.settlement, "listen.settlement")
    if listen.batch is not None and listen.batch.startswith(_UNIX):
        _check_path(listen.batch.removeprefix(_UNIX))
    elif listen.batch is not None:
        _check_address(listen.batch, "listen.batch")


def certificates(listen: ListenConfig) -> dict[str, Certificate]:
    """By the names of `[listen]`, of those that are to be TLS. Raises ConfigError."""
    found = {}
    for name in ("http", "admin", "batch"):
        setting = f"{name}_tls_certificate"
        path: str | None = getattr(listen, setting)
        if path is not None:
            found[name] = Certificate(path, getattr(listen, f"{name}_tls_key"), f"listen.{setting}")
    return found


def with_port(address: str, port: int) -> str:
    """The address as it was given, with the port that the system chose."""
    if address.startswith(_UNIX):
        return address
    host, _ = split_host_port(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def listen_http(listener: HttpListener, address: str, key: str) -> None:
    host, port = split_host_port(address)
    try:
        await listener.start(host, port)
    except OSError as error:
        raise _cannot_listen(address, key, error) from None


async def listen_batch(
    pump: Pump,
    tokens: TokenTable[BatchPort],
    listen: ListenConfig,
    ssl_context: ssl.SSLContext | None,
) -> BatchListener | None:
    """None where there is no `listen.batch`."""
    if listen.batch is None:
        return None
    limits = BatchLimits(connections_max=listen.batch_connections_max)
    listener = BatchListener(pump, tokens, limits=limits, ssl_context=ssl_context)
    try:
        if listen.batch.startswith(_UNIX):
            await listener.start_unix(listen.batch.removeprefix(_UNIX))
        else:
            await listener.start(*split_host_port(listen.batch))
    except OSError as error:
        raise _cannot_listen(listen.batch, "listen.batch", error) from None
    return listener


def _check_address(address: str, key: str) -> None:
    host, port = split_host_port(address)
    try:
        socket.create_server((host, port), family=_family(host)).close()
    except socket.gaierror:
        # Perhaps a name of the other family: listening itself knows better.
        return
    except OSError as error:
        raise _cannot_listen(address, key, error) from None


def _check_path(path: str) -> None:
    """A socket that nobody serves any more may be taken over, anything else may not."""
    number, reason = 0, ""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            number, reason = errno.EEXIST, "there is something else of that name"
    except FileNotFoundError:
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            number, reason = errno.ENOENT, f"there is no folder {folder}"
    except OSError as error:
        number, reason = error.errno or errno.EIO, error.strerror or str(error)
    if not reason and _is_served(path):
        number = errno.EADDRINUSE
    if number:
        raise _cannot_listen(_UNIX + path, "listen.batch", OSError(number, reason))


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            return probe.connect_ex(path) == 0
        except OSError as error:
            # The path is longer than a socket's address may be.
            raise _cannot_listen(_UNIX + path, "listen.batch", error) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _cannot_listen(address: str, key: str, error: OSError) -> ConfigError:
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        flag = " (--http)" if key == "listen.http" else ""
        other = "path" if address.startswith(_UNIX) else f"port{flag}"
        reason = f"another program listens there; stop it, or choose another {other}"
    return ConfigError(f"cannot listen on {address}: {reason}", key=key)
