"""Exchange rates from providers and files, to the last digit, and what happens when they fail."""

import asyncio
import os
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from fastilp._core.ledger import Ledger
from fastilp._core.packet import Prepare
from fastilp._core.switch import Switch
from fastilp.config.models import ExchangeRateConfig
from fastilp.control.rate_feed import RateFeed
from fastilp.control.rate_sources import (
    FileSource,
    Quotes,
    RateError,
    RateSource,
    coincap,
    cryptocompare,
    rafiki,
    read_json,
)
from fastilp.control.tables import NodeTables
from fastilp.errors import ConfigError
from fastilp.node.rating import make_feed
from tests.control.rate_provider import COINCAP_ASSETS, Provider, provider
from tests.small_switch import ADDRESS, SmallSwitch, details


def switch_of(*assets: tuple[str, int]) -> Switch:
    switch = Switch(Ledger.memory(), "g.hub")
    for code, scale in assets:
        name = f"{code}{scale}".lower()
        switch.open_link(switch.add_account(name, asset_code=code, asset_scale=scale))
    return switch


async def quotes_of(source: RateSource) -> Quotes:
    try:
        return await source.quotes()
    finally:
        await source.close()


def asked(make: object, **changes: object) -> tuple[Quotes, Provider]:
    """What a source says of a provider with these attributes changed."""

    async def run() -> tuple[Quotes, Provider]:
        async with provider() as server:
            for name, value in changes.items():
                setattr(server, name, value)
            return await quotes_of(make(server.url)), server  # type: ignore[operator]

    return asyncio.run(run())


def test_coincap_is_exact() -> None:
    quotes, server = asked(lambda url: coincap(f"{url}/v2/"))
    assert quotes == {
        "USD": Fraction(1),
        "BTC": Fraction("64250.1234567890123456"),
        "XRP": Fraction(1, 2),
        "EUR": Fraction("1.0869565217391304"),
        "JPY": Fraction("0.0067"),
    }
    assert [path for path, _ in server.requests] == ["/v2/assets", "/v2/rates"]


def test_cryptocompare_is_exact_and_gets_its_key() -> None:
    path = "/data/top/mktcapfull?limit=100&tsym=USD"
    quotes, server = asked(lambda url: cryptocompare("sesame", url + path))
    assert quotes == {
        "USD": Fraction(1),
        "BTC": Fraction("64250.1234567890123456789"),
        "XRP": Fraction(1, 2),
    }
    assert server.requests == [(path, "Apikey sesame")]


def test_rafiki_is_exact() -> None:
    quotes, server = asked(lambda url: rafiki(f"{url}/rafiki"))
    assert quotes == {
        "USD": Fraction(1),
        "EUR": Fraction(5, 4),
        "XRP": Fraction(1, 2),
        "MXN": 1 / Fraction("17.1234567890123456789"),
    }
    assert server.requests == [("/rafiki?base=USD", "")]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "not JSON"),
        ("[]", "unexpected"),
        ('{"data":[]}', "0 assets"),
        ('{"data":[{"symbol":"BTC"}]}', "KeyError"),
        ('{"data":[{"symbol":7,"priceUsd":"1","rateUsd":"1"}]}', "unexpected"),
        ('{"data":[{"symbol":"BTC","priceUsd":"-1","rateUsd":"1"}]}', "positive"),
        ('{"data":[{"symbol":"BTC","priceUsd":"NaN","rateUsd":"1"}]}', "positive"),
        ('{"data":[{"symbol":"BTC","priceUsd":"1e99999","rateUsd":"1"}]}', "digits"),
        ('{"data":[{"symbol":"BTC","priceUsd":true,"rateUsd":"1"}]}', "not a number"),
        ('{"data":[{"symbol":"BTC","priceUsd":NaN,"rateUsd":"1"}]}', "not JSON"),
        ('{"data":1e9999999999999999999}', "not JSON|unexpected"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_answers_of_another_shape_are_errors(body: str | bytes, words: str) -> None:
    with pytest.raises(RateError, match=words):
        asked(lambda url: coincap(f"{url}/v2"), answers={"/v2/assets": body, "/v2/rates": body})


@pytest.mark.parametrize("status", [302, 401, 404, 429, 500])
def test_other_statuses_are_errors(status: int) -> None:
    with pytest.raises(RateError, match=f"HTTP {status}"):
        asked(lambda url: rafiki(f"{url}/rafiki"), status=status)


def test_both_lists_of_coincap_are_needed() -> None:
    with pytest.raises(RateError, match="v2/rates answered HTTP 404"):
        asked(lambda url: coincap(f"{url}/v2"), answers={"/v2/assets": COINCAP_ASSETS})


def test_base_that_was_not_asked_for_is_an_error() -> None:
    with pytest.raises(RateError, match="base"):
        asked(lambda url: rafiki(f"{url}/rafiki", "EUR"))


def test_provider_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RateError, match="127.0.0.1"):
        asyncio.run(quotes_of(rafiki("http://127.0.0.1:1/rates")))


def test_answer_without_end_is_an_error() -> None:
    with pytest.raises(RateError, match="more than"):
        asked(lambda url: rafiki(f"{url}/rafiki"), answers={"/rafiki": b" " * (9 << 20)})


def test_silence_is_an_error() -> None:
    async def run() -> None:
        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            closed.set()

        closed = asyncio.Event()
        async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(RateError, match="in time"):
                await quotes_of(rafiki(f"http://127.0.0.1:{port}/", timeout_seconds=0.05))
            await closed.wait()

    asyncio.run(run())


def test_json_numbers_are_what_was_written() -> None:
    assert read_json(b"[0.1, 1.10, 7]") == [Decimal("0.1"), Decimal("1.10"), 7]


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rates.toml", 'usd = 1\nEUR = 1.10\nXRP = "0.5000000000000000000001"'),
        ("rates.toml", '[rates]\nUSD = 1\nEUR = 1.10\nXRP = "0.5000000000000000000001"'),
        ("rates.json", '{"usd": 1, "EUR": 1.10, "XRP": "0.5000000000000000000001"}'),
        ("rates.json", '{"rates": {"USD": "1", "EUR": 1.1, "XRP": 0.5000000000000000000001}}'),
    ],
)
def test_files_are_exact(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert asyncio.run(quotes_of(FileSource(str(tmp_path / name)))) == {
        "USD": Fraction(1),
        "EUR": Fraction(11, 10),
        "XRP": Fraction("0.5000000000000000000001"),
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rates.toml", "usd ="),
        ("rates.toml", "usd = 0"),
        ("rates.toml", "usd = nan"),
        ("rates.toml", "usd = 1e9999999999999999999"),
        ("rates.json", "{}"),
        ("rates.json", '"USD"'),
        ("rates.json", None),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(RateError):
        asyncio.run(quotes_of(FileSource(str(tmp_path / name))))


def test_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    path.write_text('{"USD": 1, "EUR": 2}')
    switch = switch_of(("USD", 2), ("EUR", 2))

    async def run() -> None:
        feed = RateFeed(switch, FileSource(str(path)), dict, poll_seconds=0.01)
        feed.start()
        for text, expected in (("", 2), ('{"USD": 1, "EUR": 3.5}', Fraction(7, 2))):
            if text:
                draft = tmp_path / "draft"
                draft.write_text(text)
                os.replace(draft, path)
            while switch.rates().get("EUR") != expected:
                await asyncio.sleep(0.005)
        assert feed.polls == 2
        await feed.close()

    asyncio.run(asyncio.wait_for(run(), 30))


# --- the feed -------------------------------------------------------------------------------------


class Scripted:
    """A source that says one thing after another; None is a failure."""

    def __init__(self, *said: Quotes | None) -> None:
        self.said = list(said)

    async def quotes(self) -> Quotes:
        answer = self.said.pop(0)
        if answer is None:
            raise RateError("no answer")
        return answer

    async def close(self) -> None:
        self.said.clear()


def polled(feed: RateFeed, times: int = 1) -> None:
    for _ in range(times):
        asyncio.run(feed.poll())


def test_rates_set_by_hand_leave_those_of_the_source() -> None:
    node = SmallSwitch()
    tables = NodeTables(node.switch, node.accounts)
    source = Scripted({"EUR": Fraction(2)}, None)
    feed = RateFeed(node.switch, source, lambda: tables.rates, failures_max=0)
    tables.on_rates = feed.renew
    polled(feed)
    tables.set_rates({"ABC": Decimal("0.25"), "EUR": Decimal(7)})
    assert node.switch.rates() == {"ABC": Fraction(1, 4), "EUR": Fraction(2)}
    # The settings are read again.
    tables.load({}, {"XYZ": Decimal(3)}, Decimal(0))
    assert node.switch.rates() == {"XYZ": Fraction(3), "EUR": Fraction(2)}
    polled(feed)
    tables.set_rates({"ABC": Decimal("0.25"), "EUR": Decimal(7)})
    assert node.switch.rates() == {"ABC": Fraction(1, 4)}


def test_settings_that_are_wrong_change_no_table() -> None:
    node = SmallSwitch()
    erin, _ = node.accounts.create(details("erin", asset_code="EUR"))
    link = node.switch.open_link(erin)
    tables = NodeTables(node.switch, node.accounts)
    rates = {"ABC": Decimal(1), "EUR": Decimal(2)}
    tables.load({"example.x": "bob"}, rates, Decimal("0.01"), {"ABC/EUR": Decimal("0.02")})
    before = node.switch.rates(), node.switch.routes()
    far = {"example.y": "bob", f"example{'.z' * 40}": "bob"}
    wrong = Decimal(f"1.{'3' * 60}")
    for routes, ours, spread, key in (
        (far, {"ABC": Decimal(5)}, Decimal(0), "routes"),
        ({}, {"ABC": Decimal(5), "EUR": wrong}, Decimal(0), "rates.EUR"),
        ({}, {"ABC": Decimal(5)}, Decimal(2), "exchange_rate.spread"),
    ):
        with pytest.raises(ConfigError) as refused:
            tables.load(routes, ours, spread)
        assert refused.value.key == key
        assert (node.switch.rates(), node.switch.routes()) == before
        assert tables.rates == rates
    # Spreads are those of before, too: 1,000 ABC are 500 EUR less 2 %.
    node.links["alice"].receive([(1, bytes(node.prepare(f"{ADDRESS}.erin", 1_000)))])
    node.turn()
    [(_, packet)] = link.take()
    assert Prepare.decode(packet).amount == 490


def test_failures_are_tolerated_then_there_is_no_rate() -> None:
    quotes = {"USD": Fraction(1), "EUR": Fraction(2)}
    switch = switch_of(("USD", 2), ("EUR", 2))
    manual = {"ABC": Decimal("0.25"), "EUR": Decimal(7)}
    source = Scripted(quotes, None, None, None, None, quotes)
    feed = RateFeed(switch, source, lambda: manual, failures_max=2)
    polled(feed)
    every = {"ABC": Fraction(1, 4), "USD": Fraction(1), "EUR": Fraction(2)}
    assert switch.rates() == every
    polled(feed, 2)
    assert switch.rates() == every
    assert (feed.failures, feed.error) == (2, "no answer")
    polled(feed)
    # The rate of EUR that was set by hand is not a substitute for the one that went stale.
    assert switch.rates() == {"ABC": Fraction(1, 4)}
    polled(feed, 2)
    assert switch.rates() == every
    assert (feed.failures, feed.error) == (0, "")


def test_packets_without_a_rate_are_refused() -> None:
    node = SmallSwitch()
    foreign = node.switch.add_account("foreign", asset_code="XYZ", asset_scale=9)
    node.links["foreign"] = node.switch.open_link(foreign)
    node.switch.set_route("example.node.foreign", foreign)
    feed = RateFeed(node.switch, Scripted({"ABC": Fraction(1), "XYZ": Fraction(2)}, None), dict,
                    failures_max=0)  # fmt: skip
    polled(feed)
    prepare = node.prepare("example.node.foreign", 10)
    node.links["alice"].receive([(1, bytes(prepare))])
    node.turn()
    assert len(node.links["foreign"].take()) == 1
    polled(feed)
    assert node.refusal("alice", prepare)[0] == "T00"
    assert node.switch.statuses()["no_rate"] == 1


def test_rates_that_do_not_fit_leave_the_others() -> None:
    switch = switch_of(("USD", 2), ("EUR", 2), ("ODD", 2))
    odd = Fraction(10**39 + 1, 10**38 + 7)
    feed = RateFeed(switch, Scripted({"USD": Fraction(1), "EUR": Fraction(2), "ODD": odd}), dict)
    polled(feed)
    assert switch.rates() == {"USD": Fraction(1), "EUR": Fraction(2)}
    assert feed.refused == ("ODD",)


def test_spread_of_a_pair_and_of_an_account() -> None:
    switch = switch_of(("USD", 0), ("EUR", 0))
    usd, eur = switch.account("usd0"), switch.account("eur0")
    links = {account.name: switch.open_link(account) for account in (usd, eur)}
    for account in (usd, eur):
        switch.set_egress(account, links[account.name])
        switch.set_route(f"g.hub.{account.name}", account)
    switch.set_rates({"USD": 1, "EUR": 2})
    switch.set_spread("0.1")
    node = SmallSwitch()

    def converted(sender: str, receiver: str, amount: int) -> int:
        prepare = node.prepare(f"g.hub.{receiver}", amount)
        links[sender].receive([(1, bytes(prepare))])
        switch.process(node.now_ms)
        [(_, packet)] = links[receiver].take()
        return type(prepare).decode(packet).amount

    assert (converted("usd0", "eur0", 1_000), converted("eur0", "usd0", 1_000)) == (450, 1_800)
    switch.set_pair_spreads({("USD", "EUR"): Decimal("0.01")})
    assert (converted("usd0", "eur0", 1_000), converted("eur0", "usd0", 1_000)) == (495, 1_800)
    switch.set_account(usd, spread=Fraction(1, 3))
    assert converted("usd0", "eur0", 1_000) == 333
    switch.set_account(usd, spread=Fraction(0))
    assert converted("usd0", "eur0", 1_000) == 500
    switch.set_account(usd, spread=None)
    assert converted("usd0", "eur0", 1_000) == 495
    switch.set_pair_spreads({})
    assert converted("usd0", "eur0", 1_000) == 450


# --- the settings ---------------------------------------------------------------------------------


def test_feed_of_the_settings() -> None:
    async def run() -> None:
        async with provider() as server:
            switch = switch_of(("BTC", 8), ("EUR", 2))
            config = ExchangeRateConfig.model_validate(
                {"provider": "coincap", "url": f"{server.url}/v2", "poll_interval": 100}
            )
            feed = make_feed(config, switch, dict)
            assert feed is not None
            feed.start()
            while len(server.requests) < 4:
                await asyncio.sleep(0.01)
            await feed.close()
            assert switch.rates()["EUR"] == Fraction("1.0869565217391304")
            assert not feed.refused

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize(
    ("settings", "paths"),
    [
        ({"provider": {"cryptocompare": "sesame"}, "url": "/data/top/mktcapfull"}, 1),
        ({"provider": "Rafiki", "url": "/rafiki"}, 1),
        ({"provider": "CoinCap", "url": "/v2"}, 2),
    ],
)
def test_provider_of_the_settings(settings: dict[str, object], paths: int) -> None:
    async def run() -> None:
        async with provider() as server:
            url = {"url": f"{server.url}{settings['url']}"}
            feed = make_feed(
                ExchangeRateConfig.model_validate(settings | url), switch_of(("USD", 2)), dict
            )
            assert feed is not None
            await feed.poll()
            await feed.close()
            assert (len(server.requests), feed.error) == (paths, "")

    asyncio.run(run())


def test_no_provider_no_feed() -> None:
    assert make_feed(ExchangeRateConfig(), switch_of(), dict) is None
