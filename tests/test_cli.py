"""The command line, as a process of its own."""

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from fastilp._core.packet import Prepare, Reject

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "node.toml"

# protocols: ilp-packet's example Prepare, and a Reject with the two amounts of F08.
PREPARE = (
    "0c68000000000000006b323031373132323330313231343035343974e1136dc71c9e5f283bec83461cbf1261c4014f"
    "72d48f8dd65453a0b84e7de10d6578616d706c652e616c696365205db343fdc41898f6df4202329139dc242dd0f558"
    "a811b46b28918fdab37c6cb0"
)
REJECT = "0e27463038116578616d706c652e636f6e6e6563746f72001000000000000302010000000000060504"
FULFILL = "0d21" + "00" * 33


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "fastilp", *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )


def decoded(*arguments: str, stdin: bytes = b"") -> dict[str, str]:
    done = run("packet", "decode", "--json", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    fields: dict[str, str] = json.loads(done.stdout)
    return fields


def test_version_and_help() -> None:
    assert run("--version").stdout.startswith(b"fastilp ")
    done = run("--help")
    assert done.returncode == 0
    assert b"packet" in done.stdout
    assert b"Example" in run("packet", "decode", "--help").stdout


def test_decode_each_type() -> None:
    prepare = decoded(PREPARE)
    assert (prepare["type"], prepare["amount"]) == ("Prepare", "107")
    assert prepare["expires_at"] == "2017-12-23T01:21:40.549+00:00"
    assert prepare["destination"] == "example.alice"
    fulfill = decoded(FULFILL)
    assert fulfill["condition"] == sha256(bytes(32)).hexdigest()
    reject = decoded(REJECT)
    assert reject["name"] == "Amount Too Large"
    assert (reject["received_amount"], reject["maximum_amount"]) == ("197121", "394500")


def test_decode_for_people() -> None:
    shown = run("packet", "decode", PREPARE).stdout.decode()
    assert "example.alice" in shown
    # Hex stays in one piece whatever the width of the terminal.
    assert PREPARE[-64:] in shown


def test_decode_stdin_as_hex_or_bytes() -> None:
    assert decoded("-", stdin=PREPARE.encode() + b"\n") == decoded(PREPARE)
    assert decoded("-", stdin=bytes.fromhex(PREPARE)) == decoded(PREPARE)


def test_decode_takes_hex_as_it_is_copied() -> None:
    wrapped = "\n".join(PREPARE[at : at + 64] for at in range(0, len(PREPARE), 64)) + "\n"
    for copied in (PREPARE + "\n", f" {PREPARE}  ", f"0x{PREPARE}\r\n", PREPARE.upper(), wrapped):
        assert decoded(copied) == decoded(PREPARE)
        assert decoded("-", stdin=copied.encode()) == decoded(PREPARE)


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [
        (b"", b"stdin is empty"),
        (b" \n", b"stdin is empty"),
        (b"no packet, but a text\n", b"begins with b'no packet, but a tex'"),
        (b"\xff\xfe", b"neither a packet's bytes"),
        (b"0d2", b"two for each byte"),
    ],
)
def test_decode_says_what_stdin_holds_instead(stdin: bytes, expected: bytes) -> None:
    done = run("packet", "decode", "-", stdin=stdin)
    assert (done.returncode, done.stdout) == (1, b"")
    assert expected in done.stderr and done.stderr.count(b"\n") == 1


def test_decode_does_not_let_a_message_write_to_the_terminal() -> None:
    evil = bytes(Reject(code="F00", triggered_by="example.x", message="a\x1b[2Jb"))
    shown = run("packet", "decode", evil.hex()).stdout
    assert b"\x1b[2J" not in shown
    assert b"a\\x1b[2Jb" in shown


def test_decode_bad_input() -> None:
    for argument, expected in [("zz", b"not hex"), ("0c05", b""), ("", b"is empty"), ("0f00", b"")]:
        done = run("packet", "decode", argument)
        assert done.returncode == 1
        assert done.stderr.startswith(b"fastilp: ")
        assert expected in done.stderr
        assert b"Traceback" not in done.stderr


def test_encode(tmp_path: Path) -> None:
    output = tmp_path / "prepare.bin"
    done = run(
        *("packet", "encode", "--amount", "10", "--destination", "example.node.bob"),
        *("--fulfillment", "01" * 32, "--data", "c0ffee", "--output", str(output)),
    )
    assert done.returncode == 0, done.stderr
    prepare = Prepare.decode(output.read_bytes())
    assert (prepare.amount, prepare.destination) == (10, "example.node.bob")
    assert prepare.execution_condition == sha256(b"\x01" * 32).digest()
    assert prepare.data == b"\xc0\xff\xee"


def test_encode_bad_input() -> None:
    good = ["packet", "encode", "--amount", "10", "--destination", "example.node.bob"]
    expired = ["--expires-in", "-3"], ["--expires-in", "0"], ["--expires-in", "nan"]
    for more in (["--fulfillment", "00"], ["--data", "0"], ["--amount", str(2**64)], *expired):
        done = run(*good, *more)
        assert done.returncode == 1
        assert done.stderr.startswith(b"fastilp: ")


def test_run_can_only_look_at_the_settings(tmp_path: Path) -> None:
    done = run("run", "--check", "--config", str(EXAMPLE), "--data-dir", str(tmp_path / "data"))
    assert (done.returncode, b"3 accounts" in done.stdout) == (0, True)
    assert not (tmp_path / "data").exists()


FAULTS = [
    (("run", "--check", "--config", "/nothing.toml"), b"cannot be read"),
    (("run", "--check", "--http", "nowhere"), b"flags [listen.http]"),
    (("status", "--url", "nowhere"), b"--url must be"),
    # Port 1 of this host is nobody's.
    (("status", "--url", "http://127.0.0.1:1"), b"no node answers"),
    (("backup", "--data-dir", "/nothing", "/tmp/never"), b"is no directory"),
    (("run", "--ready-file", "/nothing/ready.json"), b"there is no folder /nothing"),
]


@pytest.mark.parametrize(("arguments", "expected"), FAULTS)
def test_faults_are_one_line(arguments: tuple[str, ...], expected: bytes) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert expected in done.stderr
    assert done.stderr.startswith(b"fastilp: ") and done.stderr.count(b"\n") == 1


def test_unknown_command() -> None:
    done = run("fly")
    assert done.returncode == 2
    assert b"fly" in done.stderr


def test_decode_says_what_is_ignored() -> None:
    done = run("packet", "decode", PREPARE + "aabbcc")
    assert done.returncode == 0
    assert b"3 bytes behind the packet are ignored" in done.stderr
    assert run("packet", "decode", PREPARE).stderr == b""
    # A length of 128 bytes and more takes bytes of its own.
    long = bytes(Reject(code="F00", triggered_by="example.x", message="m" * 300))
    assert run("packet", "decode", long.hex()).stderr == b""


def test_decode_of_a_file_is_told_how(tmp_path: Path) -> None:
    path = tmp_path / "prepare.bin"
    path.write_bytes(bytes.fromhex(PREPARE))
    done = run("packet", "decode", str(path))
    assert done.returncode == 1
    assert f"packet decode - < {path}" in done.stderr.decode()


def test_encode_writes_to_stdout() -> None:
    done = run(
        *("packet", "encode", "--amount", "7", "--destination", "example.x", "--output", "-")
    )
    assert Prepare.decode(done.stdout).amount == 7


@pytest.mark.parametrize(
    "more",
    [("--output", "/nothing/x"), ("--expires-in", "1e20"), ("--expires-in", "nan")],
)
def test_encode_faults_are_one_line(more: tuple[str, ...]) -> None:
    done = run("packet", "encode", "--amount", "10", "--destination", "example.x", *more)
    assert done.returncode == 1
    assert more[0].encode() in done.stderr and done.stderr.count(b"\n") == 1
