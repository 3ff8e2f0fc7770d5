"""Token tables and bearer headers."""

import hmac

import pytest

from fastilp.errors import UsageError
from fastilp.transports.auth import TokenTable, bearer_token


def test_finds_by_username_and_token() -> None:
    table: TokenTable[str] = TokenTable()
    table.put("alice", "one", "alice's port")
    table.put("bob", "two", "bob's port")
    assert table.find("alice", "one") == "alice's port"
    assert table.find("alice", "two") is None
    assert table.find("nobody", "one") is None
    assert table.find_by_token("two") == "bob's port"
    assert table.find_by_token("three") is None
    assert len(table) == 2


def test_a_new_token_voids_the_old_one() -> None:
    table: TokenTable[str] = TokenTable()
    table.put("alice", "old", "port")
    before = table.version
    table.put("alice", "new", "port")
    assert table.version != before
    assert table.find("alice", "old") is None
    assert table.find_by_token("old") is None
    assert table.find("alice", "new") == "port"
    before = table.version
    table.remove("alice")
    assert table.version != before
    assert table.find("alice", "new") is None
    assert table.find_by_token("new") is None
    table.remove("alice")
    assert len(table) == 0


def test_a_shared_token_names_nobody_alone() -> None:
    table: TokenTable[str] = TokenTable()
    table.put("alice", "same", "alice's port")
    table.put("bob", "same", "bob's port")
    assert table.find_by_token("same") is None
    assert table.find("bob", "same") == "bob's port"
    table.remove("alice")
    assert table.find_by_token("same") == "bob's port"


def test_an_empty_token_is_refused() -> None:
    with pytest.raises(UsageError):
        TokenTable[str]().put("alice", "", "port")


def test_tokens_are_any_text() -> None:
    table: TokenTable[str] = TokenTable()
    for token in ("pässwörd", "\udcff\udc00", "a" * 10_000, "token with spaces"):
        table.put("alice", token, token)
        assert table.find("alice", token) == token
        assert table.find("alice", token + "x") is None


@pytest.mark.parametrize(
    "header, token",
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc  ", "abc"),
        ("abc", "abc"),
        ("alice:abc", "alice:abc"),
        ("Bearer ", ""),
        ("Bearer", ""),
        ("", ""),
    ],
)
def test_bearer_headers(header: str, token: str) -> None:
    assert bearer_token(header) == token


def test_failed_logins_are_logged_and_cannot_flood(caplog: pytest.LogCaptureFixture) -> None:
    table: TokenTable[str] = TokenTable()
    table.put("alice", "secret", "port")
    for number in range(1_000):
        table.refused("btp", f"stranger{number}")
        table.refused("http", "alice")
    said = [(each.levelname, each.account, each.protocol) for each in caplog.records]  # type: ignore[attr-defined]
    assert said == [("WARNING", None, "btp"), ("WARNING", "alice", "http")]
    assert "secret" not in caplog.text and "stranger" not in caplog.text


def test_a_port_is_made_when_it_is_first_asked_for() -> None:
    key = bytes(32)
    digest = hmac.digest(key, b"secret", "sha256")
    table: TokenTable[str] = TokenTable(key)
    asked: list[str] = []

    def opener(username: str) -> str:
        asked.append(username)
        table.put_digest(username, digest, f"{username}'s port")
        return f"{username}'s port"

    table.opener = opener
    table.put_digest("alice", digest, None)
    version = table.version
    assert table.find("alice", "wrong") is None and table.find("bob", "secret") is None
    assert asked == []
    assert table.find_by_token("secret") == "alice's port"
    assert table.find("alice", "secret") == "alice's port"
    # Nobody has to forget anything for it.
    assert (asked, table.version) == (["alice"], version)
    table.remove("alice")
    assert table.find("alice", "secret") is None
