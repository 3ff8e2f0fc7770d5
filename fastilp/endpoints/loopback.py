"""Loopback: a receiver inside the node that fulfils or rejects on demand, for self-tests.

Owner of a local link of its account. Imports _core and errors. What it does depends on the packet:

- destination ends in `.reject.<code>`: Reject with that code (`example.node.loop.reject.T04`);
- destination ends in `.ignore`: no answer at all, so the Prepare runs into its expiry;
- the first 32 bytes of `data` are the preimage of the condition: Fulfill with them;
- the condition is SHA-256 of 32 zero bytes: Fulfill with those;
- else Reject F05.

Money that it receives is owed to the loopback's account like to any other.
"""

import re
from collections.abc import Callable
from hashlib import sha256

from fastilp._core.link import Link
from fastilp._core.packet import Fulfill, Prepare, Reject
from fastilp.errors import DecodeError

_REJECT = re.compile(r"\.reject\.([A-Z][0-9]{2})$")
_PREIMAGE_SIZE = 32
_ZEROS = bytes(_PREIMAGE_SIZE)


class Loopback:
    """`address` gives the one that is named in Rejects, which may change; `wake` asks for a turn of
    the pump."""

    def __init__(self, link: Link, address: Callable[[], str], wake: Callable[[], None]) -> None:
        self._address = address
        self._wake = wake
        link.owner = self

    def flush(self, link: Link) -> None:
        """Called by the pump: answer what waits."""
        answers = []
        for request_id, packet in link.take():
            answer = self.answer(packet)
            if answer is not None:
                answers.append((request_id, bytes(answer)))
        if answers:
            link.receive(answers)
            self._wake()

    def answer(self, packet: bytes) -> Fulfill | Reject | None:
        try:
            prepare = Prepare.decode(packet)
        except DecodeError as error:
            return self._reject("F01", str(error))
        demanded = _REJECT.search(prepare.destination)
        if demanded:
            return self._reject(demanded[1], "rejected on demand")
        if prepare.destination.endswith(".ignore"):
            return None
        # A preimage of another length is none: a fulfillment has 32 bytes (RFC 27).
        for preimage in (prepare.data[:_PREIMAGE_SIZE], _ZEROS):
            fits = len(preimage) == _PREIMAGE_SIZE
            if fits and sha256(preimage).digest() == prepare.execution_condition:
                return Fulfill(fulfillment=preimage)
        return self._reject("F05", "neither the first 32 bytes of data nor 32 zero bytes fulfil it")

    def _reject(self, code: str, message: str) -> Reject:
        return Reject(code=code, triggered_by=self._address(), message=message)
