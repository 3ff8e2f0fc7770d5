"""The forwarding table: longest prefix on whole segments, against a dictionary."""

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastilp._core.forwarding import ForwardingTable
from fastilp.errors import UsageError
from tests.reference.hub import Hub

SEGMENTS_MAX = 32


def longest(routes: dict[bytes, int], address: bytes) -> int | None:
    """The rule, spelled out."""
    segments = address.split(b".")[:SEGMENTS_MAX]
    for count in range(len(segments), 0, -1):
        if (target := routes.get(b".".join(segments[:count]))) is not None:
            return target
    return routes.get(b"")


def table_of(routes: dict[bytes, int]) -> ForwardingTable:
    table = ForwardingTable()
    for prefix, target in routes.items():
        table.set(prefix, target)
    return table


@pytest.mark.parametrize(
    ("address", "target"),
    [
        (b"g.a", 1),
        (b"g.a.x", 1),
        (b"g.ab", 0),
        (b"g.ab.c", 0),
        (b"g.a.b", 2),
        (b"g.a.b.c.d", 2),
        (b"g.a.bc", 1),
        (b"g.A", 0),
        (b"g", 0),
        (b"ga", None),
        (b"private.a", None),
        (b"test.a.b", 3),
        (b"test", None),
    ],
)
def test_whole_segments(address: bytes, target: int | None) -> None:
    table = table_of({b"g": 0, b"g.a": 1, b"g.a.b": 2, b"test.a": 3})
    assert table.find(address) == target


def test_default_route() -> None:
    table = table_of({b"": 9, b"g.a": 1})
    assert (table.find(b"g.a.b"), table.find(b"g.b"), len(table)) == (1, 9, 2)
    table.remove(b"")
    assert (table.find(b"g.b"), len(table)) == (None, 1)
    with pytest.raises(KeyError):
        table.remove(b"")


def test_replace_and_remove() -> None:
    table = table_of({b"g.a": 1, b"g.a.b": 2})
    table.set(b"g.a", 5)
    assert sorted(table.items()) == [(b"g.a", 5), (b"g.a.b", 2)]
    table.remove(b"g.a.b")
    assert table.find(b"g.a.b") == 5
    for gone in (b"g.a.b", b"g", b"g.a.b.c"):
        with pytest.raises(KeyError):
            table.remove(gone)


def test_depth() -> None:
    """32 segments are the most of a prefix; longer destinations match on their first 32."""
    deep = b".".join([b"g", *[b"%d" % n for n in range(SEGMENTS_MAX - 1)]])
    table = table_of({deep: 1, b"g": 2})
    assert table.find(deep) == 1
    assert table.find(deep + b".x.y" * 100) == 1
    assert table.find(deep[: deep.rindex(b".")]) == 2
    with pytest.raises(ValueError, match="32"):
        table.set(deep + b".x", 3)
    table.remove(deep)
    assert table.find(deep + b".x") == 2


def test_longest_address_of_all() -> None:
    address = b"g." + b"a" * 1_021
    table = table_of({address: 1, address[:-1]: 2})
    assert (table.find(address), table.find(address[:-1])) == (1, 2)


NAMES = st.sampled_from(
    [b"a", b"b", b"ab", b"abcdefgh", b"abcdefghi", b"abcdefgh" * 2, b"-", b"~_"]
)
ADDRESSES = st.lists(NAMES, max_size=5).map(b".".join)


@given(st.lists(st.tuples(ADDRESSES, st.integers(0, 5), st.booleans())), st.lists(ADDRESSES))
def test_against_a_dictionary(
    changes: list[tuple[bytes, int, bool]], addresses: list[bytes]
) -> None:
    """Sets and removals in any order; then every prefix and every address is looked up."""
    table, routes = ForwardingTable(), dict[bytes, int]()
    for prefix, target, remove in changes:
        if remove and prefix in routes:
            table.remove(prefix)
            del routes[prefix]
        else:
            table.set(prefix, target)
            routes[prefix] = target
    assert dict(table.items()) == routes
    assert len(table) == len(routes)
    for address in [*routes, *addresses]:
        if address:
            assert table.find(address) == longest(routes, address)


def test_hundred_thousand_routes() -> None:
    """As many as a backbone has, with enough removals that the prefixes are rewritten."""
    dice = random.Random(2)
    words = [bytes(dice.choices(b"abcxyz~-_019", k=dice.randint(1, 12))) for _ in range(300)]

    def address() -> bytes:
        return b".".join([b"g", *dice.choices(words, k=dice.randint(1, 5))])

    routes: dict[bytes, int] = {}
    while len(routes) < 100_000:
        routes[address()] = len(routes)
    table = table_of(routes)
    probes = [address() for _ in range(20_000)]
    assert [table.find(probe) for probe in probes] == [longest(routes, probe) for probe in probes]
    for prefix in dice.sample(sorted(routes), 90_000):
        table.remove(prefix)
        del routes[prefix]
    assert dict(table.items()) == routes
    assert [table.find(probe) for probe in probes] == [longest(routes, probe) for probe in probes]


# --- while the table changes its size -----------------------------------------------------------

DIGITS = [b"a", b"ab", b"abcdefgh", b"abcdefghi", b"-", b"x" * 15, b"y" * 70]


def nested(number: int) -> bytes:
    """A prefix for each number, its digits the segments: many are prefixes of others."""
    segments = [b"g"]
    while number:
        number, digit = divmod(number, len(DIGITS))
        segments.append(DIGITS[digit])
    return b".".join(segments)


CHANGES = st.tuples(
    st.sampled_from(["set", "set", "remove"]), st.integers(0, 1_000), st.integers(1, 300)
)


@given(st.lists(CHANGES, max_size=12), st.lists(st.integers(0, 5_000), max_size=10))
def test_model(changes: list[tuple[str, int, int]], wanted: list[int]) -> None:
    """Hundreds of changes at a time, so that the table grows and shrinks, looked at in between."""
    table, routes = ForwardingTable(), dict[bytes, int]()
    probes = [nested(number) + b".z" for number in wanted]
    for kind, start, count in changes:
        for number in range(start, start + count):
            if kind == "set":
                table.set(nested(number), number)
                routes[nested(number)] = number
            elif nested(number) in routes:
                table.remove(nested(number))
                del routes[nested(number)]
            if number % 32 == 0:
                found = [table.find(probe) for probe in probes]
                assert found == [longest(routes, probe) for probe in probes]
        assert len(table) == len(routes)
    assert dict(table.items()) == routes
    assert [table.find(prefix) for prefix in routes] == list(routes.values())


def test_every_size() -> None:
    """After each change every route that should be there is, and no other."""
    prefixes = [b"g.node%d" % number for number in range(400)]
    table = ForwardingTable()
    for count, prefix in enumerate(prefixes, 1):
        table.set(prefix, count)
        assert table.find_all(prefixes[:count]) == count * (count + 1) // 2
        assert len(table.items()) == count
    for count, prefix in enumerate(prefixes, 1):
        table.remove(prefix)
        assert table.find(prefix) is None
        assert table.find_all(prefixes[count:]) == sum(range(count + 1, 401))


def test_a_column_finds_what_single_lookups_find() -> None:
    """Routes at every depth, addresses that have one at any of theirs, or none."""
    dice = random.Random(7)
    table = table_of({nested(dice.randrange(10**9)): number for number in range(5_000)} | {b"": 3})
    probes = [nested(dice.randrange(10**9)) + b".end" for _ in range(5_000)] + [b"test.x", b"g"]
    assert table.find_all(probes) == sum(table.find(probe) or 0 for probe in probes)


def test_no_change_does_more_than_its_share() -> None:
    """Growing and shrinking, and forgetting prefixes: the work of one call does not depend on how
    large the table is."""
    table, most, before = ForwardingTable(), 0, 0
    prefixes = [b"g.network.region.node%d" % number for number in range(100_000)]
    for change in (lambda prefix: table.set(prefix, 1), table.remove):
        for prefix in prefixes:
            change(prefix)
            most = max(most, table.steps - before)
            before = table.steps
    assert len(table) == 0
    assert 32 <= most <= 2_000
    assert table.steps > 300_000


def test_memory_of_many_changes() -> None:
    """Routes that are replaced again and again: what was deleted is forgotten."""
    table = ForwardingTable()
    for number in range(400_000):
        table.set(b"g.%0100d" % number, number)
        if number >= 10_000:
            table.remove(b"g.%0100d" % (number - 10_000))
    assert len(table) == 10_000
    assert sorted(target for _, target in table.items()) == list(range(390_000, 400_000))
    assert table.memory_size < 12 * 2**20


def test_memory_comes_back() -> None:
    table = ForwardingTable()
    for number in range(200_000):
        table.set(b"g.node%d" % number, number)
    large = table.memory_size
    for number in range(200_000):
        table.remove(b"g.node%d" % number)
    assert large > 8_000_000 > 5_000_000 > table.memory_size


def test_nobody_can_prepare_collisions() -> None:
    """Places follow from a key that each process draws."""
    program = (
        "from fastilp._core.forwarding import ForwardingTable\n"
        "table = ForwardingTable()\n"
        "for number in range(50): table.set(b'g.node%d' % number, number)\n"
        "print([target for _, target in table.items()])"
    )
    orders = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(orders) == 2


# --- through the switch -------------------------------------------------------------------------


def test_string_prefix_is_no_route(hub: Hub) -> None:
    assert hub.refused(to="g.hub.bobby") == "F02"
    assert hub.refused(to="g.hub.bo") == "F02"
    assert hub.refused(to="g.hub.Bob") == "F02"
    hub.forwarded(to="g.hub.bob")
    hub.forwarded(to="g.hub.bob.b.y")


def test_longest_route_wins_and_its_removal_shows_the_next(hub: Hub) -> None:
    hub.switch.set_route("g.hub.bob.deep", hub.alice)
    hub.switch.set_route("", hub.bob)
    assert hub.refused(to="g.hub.bob.deep.er") == "F02"
    hub.switch.del_route("g.hub.bob.deep")
    hub.forwarded(to="g.hub.bob.deep.er")
    hub.switch.del_route("g.hub.bob")
    hub.forwarded(to="g.hub.bob")
    hub.switch.del_route("")
    assert hub.refused(to="g.hub.bob") == "F02"
    with pytest.raises(KeyError):
        hub.switch.del_route("g.hub.bob")


def test_routes_are_told_back(hub: Hub) -> None:
    hub.switch.set_route("", hub.bob)
    hub.switch.set_route("private", hub.alice)
    assert hub.switch.routes() == {
        "g.hub.alice": hub.alice,
        "g.hub.bob": hub.bob,
        "": hub.bob,
        "private": hub.alice,
    }


@pytest.mark.parametrize("prefix", ["g.", ".g", "g..a", "what", "g.a b", "test4", "g.ä", "G"])
def test_bad_prefix(hub: Hub, prefix: str) -> None:
    before = hub.switch.routes()
    with pytest.raises(UsageError):
        hub.switch.set_route(prefix, hub.bob)
    assert hub.switch.routes() == before


def test_prefix_that_is_too_deep(hub: Hub) -> None:
    hub.switch.set_route("g" + ".a" * 31, hub.bob)
    hub.forwarded(to="g" + ".a" * 500)
    with pytest.raises(UsageError):
        hub.switch.set_route("g" + ".a" * 32, hub.bob)


@pytest.mark.parametrize(
    ("own", "to", "code"),
    [
        ("g.hub", "test.x", "F02"),
        ("g.hub", "test3.x", "F02"),
        ("test.hub", "g.x", "F02"),
        ("test2.hub", "g.x", "F02"),
        ("g.hub", "example.x", None),
        ("g.hub", "private.x", None),
        ("test.hub", "test1.x", None),
        ("test.hub", "private.x", None),
        ("example.hub", "g.x", None),
        ("example.hub", "test.x", None),
        ("local.hub", "self.x", None),
    ],
)
def test_live_and_test_networks_stay_apart(hub: Hub, own: str, to: str, code: str | None) -> None:
    hub.switch.address = own
    hub.switch.set_route("", hub.bob)
    if code is None:
        hub.forwarded(to=to)
    else:
        assert hub.refused(to=to) == code
