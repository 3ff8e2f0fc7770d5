"""A node's listening addresses: TLS that follows its files, and an admin API of its own."""

import http.client
import json
import shutil
import socket
import ssl
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from fastilp._core.packet import Fulfill, decode
from fastilp.errors import ConfigError
from fastilp.node.certificates import Certificate
from tests.certificates import certificate_file
from tests.cli.command import fastilp
from tests.helpers import until
from tests.node_process import ADMIN_TOKEN, NodeProcess
from tests.test_node import ACCOUNTS, prepare

WAIT_SECONDS = 60.0
ADMIN_PATHS = ("/accounts", "/accounts/alice", "/accounts/alice/balance", "/status", "/routes")


def fingerprint(address: str) -> bytes:
    """Of the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as plain:
        with context.wrap_socket(plain) as secure:
            found = secure.getpeercert(binary_form=True)
    assert found is not None
    return found


def connection(address: str, pem: Path) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=str(pem))
    return http.client.HTTPSConnection(address, context=context, timeout=60)


def pay(client: http.client.HTTPSConnection) -> None:
    headers = {
        "Authorization": "Bearer alice-token",
        "Content-Type": "application/octet-stream",
    }
    client.request("POST", "/accounts/alice/ilp", prepare("example.node.loop"), headers)
    answer = decode(client.getresponse().read())
    assert isinstance(answer, Fulfill)


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return certificate_file(tmp_path)


@pytest.fixture
def secure(tmp_path: Path, pem: Path) -> Iterator[NodeProcess]:
    listen = (
        f'http_tls_certificate = "{pem}"\nbatch = "127.0.0.1:0"\nbatch_tls_certificate = "{pem}"'
    )
    with NodeProcess(tmp_path / "node", ACCOUNTS, listen=listen) as node:
        yield node


def renew(pem: Path, directory: Path) -> None:
    """As tools do that renew certificates: written beside it, then moved into place."""
    directory.mkdir()
    certificate_file(directory).replace(pem)


def test_a_renewed_certificate_reaches_new_connections(
    secure: NodeProcess, pem: Path, tmp_path: Path
) -> None:
    old = shutil.copy(pem, tmp_path / "old.pem")
    before = fingerprint(secure.http)
    assert fingerprint(secure.batch) == before
    client = connection(secure.http, old)
    pay(client)
    opened = client.sock
    renew(pem, tmp_path / "renewed")
    for address in (secure.http, secure.batch):
        until(lambda address=address: fingerprint(address) != before, secure.log)
    # The connection that was open is the same one, and a new one trusts the new certificate alone.
    pay(client)
    assert client.sock is opened
    client.close()
    fresh = connection(secure.http, pem)
    pay(fresh)
    fresh.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        pay(connection(secure.http, old))
    replaced = [each for each in secure.events() if each["message"] == "certificate replaced"]
    assert {each["setting"] for each in replaced} == {
        "listen.http_tls_certificate",
        "listen.batch_tls_certificate",
    }


def test_commands_over_tls(secure: NodeProcess, pem: Path) -> None:
    where = ("--node", f"https://{secure.http}", "--auth", ADMIN_TOKEN)
    done = fastilp("accounts", "list", *where, "--ca-file", str(pem))
    assert (done.status, len(json.loads(done.stdout))) == (0, 2), done.stderr
    distrusted = fastilp("accounts", "list", *where)
    assert distrusted.status == 1 and "--ca-file" in distrusted.stderr
    plain = fastilp("accounts", "list", "--node", f"http://{secure.http}")
    assert plain.status == 1 and "https" in plain.stderr


def test_files_that_cannot_be_used_replace_nothing(pem: Path, tmp_path: Path) -> None:
    certificate = Certificate(str(pem), None, "listen.http_tls_certificate")
    used = certificate._current
    certificate.refresh()
    assert certificate._current is used
    whole = pem.read_bytes()
    pem.write_bytes(b"half of it")
    certificate.refresh()
    assert certificate._current is used
    pem.unlink()
    certificate.refresh()
    assert certificate._current is used
    pem.write_bytes(whole)
    certificate.refresh()
    assert certificate._current is not used


def test_a_key_behind_a_password_is_refused(pem: Path) -> None:
    """OpenSSL would ask on the terminal, and the node would stand still."""
    key = serialization.load_pem_private_key(pem.read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"sesame")
    form = serialization.PrivateFormat.PKCS8
    locked = pem.with_name("locked.pem")
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, secret))
    with pytest.raises(ConfigError) as refused:
        Certificate(str(pem), str(locked), "listen.http_tls_certificate")
    assert refused.value.key == "listen.http_tls_certificate and listen.http_tls_key"


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path / "node", ACCOUNTS, listen='admin = "127.0.0.1:0"') as node:
        yield node


def test_an_admin_api_of_its_own(apart: NodeProcess) -> None:
    assert isinstance(decode(apart.send("alice", prepare("example.node.loop"))), Fulfill)
    for path in ADMIN_PATHS:
        assert apart.status_of(path, ADMIN_TOKEN) == 404, path
        assert apart.status_of(path, "alice-token") == 404, path
    assert apart.request("/", "") == b"OK"
    admin = apart.ready()["admin"]
    assert admin != apart.http
    done = fastilp("status", "--node", f"http://{admin}", "--auth", ADMIN_TOKEN, "--json")
    balances = {each["username"]: each["balance"] for each in json.loads(done.stdout)["accounts"]}
    assert balances == {"alice": "-10", "loop": "10"}
    apart.http = admin
    assert apart.get("/")["status"] == "Ready"
    # Packets too: whoever comes there may as well pay.
    assert isinstance(decode(apart.send("alice", prepare("example.node.loop"))), Fulfill)
    with pytest.raises(urllib.error.HTTPError):
        apart.request("/accounts", "alice-token")


def test_payers_ask_at_the_public_address(apart: NodeProcess) -> None:
    """Where to pay is no secret; what an account is, and who pays it, is."""
    host = http.client.HTTPConnection(apart.http, timeout=60)

    def ask(path: str, method: str = "GET", **headers: str) -> int:
        host.request(method, path, headers=headers)
        answer = host.getresponse()
        answer.read()
        return answer.status

    accept = {"Accept": "application/spsp4+json"}
    for path in ("/accounts/alice/spsp", "/accounts/alice/.well-known/pay"):
        assert ask(path) == ask(path, "HEAD") == 200
    assert ask("/accounts/alice", **accept) == 200
    assert ask("/accounts/alice", "OPTIONS") == ask("/accounts/alice/spsp", "OPTIONS") == 204
    assert ask("/.well-known/pay") == 404
    token = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    assert ask("/accounts/alice", **token) == ask("/accounts/alice/payments", **token) == 404
    assert ask("/accounts", **token, **accept) == 404
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    assert ask("/payments/incoming", **token, **upgrade) == 404
    host.close()


def test_the_command_line_finds_the_admin_address(apart: NodeProcess) -> None:
    admin = apart.ready()["admin"]
    text = apart.config.read_text().replace('admin = "127.0.0.1:0"', f'admin = "{admin}"')
    apart.config.write_text(text)
    done = fastilp("accounts", "list", "-c", str(apart.config))
    assert done.status == 0 and "alice" in done.stdout


def first_words(address: str, *, held: list[socket.socket]) -> bytes:
    """What a new connection is told before it has said anything; nothing if it is taken."""
    host, _, port = address.rpartition(":")
    opened = socket.create_connection((host, int(port)), timeout=60)
    held.append(opened)
    opened.settimeout(0.5)
    try:
        return opened.recv(200)
    except TimeoutError:
        return b""


def test_how_many_connections_a_listener_takes(tmp_path: Path) -> None:
    listen = 'batch = "127.0.0.1:0"\nbatch_connections_max = 1\nhttp_connections_max = 3\n'
    held: list[socket.socket] = []
    with NodeProcess(tmp_path / "node", ACCOUNTS, listen=listen) as node:
        assert [first_words(node.batch, held=held) for _ in range(2)] == [
            b"",
            b"\x81\xa5error\xb4too many connections",
        ]
        for _ in range(3):
            first_words(node.http, held=held)
        client = http.client.HTTPConnection(node.http, timeout=60)
        client.request("GET", "/")
        assert client.getresponse().status == 503
        client.close()
        limits = Path(f"/proc/{node.running().pid}/limits").read_text()
        for each in held:
            each.close()
    [open_files] = [line.split() for line in limits.splitlines() if "open files" in line]
    assert open_files[3] == open_files[4]


def test_how_many_connections_go_to_a_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTILP_NODE__HTTP_CONNECTIONS_OUT_MAX", "2")
    with socket.create_server(("127.0.0.1", 0)) as peer:
        accounts = ACCOUNTS + (
            '[[accounts]]\nusername = "peer"\nasset_code = "ABC"\nasset_scale = 9\n'
            f'ilp_over_http_url = "http://127.0.0.1:{peer.getsockname()[1]}/ilp"\n'
            'ilp_over_http_outgoing_token = "peer-token"\n'
        )
        peer.settimeout(60)
        with NodeProcess(tmp_path / "node", accounts) as node:
            clients = [http.client.HTTPConnection(node.http, timeout=60) for _ in range(6)]
            headers = {
                "Authorization": "Bearer alice-token",
                "Content-Type": "application/octet-stream",
            }
            for client in clients:
                packet = prepare("example.node.peer")
                client.request("POST", "/accounts/alice/ilp", packet, headers)
            until(lambda: node.get("/status")["in_flight"] == len(clients))
            opened = [peer.accept()[0] for _ in range(2)]
            peer.settimeout(0.5)
            with pytest.raises(TimeoutError):
                peer.accept()
            for each in [*opened, *clients]:
                each.close()
