"""Payments from Python programs, by STREAM (RFC 29), over an account of any connector.

    from fastilp import stream

    async with stream.connect("btp+ws://alice:secret@127.0.0.1:7770/…", "$bob.example") as bob:
        outcome = await bob.send(1_000_000)

May import everything but node, config, loadtest and cli. docs/payments.md has the whole story.
"""

from fastilp.endpoints.stream.progress import Outcome, Progress, Reason, State
from fastilp.endpoints.stream.tokens import Credentials
from fastilp.endpoints.stream.uplink import AccountUplink, Uplink
from fastilp.errors import PaymentError
from fastilp.stream.connection import Connection, PaymentFailed, Sending, connect
from fastilp.stream.server import Incoming, Server, listen
from fastilp.stream.uplink import Details, NetworkUplink, open_uplink

__all__ = [
    "AccountUplink",
    "Connection",
    "Credentials",
    "Details",
    "Incoming",
    "NetworkUplink",
    "Outcome",
    "PaymentError",
    "PaymentFailed",
    "Progress",
    "Reason",
    "Sending",
    "Server",
    "State",
    "Uplink",
    "connect",
    "listen",
    "open_uplink",
]
