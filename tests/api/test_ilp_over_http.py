"""ILP-over-HTTP on both sides as Interledger.rs has it; a test per row of its inventory, by id.
What is changed on purpose is in docs/interledger-rs.md; the codecs' own tests go further."""

import http.client
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from tests import ilp_bytes
from tests.api.client import Answer, Api
from tests.node_process import NodeProcess

PREIMAGE = b"h" * 32
NODE = "example.node"
OK = "200 OK"


def prepare(to: str = f"{NODE}.sink", amount: int = 1, data: bytes = PREIMAGE) -> bytes:
    expires_at_ms = ilp_bytes.now_ms() + 20_000
    return ilp_bytes.prepare(amount, to, ilp_bytes.condition_of(PREIMAGE), expires_at_ms, data)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("http") / "node", "") as process:
        client = Api(process)
        client.create("sink", endpoint="loopback")
        client.create("alice", ilp_over_http_incoming_token="alice-token")
        client.close()
        yield process
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        process.check_books()


def post(api: Api, packet: bytes, username: str = "alice", **headers: str) -> Answer:
    return api.call("POST", f"/accounts/{username}/ilp", packet, token="alice-token",
                    headers=headers)  # fmt: skip


class NextHop(threading.Thread):
    """A peer's server: answers every request with the same, and keeps what it was sent."""

    def __init__(self, status: str = OK, body: bytes = b"") -> None:
        super().__init__()
        self._answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/accounts/us/ilp"
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []

    def run(self) -> None:
        client, _ = self._listening.accept()
        with self._listening, client, client.makefile("rb") as received:
            while line := received.readline():
                head = line
                while line != b"\r\n":
                    line = received.readline()
                    head += line
                self.heads.append(head)
                size = int(head.lower().partition(b"content-length: ")[2].split()[0])
                self.bodies.append(received.read(size))
                client.sendall(self._answer)


def through(api: Api, node: NodeProcess, hop: NextHop, packets: int = 1) -> list[ilp_bytes.Packet]:
    """What becomes of packets to a next hop."""
    api.create("hop", ilp_over_http_url=hop.url, ilp_over_http_outgoing_token="out-token")
    hop.start()
    sent = [prepare(f"{NODE}.hop.bob") for _ in range(packets)]
    answers = [ilp_bytes.decode(node.send("alice", each)) for each in sent]
    assert api.call("DELETE", "/accounts/hop").status == 200
    hop.join(30)
    assert not hop.is_alive()
    return answers


def test_http_01_request(node: NodeProcess, api: Api) -> None:
    for content_type in ("application/octet-stream", "application/ilp+octet-stream"):
        answer = post(api, prepare(), **{"Content-Type": content_type})
        assert (answer.status, answer.body[0]) == (200, ilp_bytes.FULFILL)
    # None at all is as good; as much data as an ILP packet may have.
    assert post(api, prepare(data=PREIMAGE + bytes(32_736))).status == 200
    # Changed on purpose.
    assert post(api, prepare(), **{"Content-Type": "application/json"}).status == 415
    assert post(api, bytes(65_536)).status == 413
    connection = http.client.HTTPConnection(node.http, timeout=30)
    headers = {"Authorization": "Bearer alice-token", "Transfer-Encoding": "chunked"}
    body = b"5\r\nhello\r\n0\r\n\r\n"
    connection.request("POST", "/accounts/alice/ilp", body, headers)
    assert connection.getresponse().status == 411
    connection.close()


def test_http_02_answers(node: NodeProcess, api: Api) -> None:
    fulfilled = post(api, prepare())
    packet = (200, "application/octet-stream")
    assert (fulfilled.status, fulfilled.headers["content-type"]) == packet
    assert ilp_bytes.decode(fulfilled.body).fulfillment == PREIMAGE
    rejected = post(api, prepare("example.nowhere"))
    assert (rejected.status, rejected.headers["content-type"]) == packet
    assert ilp_bytes.decode(rejected.body).code == "F02"
    assert post(api, prepare(), Authorization="Bearer wrong").status == 401
    assert post(api, b"no Prepare").status == 400
    # Changed on purpose: a stranger does not learn which accounts there are.
    assert post(api, prepare(), "nobody").status == 401


def test_http_03_tokens(node: NodeProcess, api: Api) -> None:
    token = "alice-token"
    for wrong in (f"x{token[1:]}", f"{token[:-1]}x", token[:-1], f"{token}x", token.upper(), ""):
        assert post(api, prepare(), Authorization=f"Bearer {wrong}").status in (400, 401), wrong
    # The data directory has hashes that need the seed.
    for name in ("data.mdb", "journal"):
        assert token.encode() not in (node.data_dir / name).read_bytes()


def test_http_04_client(node: NodeProcess, api: Api) -> None:
    hop = NextHop(body=ilp_bytes.fulfill(PREIMAGE))
    answers = through(api, node, hop, packets=3)
    assert {answer.fulfillment for answer in answers} == {PREIMAGE}
    # One connection that was kept, and every header that the other side may ask for.
    assert len(hop.heads) == 3
    host = hop.url.split("/")[2]
    for head, body in zip(hop.heads, hop.bodies, strict=True):
        assert head.startswith(b"POST /accounts/us/ilp HTTP/1.1\r\n")
        lines = head.decode().lower().split("\r\n")
        for wanted in (
            "authorization: bearer out-token",
            "content-type: application/octet-stream",
            f"content-length: {len(body)}",
            f"host: {host}",
        ):
            assert wanted in lines
        assert ilp_bytes.decode(body).destination == f"{NODE}.hop.bob"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        ("500 Internal Server Error", b"", "T01"),
        ("503 Service Unavailable", ilp_bytes.fulfill(PREIMAGE), "T01"),
        (OK, b"", "T01"),
        (OK, b"no packet", "T01"),
        (OK, ilp_bytes.fulfill(PREIMAGE)[:-1], "T01"),
        (OK, prepare(), "T01"),
        # Changed on purpose: Interledger.rs says F02, as if there were no route.
        ("400 Bad Request", b"", "F00"),
        ("404 Not Found", b"", "F00"),
        ("408 Request Timeout", b"", "T01"),
        ("429 Too Many Requests", b"", "T05"),
    ],
)
def test_http_05_client_errors(
    node: NodeProcess, api: Api, status: str, body: bytes, code: str
) -> None:
    [answer] = through(api, node, NextHop(status, body))
    assert (answer.code, answer.triggered_by) == (code, NODE)
    assert answer.message


def test_http_05_transport_error(node: NodeProcess, api: Api) -> None:
    api.create("gone", ilp_over_http_url="http://127.0.0.1:1/")
    answer = ilp_bytes.decode(node.send("alice", prepare(f"{NODE}.gone")))
    assert (answer.code, answer.triggered_by) == ("T01", NODE)
    api.call("DELETE", "/accounts/gone")


@pytest.mark.parametrize("address", ["", "not an address", "g..a", "g", f"g.{'a' * 1_022}"])
def test_http_06_addresses(node: NodeProcess, api: Api, address: str) -> None:
    assert post(api, prepare(address)).status == 400


@pytest.mark.parametrize("at", [0, 8, 16])
def test_http_06_expiry_has_17_digits(node: NodeProcess, api: Api, at: int) -> None:
    packet = bytearray(prepare())
    start = packet.index(b"20", 10)
    packet[start + at] = ord("x")
    assert post(api, bytes(packet)).status == 400


@pytest.mark.parametrize("triggered_by", ["", "example.far", "no address"])
def test_http_06_reject_of_anybody(node: NodeProcess, api: Api, triggered_by: str) -> None:
    """Interledger.rs makes a T01 of a Reject that JavaScript connectors send."""
    hop = NextHop(body=ilp_bytes.reject("F99", triggered_by, "no"))
    [answer] = through(api, node, hop)
    assert (answer.code, answer.message) == ("F99", "no")
    # Our own are never empty.
    own = ilp_bytes.decode(post(api, prepare("example.nowhere")).body)
    assert own.triggered_by == NODE
