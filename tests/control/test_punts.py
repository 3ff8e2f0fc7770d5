"""What control answers to own address and `peer.`, through a real switch: IL-DCP and echo."""

from fastilp._core.packet import Fulfill, Prepare, decode
from fastilp.control import ildcp
from fastilp.control.punts import Punts
from tests.small_switch import ADDRESS, SmallSwitch, details

# ilp-protocol-ildcp, test/index.spec.ts: its request, and the answer to example.client, 13, XAM.
REQUEST = bytes.fromhex(
    "0c460000000000000000323031353036313630303031303030303066687aadf862bd776c8fc18b8e9f8e20089714"
    "856ee233b3902a591d0d5f29250b706565722e636f6e66696700"
)
RESPONSE = bytes.fromhex(
    "0d350000000000000000000000000000000000000000000000000000000000000000140e6578616d706c652e636c"
    "69656e740d0358414d"
)
REQUEST_SENT_MS = 1_434_412_800_000


def test_ildcp_bytes() -> None:
    data = ildcp.response_data("example.client", 13, "XAM")
    assert bytes(Fulfill(fulfillment=bytes(32), data=data)) == RESPONSE


def test_ildcp_of_the_javascript_client() -> None:
    node = SmallSwitch()
    carol = node.accounts.add(
        details("carol", ilp_address="example.client", asset_code="XAM", asset_scale=13)
    )
    node.links["carol"] = node.switch.open_link(carol)
    node.now_ms = REQUEST_SENT_MS
    request = Prepare.decode(REQUEST)
    assert bytes(node.exchange("carol", request)) == RESPONSE
    assert node.switch.in_flight() == 0


def test_ildcp_expired_request() -> None:
    assert SmallSwitch().refusal("alice", Prepare.decode(REQUEST))[0] == "R00"


def test_ildcp_who_gets_an_answer() -> None:
    node = SmallSwitch()
    for username in ("alice", "bob"):
        answer = node.exchange(username, node.prepare("peer.config"))
        assert isinstance(answer, Fulfill)
        size = answer.data[0]
        assert answer.data[1 : 1 + size].decode() == f"{ADDRESS}.{username}"
    for username in ("paul", "dad"):
        assert node.refusal(username, node.prepare("peer.config"))[0] == "F00"


def test_ildcp_peer_with_an_address_of_its_own() -> None:
    node = SmallSwitch()
    given = details("pia", ilp_address="example.pia", routing_relation="Peer")
    node.links["pia"] = node.switch.open_link(node.accounts.add(given))
    assert isinstance(node.exchange("pia", node.prepare("peer.config")), Fulfill)


def test_ildcp_long_address_and_code() -> None:
    address = "example." + "a" * 1000
    data = ildcp.response_data(address, 0, "x" * 128)
    assert data[:3] == b"\x82" + len(address).to_bytes(2)
    assert data[-130:-128] == b"\x81\x80"


def test_peer_refusals() -> None:
    node = SmallSwitch()
    wrong = node.prepare("peer.config", execution_condition=b"\1" * 32)
    assert node.refusal("alice", wrong)[0] == "F01"
    code, message = node.refusal("alice", node.prepare("peer.config", amount=1))
    assert (code, "amount 0" in message) == ("F03", True)
    for destination in ("peer.settle", "peer.config.more", "peer.x"):
        code, message = node.refusal("alice", node.prepare(destination))
        assert (code, destination in message) == ("F01", True)
    assert node.switch.balance(node.switch.account("alice")) == 0


def echo(kind: int, *source: bytes) -> bytes:
    return b"ECHOECHOECHOECHO" + bytes([kind]) + b"".join(source)


def test_echo_goes_back_to_the_requester() -> None:
    node = SmallSwitch()
    source = b"example.node.alice.here"
    condition = bytes.fromhex("1f" * 32)
    request = node.prepare(
        ADDRESS, 5, execution_condition=condition, data=echo(0, bytes([len(source)]), source)
    )
    back = node.exchange("alice", request)
    assert isinstance(back, Prepare)
    assert (back.destination, back.amount) == ("example.node.alice.here", 5)
    assert (back.data, back.execution_condition) == (echo(1), condition)
    assert back.expires_at_ms <= request.expires_at_ms


def test_echo_is_fulfilled_by_the_requester() -> None:
    node = SmallSwitch()
    source = b"example.node.alice"
    request = node.prepare(ADDRESS, 5, data=echo(0, bytes([len(source)]), source))
    link = node.links["alice"]
    link.receive([(1, bytes(request))])
    for _ in range(3):
        node.turn()
    [(request_id, _)] = link.take()
    link.receive([(request_id, bytes(Fulfill(fulfillment=bytes(32))))])
    node.turn()
    [(answered_id, packet)] = link.take()
    assert (answered_id, isinstance(decode(packet), Fulfill)) == (1, True)
    assert node.switch.balance(node.switch.account("alice")) == 0


def test_echo_long_source_address() -> None:
    node = SmallSwitch()
    source = b"example.node.bob." + b"s" * 200
    request = node.prepare(ADDRESS, data=echo(0, b"\x81", bytes([len(source)]), source))
    node.links["alice"].receive([(1, bytes(request))])
    for _ in range(3):
        node.turn()
    [(_, packet)] = node.links["bob"].take()
    assert Prepare.decode(packet).destination.encode() == source


ECHO_FAULTS = [
    (b"ECHOECHOECHOECHO", "Could not read echo packet type."),
    (echo(1), "The echo packet type: 1 is not acceptable."),
    (echo(9), "The echo packet type: 9 is not acceptable."),
    (echo(0), "Could not read source address."),
    (echo(0, b"\x05abcd"), "Could not read source address."),
    (echo(0, b"\x80"), "Could not read source address."),
    (echo(0, b"\x88" + b"\xff" * 8), "Could not read source address."),
    (echo(0, b"\x83\x01"), "Could not read source address."),
    (echo(0, b"\x00"), "Could not parse source address from Echo packet"),
    (echo(0, b"\x04\xff\xff\xff\xff"), "Could not parse source address from Echo packet"),
    (echo(0, b"\x0bpeer.config"), "Could not parse source address from Echo packet"),
    (echo(0, b"\x0cexample.node"), "Could not parse source address from Echo packet"),
]


def test_echo_faults() -> None:
    node = SmallSwitch()
    for data, message in ECHO_FAULTS:
        assert node.refusal("alice", node.prepare(ADDRESS, 3, data=data)) == ("F01", message)
    assert node.refusal("alice", node.prepare(ADDRESS, 3, data=b"hello"))[0] == "F02"
    assert node.switch.balance(node.switch.account("alice")) == 0


def test_account_that_is_gone() -> None:
    node = SmallSwitch()
    Punts(node.switch, lambda username: None, node.wake)
    assert node.refusal("alice", node.prepare("peer.config"))[0] == "F00"


def test_answers_wake_the_pump() -> None:
    node = SmallSwitch()
    node.exchange("alice", node.prepare("peer.config"))
    assert node.wakes == 1
