"""Stand-ins for providers of exchange rates: a real HTTP server on loopback whose answers have the
shape of CoinCap's, CryptoCompare's and a Rafiki operator's. Texts are written by hand after the
shapes that Interledger.rs and Rafiki read; none of these providers runs here."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

COINCAP_ASSETS = """{"data":[
 {"id":"bitcoin","rank":"1","symbol":"BTC","priceUsd":"64250.1234567890123456"},
 {"id":"xrp","rank":"5","symbol":"xrp","priceUsd":"0.5"},
 {"id":"false-xrp","rank":"900","symbol":"XRP","priceUsd":"7000000"},
 {"id":"dead","rank":"901","symbol":"DEAD","priceUsd":null}],"timestamp":1700000000000}"""
COINCAP_RATES = """{"data":[
 {"id":"euro","symbol":"EUR","type":"fiat","rateUsd":"1.0869565217391304"},
 {"id":"yen","symbol":"JPY","type":"fiat","rateUsd":"0.0067"}],"timestamp":1700000000000}"""
CRYPTOCOMPARE = """{"Message":"Success","Type":100,"Data":[
 {"CoinInfo":{"Id":"1182","Name":"BTC"},"RAW":{"USD":{"PRICE":64250.12345678901234567890}}},
 {"CoinInfo":{"Id":"5031","Name":"XRP"},"RAW":{"USD":{"PRICE":0.50}}},
 {"CoinInfo":{"Id":"1","Name":"NONE"}}]}"""
RAFIKI = '{"base":"USD","rates":{"EUR":0.8,"XRP":2,"MXN":17.1234567890123456789}}'


class Provider:
    """`answers`: path -> body; `status` for all of them. `requests` notes what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, str | bytes] = {
            "/v2/assets": COINCAP_ASSETS,
            "/v2/rates": COINCAP_RATES,
            "/data/top/mktcapfull": CRYPTOCOMPARE,
            "/rafiki": RAFIKI,
        }
        self.status = 200
        self.requests: list[tuple[str, str]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request.path_qs, request.headers.get("Authorization", "")))
        body = self.answers.get(request.path)
        if body is None:
            return web.Response(status=404, text=json.dumps({"error": "not here"}))
        if self.status in (301, 302):
            return web.Response(status=self.status, headers={"Location": f"{self.url}/rafiki"})
        content = body if isinstance(body, bytes) else body.encode()
        return web.Response(status=self.status, body=content, content_type="application/json")


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    one = Provider()
    application = web.Application()
    application.router.add_route("GET", "/{path:.*}", one.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [(host, port)] = runner.addresses
    one.url = f"http://{host}:{port}"
    try:
        yield one
    finally:
        await runner.cleanup()
