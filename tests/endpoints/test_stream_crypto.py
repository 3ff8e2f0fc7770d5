"""STREAM's keys, encryption, fulfillments and receipts: bytes that other implementations made."""

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from fastilp.endpoints.stream import crypto
from fastilp.endpoints.stream.crypto import Keys, Receipt, receipt, verify_receipt
from fastilp.errors import DecodeError, UsageError

# Interledger.rs, interledger-stream/src/crypto.rs.
SECRET = bytes.fromhex("7edb755d76f8f9d314d3416eed50fdb35192e543e7315c7ffee6906667a69624")
DATA = bytes.fromhex("77f8d5ea3fc8e08cd4de699ff6cb429b97ac44184ce85a0aed92bd49f8c4b16c73df")
PLAIN = bytes.fromhex("63000cff4d1f")
FULFILLMENT = bytes.fromhex("18063849e5ec58e3527098319849b6b7c607e97c77410d44366c78c13be26b27")
# interledgerjs, packages/ilp-protocol-stream/test/crypto.spec.ts.
FOO_ENCRYPTION_KEY = b64decode("zfOGMU/uY+EOUCE6tN3WhE77bF/N6pS0wSOmMgEAMEA=")
FOO_FULFILLMENT_KEY = b64decode("lh8nGJCJosvfUePaU0uxxXK3jNvV2Y+5ivt1GH1Muhs=")
DERIVED_KEY = b64decode("AOStyoBvoK9/OFhdmf2TzQRrJsCkxH/cj49Ya7RFOEc=")
FOO_BAR = b64decode("Y1UiXpDA1GwAv+h95CEv67O49MOAJQrnYEQMrOFsbv6rrlE=")
# interledger/rfcs, test vectors of RFC 39.
RECEIPT = b64decode(
    "AQAAAAAAAAAAAAAAAAAAAAABAAAAAAAAAfTBIvoCUt67Zy1ZGCP3EOmVFtZzhc85fah8yPnoyL9RMA=="
)


def test_decrypts_what_others_encrypted() -> None:
    assert Keys(SECRET).decrypt(DATA) == PLAIN
    assert crypto.decrypt(AESGCM(DERIVED_KEY), FOO_BAR) == b"foo bar"


def test_fulfills_what_others_encrypted() -> None:
    assert Keys(SECRET).fulfillment(DATA) == FULFILLMENT


def test_keys_are_derived_as_others_do() -> None:
    assert crypto.encryption_key(b"foo") == FOO_ENCRYPTION_KEY
    assert crypto.fulfillment_key(b"foo") == FOO_FULFILLMENT_KEY


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=2_000))
def test_what_is_encrypted_can_be_read_with_the_secret_only(secret: bytes, plain: bytes) -> None:
    keys = Keys(secret)
    data = keys.encrypt(plain)
    assert len(data) == len(plain) + crypto.OVERHEAD_SIZE
    assert keys.decrypt(data) == plain
    assert keys.encrypt(plain) != data
    with pytest.raises(DecodeError):
        Keys(secret[::-1] + b"x").decrypt(data)


@given(st.binary(max_size=100))
def test_garbage_does_not_decrypt(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Keys(SECRET).decrypt(data)


@pytest.mark.parametrize("index", [0, 11, 12, 27, 28, len(DATA) - 1])
def test_a_changed_bit_does_not_decrypt(index: int) -> None:
    changed = bytearray(DATA)
    changed[index] ^= 1
    with pytest.raises(DecodeError):
        Keys(SECRET).decrypt(bytes(changed))


def test_receipts() -> None:
    assert receipt(bytes(16), 1, 500, bytes(32)) == RECEIPT
    assert verify_receipt(RECEIPT, bytes(32)) == Receipt(bytes(16), 1, 500)
    largest = receipt(b"n" * 16, 255, 2**64 - 1, b"s")
    assert verify_receipt(largest, b"s") == Receipt(b"n" * 16, 255, 2**64 - 1)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        RECEIPT[:-1],
        RECEIPT + b"\x00",
        b"\x02" + RECEIPT[1:],
        RECEIPT[:25] + b"\xf5" + RECEIPT[26:],
        RECEIPT[:-1] + b"\x31",
    ],
)
def test_what_is_no_receipt(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        verify_receipt(octets, bytes(32))


def test_a_receipt_of_another_secret() -> None:
    with pytest.raises(DecodeError):
        verify_receipt(RECEIPT, b"\x01" * 32)


@pytest.mark.parametrize(
    ("nonce", "stream_id", "total"),
    [(bytes(15), 1, 1), (bytes(16), 256, 1), (bytes(16), 1, 2**64), (bytes(16), 1, -1)],
)
def test_receipts_that_cannot_be(nonce: bytes, stream_id: int, total: int) -> None:
    with pytest.raises(UsageError):
        receipt(nonce, stream_id, total, bytes(32))
