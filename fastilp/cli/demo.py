"""`fastilp demo`, which is `make run`: a node, two accounts, and a burst of payments through it.

The node runs here, on the embedded store; payer and payee are a process of their own
(`demo_load`), so that the CPU time that is shown is the node's alone.
"""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fastilp import config
from fastilp.cli.typed import program
from fastilp.config.models import Settings
from fastilp.errors import ConfigError, FastILPError
from fastilp.logs import configure
from fastilp.node import Node, serve

ADDRESS = "example.demo"
_SCALE = 9
_ASSETS = {"alice": "USD", "bob": "EUR"}
_RATES = {"USD": "1", "EUR": "1.25"}
_SPREAD = "0.002"
_AMOUNT = 1_000_000
_PROGRESS_SECONDS = 0.1
_console = Console(highlight=False, soft_wrap=True)


def command(
    packets: Annotated[int, typer.Option(min=1, help="How many Prepares.")] = 20_000,
    window: Annotated[int, typer.Option(min=1, max=16_000, help="In flight at a time.")] = 1_000,
    seconds: Annotated[float, typer.Option(help="Give up if the burst takes longer.")] = 120.0,
    data_dir: Annotated[
        str, typer.Option(help="Folder of the ledger; a second run goes on with it.")
    ] = "data-demo",
    http: Annotated[
        str, typer.Option(help="Listen there; another port if it is taken.")
    ] = "127.0.0.1:7770",
    once: Annotated[bool, typer.Option("--once", help="End after the burst.")] = False,
) -> None:
    """Start a node with two accounts, alice and bob, pay through it, and show what moved.

    Examples:

        fastilp demo

        fastilp demo --once --packets 100000
    """
    settings = _settings(data_dir, http)
    configure("warning", "auto")
    burst = Burst(packets, window, seconds)

    async def work(node: Node, end: Callable[[], None]) -> None:
        await burst.run(node)
        if once:
            end()
        else:
            _show_first_payment(node)

    try:
        serve(settings, work=work)
    except ConfigError as error:
        if error.key != "listen.http" or http.endswith(":0"):
            raise
        _console.print(f"{http} is taken, so the node takes another port")
        serve(_settings(data_dir, http.rpartition(":")[0] + ":0"), work=work)
    _console.print(f"The node has stopped; its ledger is kept in {data_dir}.")
    if burst.failures:
        raise FastILPError(f"{burst.failures} of {packets} packets were not fulfilled")


def _settings(data_dir: str, http: str) -> Settings:
    accounts: list[dict[str, object]] = [
        {
            "username": username,
            "asset_code": asset_code,
            "asset_scale": _SCALE,
            "routing_relation": "Child",
            "ilp_over_http_incoming_token": f"{username}-password",
            "ilp_over_btp_incoming_token": f"{username}-password",
        }
        for username, asset_code in _ASSETS.items()
    ]
    accounts.append(
        {"username": "loop", "asset_code": "USD", "asset_scale": _SCALE, "endpoint": "loopback"}
    )
    overrides = {
        "node.ilp_address": ADDRESS,
        "node.admin_auth_token": "admin",
        "node.data_dir": data_dir,
        "listen.http": http,
        "exchange_rate.spread": _SPREAD,
        "accounts": accounts,
        "routes": {},
        "rates": _RATES,
    }
    return config.load(None, overrides)


class Burst:
    """Packets from alice to bob, and the account of it."""

    def __init__(self, packets: int, window: int, seconds: float) -> None:
        self._packets = packets
        self._window = window
        self._seconds = seconds
        self.failures = 0

    async def run(self, node: Node) -> None:
        before = _balances(node)
        cpu_before = time.process_time()
        result = await self._load(node)
        cpu_seconds = time.process_time() - cpu_before
        self.failures = self._packets - result["fulfilled"]
        self._show(result, cpu_seconds)
        _show_money(node, before, result)

    async def _load(self, node: Node) -> dict[str, Any]:
        task = {
            "count": self._packets,
            "window": self._window,
            "seconds": self._seconds,
            "amount": _AMOUNT,
            "destination": f"{ADDRESS}.bob.demo",
            "secret": secrets.token_hex(32),
        }
        for username, asset_code in _ASSETS.items():
            task[f"{username}_url"] = f"btp+ws://{node.http}/accounts/{username}/ilp/btp"
            task[f"{username}_token"] = f"{username}-password"
            task[f"{username}_asset"] = asset_code
        arguments = ("-m", "fastilp.cli.demo_load", json.dumps(task))
        # A session of its own: Ctrl-C is for the node, which then ends the other side.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *arguments), stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        ended = asyncio.ensure_future(process.communicate())
        try:
            await self._show_progress(node, ended)
            output, _ = await ended
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise FastILPError("the payer and the payee of the demo failed; see above")
        result: dict[str, Any] = json.loads(output)
        return result

    async def _show_progress(self, node: Node, ended: "asyncio.Future[Any]") -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        start = node.switch.statuses()["fulfilled"]
        with Progress(*columns, TimeElapsedColumn(), console=_console) as progress:
            bar = progress.add_task("alice ▶ bob", total=self._packets)
            while not ended.done():
                await asyncio.wait((ended,), timeout=_PROGRESS_SECONDS)
                fulfilled = node.switch.statuses()["fulfilled"] - start
                progress.update(bar, completed=fulfilled)

    def _show(self, result: dict[str, Any], cpu_seconds: float) -> None:
        fulfilled, seconds = result["fulfilled"], result["seconds"]
        _console.print(
            f"{fulfilled:,} of {self._packets:,} packets fulfilled in {seconds:.2f} s: "
            f"{fulfilled / seconds:,.0f} a second, "
            f"{cpu_seconds / self._packets * 1e6:.1f} µs of the node's CPU each"
        )
        for text, count in result["rejected"].items():
            _console.print(f"  rejected {count:,}: {text}", markup=False)


def _balances(node: Node) -> dict[str, int]:
    switch = node.switch
    return {account.name: switch.balance(account) for account in switch.accounts()}


def _show_money(node: Node, before: dict[str, int], result: dict[str, Any]) -> None:
    after = _balances(node)
    paid = before["alice"] - after["alice"]
    got = after["bob"] - before["bob"]
    # 1 USD is 1/1.25 EUR; what is missing from that is the spread and the rounding down.
    fair = Decimal(paid) * Decimal(_RATES["USD"]) / Decimal(_RATES["EUR"])
    _console.print(f"alice paid {_units(paid)} USD, bob got {_units(got)} EUR")
    _console.print(
        f"  at 1.25 USD per EUR that is {_units(fair)} EUR, less {_units(fair - got)} EUR"
        f" of spread ({_SPREAD}) and rounding"
    )
    if got != result["received"]:
        _console.print(f"  bob himself counted {_units(result['received'])} EUR")
    for username, balance in after.items():
        asset_code = node.switch.account(username).asset_code
        _console.print(f"balance of {username:<6} {_units(balance):>16} {asset_code}")
    for (asset_code, scale), sums in sorted(node.ledger.sums().items()):
        equal = (
            sums["debits_posted"] == sums["credits_posted"]
            and sums["debits_pending"] == sums["credits_pending"]
        )
        verdict = "debits equal credits" if equal else "DEBITS DO NOT EQUAL CREDITS"
        _console.print(f"ledger {asset_code}/{scale}: {verdict}, {sums['debits_posted']:,} posted")


def _units(amount: int | Decimal) -> str:
    return f"{Decimal(amount).scaleb(-_SCALE):,.{_SCALE}f}"


def _show_first_payment(node: Node) -> None:
    typed = program()
    _console.print(
        f"""
The node serves http://{node.http} until Ctrl-C. A first payment, from alice to the node's loopback:

  {typed} packet encode --amount 1000 --destination {ADDRESS}.loop --output prepare.bin
  curl -s --data-binary @prepare.bin -H 'Authorization: Bearer alice-password' \\
    -H 'Content-Type: application/octet-stream' http://{node.http}/accounts/alice/ilp \\
    | {typed} packet decode -
  {typed} status --url http://{node.http} --token admin
""",
        markup=False,
    )
