"""`fastilp packet`: look into ILPv4 packets, and make a Prepare to try a node with.

Imports _core.packet and errors. Needs no node.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fastilp._core.packet import Fulfill, Prepare, Reject, decode
from fastilp.cli.codes import NAMES
from fastilp.errors import DecodeError, UsageError

command = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Look into ILPv4 packets, and make a Prepare to try a node with.\n\n"
        "Example:\n\n"
        "    fastilp packet encode --amount 10 --destination example.a | fastilp packet decode -"
    ),
)

_F08_DATA_SIZE = 16
# Of what was no packet.
_SHOWN_SIZE = 20


def describe(packet: Prepare | Fulfill | Reject) -> dict[str, object]:
    """The fields of a packet, in wire order, as JSON can hold them."""
    if isinstance(packet, Prepare):
        return {
            "type": "Prepare",
            "amount": str(packet.amount),
            "expires_at": packet.expires_at.isoformat(timespec="milliseconds"),
            "execution_condition": packet.execution_condition.hex(),
            "destination": packet.destination,
            "data": packet.data.hex(),
        }
    if isinstance(packet, Fulfill):
        return {
            "type": "Fulfill",
            "fulfillment": packet.fulfillment.hex(),
            "condition": sha256(packet.fulfillment).hexdigest(),
            "data": packet.data.hex(),
        }
    fields: dict[str, object] = {
        "type": "Reject",
        "code": packet.code,
        "name": NAMES.get(packet.code, "not a code of RFC 27"),
        "triggered_by": packet.triggered_by,
        "message": packet.message,
        "data": packet.data.hex(),
    }
    if packet.code == "F08" and len(packet.data) >= _F08_DATA_SIZE:
        fields["received_amount"] = str(int.from_bytes(packet.data[:8]))
        fields["maximum_amount"] = str(int.from_bytes(packet.data[8:16]))
    return fields


@command.command("decode")
def decode_command(
    packet: Annotated[str, typer.Argument(help="The packet in hex; - reads it from stdin.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show a Prepare, Fulfill or Reject, field by field.

    Examples:

        fastilp packet decode 0d410000…

        curl … | fastilp packet decode -          (hex or the bytes themselves)
    """
    content = _read(packet)
    fields = describe(decode(content))
    behind = len(content) - _size(content)
    if behind:
        typer.echo(f"fastilp: {behind} bytes behind the packet are ignored", err=True)
    if as_json:
        typer.echo(json.dumps(fields))
        return
    console = Console(soft_wrap=True, highlight=False)
    for name, value in fields.items():
        text = _printable(str(value))
        if name == "data":
            text = f"{len(text) // 2} bytes {text}"
        console.print(f"[bold]{name:<20}[/bold] {escape(text)}")


@command.command()
def encode(
    destination: Annotated[str, typer.Option(help="ILP address that it goes to.")],
    amount: Annotated[int, typer.Option(help="In units of the account it is sent from.")],
    fulfillment: Annotated[
        str, typer.Option(help="32 bytes in hex; the condition is its SHA-256.")
    ] = "00" * 32,
    expires_in: Annotated[float, typer.Option(help="Seconds from now, more than 0.")] = 30.0,
    data: Annotated[str, typer.Option(help="In hex.")] = "",
    output: Annotated[
        str | None, typer.Option(help="Write the bytes to this file; - is stdout.")
    ] = None,
) -> None:
    """Make a Prepare; prints hex, or writes the bytes to a file.

    Example:

        fastilp packet encode --amount 10 --destination example.node.loop --output prepare.bin
    """
    preimage = _hex(fulfillment, "--fulfillment")
    if len(preimage) != 32:
        raise UsageError("--fulfillment must be 32 bytes in hex, 64 digits")
    prepare = Prepare(
        amount=amount,
        expires_at=_expires_at(expires_in),
        execution_condition=sha256(preimage).digest(),
        destination=destination,
        data=_hex(data, "--data"),
    )
    if output is None:
        typer.echo(bytes(prepare).hex())
    elif output == "-":
        sys.stdout.buffer.write(bytes(prepare))
    else:
        _write(Path(output), bytes(prepare))


def _expires_at(seconds: float) -> datetime:
    if not seconds > 0:
        raise UsageError(
            f"--expires-in is seconds from now, more than 0, not {seconds:g}: a Prepare that has"
            " expired is refused (R00)"
        )
    try:
        return datetime.fromtimestamp(time.time() + seconds, UTC)
    except (OverflowError, ValueError, OSError):
        raise UsageError("--expires-in must be seconds, and end before the year 10000") from None


def _write(path: Path, packet: bytes) -> None:
    try:
        path.write_bytes(packet)
    except OSError as error:
        raise UsageError(f"--output {path} cannot be written: {error.strerror}") from None
    typer.echo(f"{path}: {len(packet)} bytes", err=True)


def _size(content: bytes) -> int:
    """Of the packet that the bytes begin with; they have been decoded. RFC 30, lengths."""
    length = content[1]
    if length < 0x80:
        return 2 + length
    end = 2 + (length & 0x7F)
    return end + int.from_bytes(content[2:end])


def _printable(text: str) -> str:
    # A message is the peer's text: it must not move the cursor of our terminal.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _read(argument: str) -> bytes:
    if argument != "-":
        # Not Path.is_file: hex may be longer than a file's name can be.
        if os.path.isfile(argument):
            raise UsageError(f"PACKET is hex; for a file: fastilp packet decode - < {argument}")
        if not argument.strip():
            raise UsageError("PACKET is empty; - reads it from stdin")
        return _hex(argument, "PACKET")
    content = sys.stdin.buffer.read()
    if not content.strip():
        raise UsageError("stdin is empty: pipe a packet in, as hex or as its bytes")
    # A packet starts with its type, 12 to 14; hex digits are above.
    if content[:1] in (b"\x0c", b"\x0d", b"\x0e"):
        return content
    try:
        return bytes.fromhex(_digits(content.decode("ascii")))
    except ValueError:
        raise DecodeError(
            "stdin is neither a packet's bytes (they begin with type 12, 13 or 14) nor its hex"
            f" digits, two for each byte; it begins with {content[:_SHOWN_SIZE]!r}"
        ) from None


def _digits(text: str) -> str:
    """Of a packet in hex: lines and blanks between them do not count."""
    return "".join(text.split()).removeprefix("0x")


def _hex(text: str, name: str) -> bytes:
    try:
        return bytes.fromhex(_digits(text))
    except ValueError:
        raise UsageError(f"{name} is not hex: an even number of digits 0-9 a-f") from None
