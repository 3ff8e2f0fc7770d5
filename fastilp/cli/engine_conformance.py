"""`fastilp engine conformance`: the suite of RFC 38, against an engine that runs already."""

import asyncio
from typing import Annotated

import typer

from fastilp.engines.conformance.suite import Options, Result, run
from fastilp.engines.quantity import Quantity
from fastilp.errors import UsageError


def command(
    engine: Annotated[str, typer.Argument(help="URL of the engine, http://127.0.0.1:3000.")],
    peer: Annotated[
        str | None,
        typer.Argument(help="URL of its peer's engine, on the same ledger: then money moves."),
    ] = None,
    connector: Annotated[
        str, typer.Option(help="host:port that both engines call as their connector.")
    ] = "127.0.0.1:7771",
    amount: Annotated[
        str, typer.Option(help="Digits and scale of a payment that the ledger can carry.")
    ] = "100e-2",
    wait: Annotated[
        float, typer.Option(help="Seconds that a payment may take until it is credited.")
    ] = 30.0,
    token: Annotated[
        str | None,
        typer.Option(envvar="FASTILP_ENGINE_INCOMING_TOKEN", help="Bearer token of the engines."),
    ] = None,
) -> None:
    """Try an engine, by whomever, against the rules of RFC 38. Exit status 1 if it breaks one.

    A stand-in for the connector listens where the engine expects its connector, which must not run
    meanwhile. With two engines that share a ledger, payments are made and their sums compared,
    while the connector fails on purpose. Use an account that may be emptied.

    Examples:

        fastilp engine conformance http://127.0.0.1:3000

        fastilp engine conformance http://127.0.0.1:3000 http://127.0.0.1:3001 --amount 100e-2
    """
    options = Options(engine, peer, connector, _quantity(amount), wait, token)
    report = asyncio.run(run(options, _tell))
    for remark in report.remarks:
        typer.echo(f"remark: {remark}")
    typer.echo(f"{len(report.results) - report.failed} passed, {report.failed} failed")
    if report.failed:
        raise typer.Exit(1)


def _tell(result: Result) -> None:
    typer.echo(f"{'FAILED' if result.fault else 'passed'}  {result.sentence}")
    if result.fault:
        typer.echo(f"        {result.fault}")


def _quantity(text: str) -> Quantity:
    amount, _, scale = text.partition("e-")
    if not (amount.isascii() and amount.isdigit() and scale.isascii() and scale.isdigit()):
        raise UsageError(f"--amount {text}: must be digits and a scale, such as 100e-2")
    return Quantity(int(amount), int(scale))
