"""What `fastilp testnet` shows: steps as they are done, balances, and what to try. Imports rich.

Steps go to standard error, so that `--json` alone is on standard output.
"""

import json
import time
from decimal import Decimal

import typer
from rich.console import Console

from fastilp.cli.tables import columns
from fastilp.cli.typed import program
from fastilp.testnet.ledgers import PAYEE, PAYER
from fastilp.testnet.network import Network, Report, admin_token, token


class Steps:
    """One line for each, when it is done: how long it took, and what it was."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._status = self._console.status("")
        self._current = ""
        self._began = time.monotonic()

    def begin(self, what: str) -> None:
        self.end()
        self._current, self._began = what, time.monotonic()
        self._status.update(f"{what} …")
        self._status.start()

    def end(self) -> None:
        if self._current:
            self._status.stop()
            seconds = time.monotonic() - self._began
            self._console.print(f"{seconds:6.1f} s  {self._current}", markup=False)
            self._current = ""

    def fail(self) -> None:
        """What was begun has not been done."""
        self._status.stop()
        self._current = ""

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)


def show(report: Report, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.as_json()))
        return
    for line in table(report):
        typer.echo(line)
    typer.echo("")


def table(report: Report) -> list[str]:
    def money(amount: int) -> str:
        return f"{Decimal(amount).scaleb(-report.asset_scale):f}"

    rows = [("", report.asset_code)]
    for side in report.sides:
        rows += [
            (f"{side.node}'s node: {username}", money(balance))
            for username, balance in sorted(side.balances.items())
        ]
        if side.settled:
            rows.append((f"{side.node}'s node has settled", money(side.settled)))
    for side in report.sides:
        rows.append((f"on the ledger: {side.node}", money(side.on_ledger)))
        rows.append(("  more than at the start", money(side.on_ledger - side.on_ledger_before)))
        if side.fees:
            rows.append(("  of it fees", money(-side.fees)))
    verdict = [f" {text}" for text in report.problems] or [" nodes and ledger agree"]
    return [*columns(rows, right=(1,)), *verdict]


def to_try(network: Network) -> str:
    """For another terminal."""
    here, there = network.sides[PAYER], network.sides[PAYEE]
    typed = program()
    admin = f"--node {here.url} --auth {admin_token(PAYER)}"
    alice, bob = (
        f"--node {side.url} --auth {token(side.node)} --amount {10 * network.ledger.amount}"
        for side in (here, there)
    )
    hints = "\n".join(f"  {hint}" for hint in network.ledger.hints())
    engines = "\n".join(
        f"  # {each.name} is the process {each.popen.pid}:\n  {each.shown(typed)}"
        for each in network.engines
    )
    return f"""\
Both nodes run until Ctrl-C; what moves is shown here. To try in another terminal:

  {typed} status {admin}
  {typed} settlements list {admin}
  {typed} settlements settle bob --amount 1 {admin}

Ten times the payment, which is five times the credit that the nodes give each other, and back:

  {typed} pay alice {alice} --to {network.receiver(PAYEE)}
  {typed} pay bob {bob} --to {network.receiver(PAYER)}

The ledger:

{hints}

Kill an engine (kill -9), pay, and start it again: nothing is lost, and nothing is paid twice.
(Ctrl-C here does not end the one that you have started there.)

{engines}
"""
