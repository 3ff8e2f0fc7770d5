"""Pay over the batch protocol (docs/batch-protocol.md) with nothing but a socket and MessagePack.

batch_client.py HOST PORT ACCOUNT TOKEN DESTINATION AMOUNT sends one Prepare and prints the answer.
It needs `pip install msgpack`; fastilp's own environment has it. The condition is that of 32 zero
bytes, which an account with `endpoint = "loopback"` fulfils.
"""

import hashlib
import socket
import sys
import time

import msgpack


def octets(data):
    """A variable-length octet string of OER: its length, and it."""
    size = len(data)
    return (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + data


def prepare(destination, amount):
    expires_at = time.strftime("%Y%m%d%H%M%S000", time.gmtime(time.time() + 20)).encode()
    content = amount.to_bytes(8, "big") + expires_at + hashlib.sha256(bytes(32)).digest()
    return b"\x0c" + octets(content + octets(destination.encode()) + octets(b""))


def values(connection):
    unpacker = msgpack.Unpacker()
    while data := connection.recv(65_536):
        unpacker.feed(data)
        yield from unpacker


if len(sys.argv) != 7:
    sys.exit("usage: batch_client.py HOST PORT ACCOUNT TOKEN DESTINATION AMOUNT")
host, port, account, token, destination, amount = sys.argv[1:]
try:
    connection = socket.create_connection((host, int(port)))
except OSError as error:
    sys.exit(f"{error}; does a node with `batch` under [listen] run at {host}:{port}?")
received = values(connection)
connection.sendall(msgpack.packb({"ilp": 1, "account": account, "token": token}))
print(welcome := next(received, None))
if not isinstance(welcome, dict) or "error" in welcome:
    sys.exit("no welcome: another protocol, account or token")
connection.sendall(msgpack.packb([7, prepare(destination, int(amount))]))
request_id, packet = next(value for value in received if value is not None)
print(request_id, {13: "fulfilled", 14: "rejected"}[packet[0]], packet.hex())
