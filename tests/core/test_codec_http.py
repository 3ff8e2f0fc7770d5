"""The strict HTTP codec: what it takes, what it leaves to the full parser, cut anywhere."""

import random

import pytest

from fastilp._core.codec_http import read_request, read_response, write_answer

HEAD = (
    b"POST /accounts/alice/ilp HTTP/1.1\r\n"
    b"Host: hub\r\n"
    b"Authorization: Bearer alice-token\r\n"
    b"Content-Type: application/octet-stream\r\n"
    b"Content-Length: 5\r\n"
    b"\r\n"
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 5\r\n\r\n"


def changed(old: bytes, new: bytes, whole: bytes = HEAD) -> bytes:
    assert old in whole
    return whole.replace(old, new)


def without(name: bytes, whole: bytes = HEAD) -> bytes:
    lines = [line for line in whole.split(b"\r\n") if not line.startswith(name)]
    assert len(lines) == whole.count(b"\r\n")
    return b"\r\n".join(lines)


def with_field(line: bytes, whole: bytes = HEAD) -> bytes:
    return whole[:-2] + line + b"\r\n\r\n"


def test_a_request() -> None:
    assert read_request(HEAD + b"hello, and more") == (
        "done",
        {
            "size": len(HEAD),
            "body_size": 5,
            "get": False,
            "username": b"alice",
            "token": b"alice-token",
        },
    )


TAKEN = {
    "bare token": (changed(b"Bearer ", b""), {"token": b"alice-token"}),
    "bearer in lower case": (changed(b"Bearer ", b"bearer  "), {"token": b"alice-token"}),
    "a token with a blank": (changed(b"alice-token", b"a b"), {"token": b"a b"}),
    "by token alone": (changed(b"/accounts/alice/ilp", b"/ilp"), {"username": b""}),
    "at the root": (changed(b"/accounts/alice/ilp", b"/"), {"username": b""}),
    "an odd username": (changed(b"/alice/", b"/a.l-i_c~e9/"), {"username": b"a.l-i_c~e9"}),
    "names in any case": (HEAD.replace(b"Content-L", b"cONTENT-l"), {"body_size": 5}),
    "no blank behind the colon": (HEAD.replace(b": ", b":"), {"body_size": 5}),
    "blanks around a value": (changed(b" 5", b" \t 5 \t"), {"body_size": 5}),
    "no type": (without(b"Content-Type"), {"body_size": 5}),
    "the other type": (changed(b"octet", b"ilp+octet"), {"body_size": 5}),
    "a type in any case": (changed(b"application/o", b"Application/O"), {"body_size": 5}),
    "keep-alive": (with_field(b"Connection: Keep-Alive"), {"body_size": 5}),
    "fields that say nothing": (
        with_field(b"Accept: */*\r\nUser-Agent: x/1 (y; z)\r\nX-Empty:"),
        {"body_size": 5},
    ),
    "no body": (changed(b": 5", b": 0"), {"body_size": 0}),
    "the largest body": (changed(b": 5", b": 65535"), {"body_size": 65_535}),
    "GET": (b"GET /accounts/x/ilp HTTP/1.1\r\nHost: hub\r\n\r\n", {"get": True}),
    "GET by token": (b"GET /ilp HTTP/1.1\r\nHost: hub\r\n\r\n", {"get": True}),
}


@pytest.mark.parametrize("message, fields", TAKEN.values(), ids=TAKEN)
def test_taken(message: bytes, fields: dict[str, object]) -> None:
    outcome, found = read_request(message)
    assert outcome == "done"
    assert found["size"] == len(message)
    assert fields.items() <= found.items()


OTHERS = {
    # What could be read in two ways.
    "two lengths": with_field(b"Content-Length: 5"),
    "two different lengths": with_field(b"Content-Length: 6"),
    "a list of lengths": changed(b": 5", b": 5, 5"),
    "a signed length": changed(b": 5", b": +5"),
    "a negative length": changed(b": 5", b": -5"),
    "a hexadecimal length": changed(b": 5", b": 0x5"),
    "a length with a leading zero": changed(b": 5", b": 05"),
    "a length in two parts": changed(b": 5", b": 5 5"),
    "an empty length": changed(b": 5", b": "),
    "a length of letters": changed(b": 5", b": five"),
    "a length with an underscore": changed(b": 5", b": 1_0"),
    "too long": changed(b": 5", b": 65536"),
    "beyond 32 bits": changed(b": 5", b": 4294967301"),
    "beyond 64 bits": changed(b": 5", b": 18446744073709551621"),
    "length and chunked": with_field(b"Transfer-Encoding: chunked"),
    "chunked": changed(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "hidden chunked": with_field(b"transfer-ENCODING: xchunked"),
    "space before the colon": changed(b"Length:", b"Length :"),
    "tab before the colon": changed(b"Length:", b"Length\t:"),
    "space before the name": changed(b"Content-Length", b" Content-Length"),
    "folded": with_field(b"X-A: 1\r\n Content-Length: 6"),
    "folded by a tab": with_field(b"X-A: 1\r\n\tb"),
    "line feeds alone": HEAD.replace(b"\r\n", b"\n"),
    "one line feed alone": changed(b"hub\r\n", b"hub\n"),
    "carriage return alone": changed(b"hub\r\n", b"hub\rX: y\r\n"),
    "two carriage returns": changed(b"hub\r\n", b"hub\r\r\n"),
    "zero byte in a value": changed(b"hub", b"h\0b"),
    "zero byte in a name": changed(b"Host", b"Ho\0st"),
    "a control byte": changed(b"hub", b"h\x7fb"),
    "a byte beyond ASCII": changed(b"hub", b"h\xfcb"),
    "no colon": with_field(b"X-A"),
    "no name": with_field(b": x"),
    "a bracket in a name": with_field(b"X(A): x"),
    "no host": without(b"Host"),
    "two hosts": with_field(b"Host: other"),
    "no length": without(b"Content-Length"),
    "an empty line first": b"\r\n" + HEAD,
    # What another place answers.
    "no token": without(b"Authorization"),
    "an empty token": changed(b"Bearer alice-token", b""),
    "only Bearer": changed(b"Bearer alice-token", b"Bearer  "),
    "two tokens": with_field(b"Authorization: Bearer other"),
    "a tab in the token": changed(b"alice-token", b"a\tb"),
    "two types": with_field(b"Content-Type: application/octet-stream"),
    "a type with parameters": changed(b"octet-stream", b"octet-stream; charset=binary"),
    "another type": changed(b"application/octet-stream", b"application/json"),
    "close": with_field(b"Connection: close"),
    "two connections": with_field(b"Connection: keep-alive\r\nConnection: keep-alive"),
    "a list of connections": with_field(b"Connection: keep-alive, x"),
    "upgrade": with_field(b"Upgrade: h2c"),
    "expect": with_field(b"Expect: 100-continue"),
    "compressed": with_field(b"Content-Encoding: gzip"),
    "HTTP/1.0": changed(b"/1.1", b"/1.0"),
    "HTTP/1.10": changed(b"/1.1", b"/1.10"),
    "http": changed(b"HTTP", b"http"),
    "no version": changed(b" HTTP/1.1", b""),
    "two blanks": changed(b"POST ", b"POST  "),
    "a blank in the path": changed(b"alice/", b"al ice/"),
    "a blank at the end": changed(b"/1.1\r\n", b"/1.1 \r\n"),
    "a query": changed(b"/ilp ", b"/ilp?x=y "),
    "%-escapes": changed(b"/alice", b"/%61lice"),
    "no username": changed(b"alice/ilp", b"/ilp"),
    "a deeper path": changed(b"alice/ilp", b"alice/x/ilp"),
    "BTP": changed(b"alice/ilp", b"alice/ilp/btp"),
    "another path": changed(b"/accounts/alice/ilp", b"/status"),
    "a longer path": changed(b"/accounts/alice/ilp", b"/ilp/"),
    "absolute": changed(b"/accounts", b"http://hub/accounts"),
    "PUT": changed(b"POST", b"PUT"),
    "post": changed(b"POST", b"post"),
    "GET the root": b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
    "GET with a body": b"GET /ilp HTTP/1.1\r\nHost: hub\r\nContent-Length: 1\r\n\r\nx",
    "HEAD": b"HEAD /ilp HTTP/1.1\r\nHost: hub\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a long head": with_field(b"X-A: " + b"a" * 16_384),
    "many fields": with_field(b"\r\n".join(b"X-%d: y" % i for i in range(2_000))),
    "an endless line": b"POST /" + b"a" * 20_000,
}


@pytest.mark.parametrize("message", OTHERS.values(), ids=OTHERS)
def test_left_to_the_full_parser(message: bytes) -> None:
    assert read_request(message) == ("other", {})
    assert read_request(message, pieces=tuple(range(len(message)))) == ("other", {})


@pytest.mark.parametrize("message", [HEAD, TAKEN["GET"][0], TAKEN["at the root"][0]])
def test_cut_anywhere(message: bytes) -> None:
    whole = read_request(message)
    for cut in range(len(message)):
        assert read_request(message[:cut]) == ("more", {})
        assert read_request(message, pieces=(cut,)) == whole
    assert read_request(message, pieces=tuple(range(len(message)))) == whole


def test_what_is_no_http_is_seen_before_the_line_ends() -> None:
    for start in (b"\x16", b"PUT", b"POSTS", b"POST h", b"GET h", b" ", b"\r"):
        assert read_request(start) == ("other", {})
    for start in (b"", b"P", b"POST", b"POST /", b"G", b"GET /acc"):
        assert read_request(start) == ("more", {})


def test_mutations_never_change_who_or_how_much() -> None:
    """Whatever is changed: what is still taken says what its bytes say."""
    dice = random.Random(7)
    taken = 0
    for _ in range(20_000):
        message = bytearray(HEAD)
        for _ in range(dice.randint(1, 3)):
            message[dice.randrange(len(message))] = dice.choice(b"\0\r\n\t :,05aZ/%\x80\xff-+.")
        outcome, found = read_request(bytes(message))
        pieces = tuple(sorted(dice.sample(range(len(message)), 3)))
        assert read_request(bytes(message), pieces=pieces) == (outcome, found)
        if outcome != "done":
            continue
        taken += 1
        head = bytes(message[: found["size"]])
        assert head.endswith(b"\r\n\r\n") and head.count(b"\n") == head.count(b"\r\n")
        lengths = [
            line.split(b":")[1].strip()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ]
        assert lengths == [b"%d" % found["body_size"]] or found["get"]
    assert taken > 100


# --- answers --------------------------------------------------------------------------------------


def test_an_answer() -> None:
    assert read_response(ANSWER + b"hello") == (
        "done",
        {
            "size": len(ANSWER),
            "body_size": 5,
            "status": 200,
            "closes": False,
            "keep_alive_seconds": None,
        },
    )


def test_answers_that_are_taken() -> None:
    def field(line: bytes) -> dict[str, object]:
        outcome, found = read_response(with_field(line, ANSWER))
        assert outcome == "done"
        return found

    assert field(b"Connection: close")["closes"] is True
    assert field(b"Connection: keep-alive")["closes"] is False
    assert field(b"Keep-Alive: timeout=5")["keep_alive_seconds"] == 5
    assert field(b"Keep-Alive: timeout=72, max=1000")["keep_alive_seconds"] == 72
    assert field(b"Date: Sun, 22 Nov 2026 18:00:00 GMT\r\nETag: W/x")["body_size"] == 5
    for line, status in ((b"404 Not Found", 404), (b"503 ", 503), (b"429", 429), (b"302 x", 302)):
        outcome, found = read_response(changed(b"200 OK", line, ANSWER))
        assert (outcome, found["status"]) == ("done", status)


OTHER_ANSWERS = {
    "chunked": changed(b"Content-Length: 5", b"Transfer-Encoding: chunked", ANSWER),
    "chunked with a length": with_field(b"Transfer-Encoding: chunked", ANSWER),
    "no length": without(b"Content-Length", ANSWER),
    "two lengths": with_field(b"Content-Length: 5", ANSWER),
    "a signed length": changed(b": 5", b": +5", ANSWER),
    "100": b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER,
    "204": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "600": changed(b"200", b"600", ANSWER),
    "a status of letters": changed(b"200", b"2x0", ANSWER),
    "a short status": changed(b"200 OK", b"20", ANSWER),
    "HTTP/1.0": changed(b"/1.1", b"/1.0", ANSWER),
    "upgrade": with_field(b"Upgrade: x", ANSWER),
    "a list of connections": with_field(b"Connection: close, x", ANSWER),
    "Keep-Alive without timeout": with_field(b"Keep-Alive: max=5", ANSWER),
    "folded": with_field(b"X: y\r\n z", ANSWER),
    "line feeds alone": ANSWER.replace(b"\r\n", b"\n"),
    "space before the colon": changed(b"Length:", b"Length :", ANSWER),
    "an endless line": b"HTTP/1.1 200 " + b"a" * 20_000,
    "too long": changed(b": 5", b": 65536", ANSWER),
}


@pytest.mark.parametrize("message", OTHER_ANSWERS.values(), ids=OTHER_ANSWERS)
def test_answers_left_to_the_full_parser(message: bytes) -> None:
    assert read_response(message) == ("other", {})
    assert read_response(message, pieces=tuple(range(len(message)))) == ("other", {})


def test_answers_cut_anywhere() -> None:
    for cut in range(len(ANSWER)):
        assert read_response(ANSWER[:cut]) == ("more", {})
        assert read_response(ANSWER, pieces=(cut,)) == read_response(ANSWER)


def test_what_is_written_is_what_is_read() -> None:
    for size in (0, 7, 10, 99, 100, 12_345, 65_535):
        for status in (200, 400):
            for closes in (False, True):
                outcome, found = read_response(write_answer(status, size, closes=closes))
                assert outcome == "done"
                assert (found["body_size"], found["status"]) == (size, status)
                assert found["closes"] is closes
