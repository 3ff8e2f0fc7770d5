"""`Switch.receive` and `Switch.take`: packets of many links in one call do what the calls of each
link would have done."""

import hashlib

import pytest

from fastilp import Fulfill, Ledger, Link, Prepare, Switch, UsageError

NOW_MS = 1_800_000_000_000
PREIMAGE = bytes(32)
FULFILL = bytes(Fulfill(fulfillment=PREIMAGE))
ACCOUNTS = 40


def prepare(to: int, amount: int) -> bytes:
    return bytes(
        Prepare(
            amount=amount,
            expires_at=NOW_MS + 30_000,
            execution_condition=hashlib.sha256(PREIMAGE).digest(),
            destination=f"g.hub.account{to}.x",
        )
    )


def make_switch() -> tuple[Switch, list[Link]]:
    switch = Switch(Ledger.memory(), address="g.hub")
    links = []
    for i in range(ACCOUNTS):
        account = switch.add_account(f"account{i}", asset_code="USD", asset_scale=9)
        switch.set_route(f"g.hub.account{i}", account)
        links.append(switch.open_link(account))
    return switch, links


def requests(links: list[Link]) -> list[tuple[Link, int, bytes]]:
    """Three Prepares from each account, one of them too large, one bad packet."""
    triples = []
    for i, link in enumerate(links):
        for step in (1, 5, 7):
            triples.append((link, 10 * i + step, prepare((i + step) % ACCOUNTS, i + step)))
        triples.append((link, 10 * i + 9, b"no packet"))
    return triples


def test_as_the_links_would_have_done() -> None:
    one, one_links = make_switch()
    other, other_links = make_switch()
    for link, request_id, packet in requests(one_links):
        link.receive([(request_id, packet)])
    other.receive(requests(other_links))
    for _ in range(2):
        one.process(NOW_MS)
        other.process(NOW_MS)
        expected = [
            (link.index, *pair)
            for link in [Named(link, one_links) for link in one.dirty_links()]
            for pair in link.link.take()
        ]
        taken = other.take()
        assert [(other_links.index(link), *rest) for link, *rest in taken] == expected
        assert other.take() == [] and other.dirty_links() == []
        answers = [(index, i, FULFILL) for index, i, packet in expected if packet[0] == 12]
        for index, request_id, packet in answers:
            one_links[index].receive([(request_id, packet)])
        other.receive((other_links[index], i, packet) for index, i, packet in answers)
    assert one.statuses() == other.statuses()
    assert other.statuses()["fulfilled"] == 3 * ACCOUNTS
    for name in (f"account{i}" for i in range(ACCOUNTS)):
        assert one.counters(one.account(name)) == other.counters(other.account(name))
    sums = other.ledger.sums()["USD", 9]
    assert sums["debits_posted"] == sums["credits_posted"] > 0
    assert sums["debits_pending"] == sums["credits_pending"] == 0


class Named:
    """A link with its place among its switch's."""

    def __init__(self, link: Link, links: list[Link]) -> None:
        self.link = link
        self.index = links.index(link)


def test_a_refused_call_hands_in_nothing() -> None:
    switch, links = make_switch()
    _, strangers = make_switch()
    good = (links[0], 1, prepare(1, 5))
    closed = links[3]
    closed.close()
    for bad in (
        (links[0], 1),
        [links[0], 1, b""],
        (strangers[0], 1, b""),
        (closed, 1, b""),
        (links[0], 1, bytes(65_536)),
    ):
        with pytest.raises(UsageError):
            switch.receive([good] * 20 + [bad])  # type: ignore[list-item]
    for wrong in ((None, 1, b""), (links[0], 1, None), (links[0], "1", b""), (7, 1, b"")):
        with pytest.raises(TypeError):
            switch.receive([good, wrong])  # type: ignore[list-item]
    with pytest.raises(OverflowError):
        switch.receive([good, (links[0], 2**32, b"")])
    switch.process(NOW_MS)
    assert switch.take() == []
    assert switch.in_flight() == 0


def test_take_leaves_links_of_other_kinds() -> None:
    switch, links = make_switch()
    account = switch.account("account1")
    btp = switch.open_link(account, kind="btp")
    connection = switch.accept("btp")
    connection.bind(btp, masked=False)
    switch.set_egress(account, btp)
    switch.receive([(links[0], 1, prepare(1, 5)), (links[0], 2, prepare(2, 5))])
    switch.process(NOW_MS)
    assert [link for link, _, _ in switch.take()] == [links[2]]
    assert switch.dirty_links() == [btp]
    assert b"g.hub.account1.x" in btp.take_bytes()
