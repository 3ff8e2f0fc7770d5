"""`fastilp loadtest`: how fast a connector is, ours or another, and what it costs.

Imports the load generator. Choices of a load are flags here and keys of a scenario file there, by
the same names.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status

from fastilp.cli.loadtest_checks import (
    check_apart,
    check_fulfilled,
    check_outputs,
    check_targets,
    check_together,
    checked_load,
)
from fastilp.errors import UsageError
from fastilp.loadtest.report import figures, render
from fastilp.loadtest.run import Timing
from fastilp.loadtest.suite import Point, Suite, load_scenarios
from fastilp.loadtest.summary import Document, save
from fastilp.loadtest.table import (
    INTERRUPTED,
    console_table,
    headline,
    microseconds,
    replace_figures,
)
from fastilp.loadtest.targets import TARGETS, Target, target
from fastilp.loadtest.targets.remote import Remote, RemoteTarget, transport_of
from fastilp.loadtest.task import Load

command = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Load a connector and measure it: throughput, latency, CPU time per exchange.\n\n"
        "Examples:\n\n"
        "    fastilp loadtest run --transport btp --html report.html\n\n"
        "    fastilp loadtest compare --transport http --targets fastilp,nginx"
    ),
)
_console = Console(highlight=False, soft_wrap=True)
# Of a table that goes to a file or a pipe, columns.
_FILE_WIDTH = 160

_Transport = Annotated[
    str | None,
    typer.Option(help="batch, btp, http, or embedded (without sockets)."),
]
_Window = Annotated[
    int | None,
    typer.Option(help="Closed loop: so many Prepares in flight.", show_default="1024"),
]
_Rate = Annotated[
    float | None,
    typer.Option(help="Open loop: so many a second, latency from when each was due."),
]
_Duration = Annotated[float, typer.Option(min=0.1, help="Seconds that are measured.")]
_WarmUp = Annotated[float, typer.Option(min=0.0, help="Seconds before that, not measured.")]
_Accounts = Annotated[
    int | None, typer.Option(help="Half send, half receive, at random.", show_default="2")
]
_Routes = Annotated[int | None, typer.Option(help="Static routes, hit at random.")]
_Connections = Annotated[int | None, typer.Option(help="HTTP: sockets of the sender.")]
_Depth = Annotated[int | None, typer.Option(help="HTTP: requests pipelined on a socket.")]
_Durability = Annotated[
    str | None, typer.Option(help="fastilp: commit or process.", show_default="commit")
]
_Payload = Annotated[
    int | None, typer.Option(help="Bytes of data in a Prepare.", show_default="100")
]
_Amount = Annotated[
    int | None,
    typer.Option(help="Of each Prepare, in the sender's smallest unit.", show_default="1000"),
]
_Fx = Annotated[
    str | None, typer.Option(help="The receivers' asset differs; its rate, such as 1.25.")
]
_Reject = Annotated[float | None, typer.Option(help="Share that receivers reject, 0 to 1.")]
_Payment = Annotated[
    int | None,
    typer.Option(help="Payments of so many units between two nodes, instead of Prepares."),
]
_PacketMax = Annotated[int | None, typer.Option(help="Units that a packet of a payment may have.")]
_Runs = Annotated[int, typer.Option(min=1, help="Interleaved runs; figures are medians.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write everything measured there.")]
_Html = Annotated[Path | None, typer.Option("--html", help="Write a report with plots there.")]
_TARGET = "fastilp"
_Target = Annotated[
    str | None,
    typer.Option("--target", help=f"What to start: {', '.join(TARGETS)}.", show_default=_TARGET),
]


def _there(**more: Any) -> Any:
    return typer.Option(**more, rich_help_panel="A connector that runs already")


_Url = Annotated[
    str | None, _there(help="Where it is: http://, btp+ws://, ilp+tcp://, ilp+unix://.")
]
_Token = Annotated[str, _there(help="Our token there.")]
_Username = Annotated[str, _there(help="Our account there, for BTP and batch.")]
_Destination = Annotated[str, _there(help="ILP address that the Prepares go to.")]
_ReceiverUrl = Annotated[
    str | None, _there(help="Dial there as the next hop: btp+ws://, ilp+tcp://.")
]
_ReceiverToken = Annotated[str, _there(help="The token for that.")]
_ReceiverUsername = Annotated[str, _there(help="The account for that.")]
_Listen = Annotated[
    int | None,
    _there(min=1, max=65_535, help="Be the next hop, on this port: the connector dials us."),
]
_Pid = Annotated[
    list[int] | None, _there(help="Process of the connector, for its CPU time; repeatable.")
]


@command.command()
def run(
    target_name: _Target = None,
    transport: _Transport = None,
    window: _Window = None,
    rate: _Rate = None,
    duration: _Duration = 10.0,
    warm_up: _WarmUp = 2.0,
    accounts: _Accounts = None,
    routes: _Routes = None,
    connections: _Connections = None,
    depth: _Depth = None,
    durability: _Durability = None,
    payload: _Payload = None,
    amount: _Amount = None,
    fx: _Fx = None,
    reject: _Reject = None,
    payment: _Payment = None,
    packet_max: _PacketMax = None,
    runs: _Runs = 1,
    json_file: _Json = None,
    html: _Html = None,
    url: _Url = None,
    token: _Token = "",
    username: _Username = "",
    destination: _Destination = "",
    receiver_url: _ReceiverUrl = None,
    receiver_token: _ReceiverToken = "",
    receiver_username: _ReceiverUsername = "",
    listen: _Listen = None,
    pid: _Pid = None,
) -> None:
    """Load one connector: one that is started for it, or one that runs already (--url).

    With --url the balances of a real connector move: every Prepare that is fulfilled pays
    --amount from one account to the next hop's, many thousand times a second. Use accounts made
    for it, with a limit.

    Every Prepare has the same condition, the SHA-256 of the 32 bytes `fastilp loadtest, 32 bytes
    long.`, and its data begins with them. A receiver that is not this tool has to fulfil with
    these bytes; loopback accounts of fastilp do. Ends with status 1 if nothing was fulfilled.

    Examples:

        fastilp loadtest run --transport btp --window 1024 --duration 10 --json out.json

        fastilp loadtest run --transport batch --rate 5000 --html report.html

        fastilp loadtest run --url http://127.0.0.1:7770/accounts/alice/ilp --token alice-password
        --destination example.node.bob.x --listen 7800 --pid 4711
    """
    check_outputs(json_file, html)
    remote = Remote(
        url or "", destination, token, username, receiver_url, receiver_token, receiver_username,
        listen, tuple(pid or ()),
    )  # fmt: skip
    started = {
        "--target": target_name, "--routes": routes, "--durability": durability, "--fx": fx,
        "--payment": payment
    }  # fmt: skip
    made, transport = _chosen(remote, started, transport)
    load = checked_load(
        {
            "transport": transport, "window": window, "rate": rate, "accounts": accounts,
            "routes": routes, "connections": connections, "depth": depth, "durability": durability,
            "payload": payload, "amount": amount, "rate_of_exchange": fx, "reject_share": reject,
            "payment": payment, "packet_max": packet_max,
        }
    )  # fmt: skip
    points = [Point("run", _title(load), load, made.name, lambda: made)]
    check_fulfilled(_measure(points, Timing(warm_up, duration), runs, json_file, html))


def _chosen(
    remote: Remote, started: dict[str, Any], transport: str | None
) -> tuple[Target, str | None]:
    """The connector that is meant, and how it is spoken to. Raises UsageError."""
    receiver = {
        "--receiver-token": remote.receiver_token, "--receiver-username": remote.receiver_username
    }  # fmt: skip
    if not remote.url:
        there = {
            "--token": remote.token, "--username": remote.username,
            "--destination": remote.destination, "--receiver-url": remote.receiver_url, **receiver,
            "--listen": remote.listen_port, "--pid": remote.pids,
        }  # fmt: skip
        check_together(there, "--url")
        return target(started["--target"] or _TARGET), transport
    check_apart(started, "--url", "that is for a connector that is started here")
    if not remote.receiver_url:
        check_together(receiver, "--receiver-url")
    if not remote.destination:
        raise UsageError("--url needs --destination, the address that Prepares go to")
    own = transport_of(remote)
    if transport not in (None, own):
        raise UsageError(f"--transport {transport} does not go with --url, which is {own}")
    return RemoteTarget(remote), own


@command.command()
def compare(
    targets: Annotated[
        str, typer.Option(help="Names with commas between.")
    ] = "fastilp,ilp-connector,nginx",
    transport: _Transport = "http",
    window: _Window = None,
    rate: _Rate = None,
    duration: _Duration = 10.0,
    warm_up: _WarmUp = 2.0,
    connections: _Connections = None,
    depth: _Depth = None,
    durability: _Durability = None,
    payload: _Payload = None,
    reject: _Reject = None,
    runs: _Runs = 3,
    json_file: _Json = None,
    html: _Html = None,
) -> None:
    """The same load on several connectors, in turns.

    Examples:

        fastilp loadtest compare --transport http --window 64 --html report.html

        fastilp loadtest compare --transport btp --targets fastilp,ilp-connector --runs 7
    """
    check_outputs(json_file, html)
    load = checked_load(
        {
            "transport": transport, "window": window, "rate": rate, "connections": connections,
            "depth": depth, "durability": durability, "payload": payload, "reject_share": reject,
        }
    )  # fmt: skip
    names = _names(targets)
    points = [
        Point("compare", _title(load), load, name, lambda name=name: target(name))  # type: ignore[misc]
        for name in names
    ]
    check_fulfilled(_measure(points, Timing(warm_up, duration), runs, json_file, html))


@command.command()
def bench(
    scenarios: Annotated[list[Path], typer.Argument(help="Scenario files, or folders of them.")],
    runs: _Runs = 7,
    duration: _Duration = 10.0,
    warm_up: _WarmUp = 2.0,
    targets: Annotated[
        str | None, typer.Option(help="Only these, names with commas between.")
    ] = None,
    json_file: _Json = None,
    html: _Html = None,
    readme: Annotated[
        Path | None, typer.Option(help="Write the table between the marks of this file.")
    ] = None,
) -> None:
    """Every scenario on every target that this machine can start, in turns.

    Example:

        fastilp loadtest bench bench/scenarios --runs 7 --html report.html --json report.json
    """
    check_outputs(json_file, html, readme)
    only = None if targets is None else _names(targets)
    points = load_scenarios(scenarios, None if only is None else set(only))
    if not points:
        raise UsageError(f"no scenario has the targets {targets}")
    found = _measure(points, Timing(warm_up, duration), runs, json_file, html)
    if readme is not None and not found["interrupted"]:
        write_figures(found, readme)
    check_fulfilled(found)


@command.command()
def report(
    results: Annotated[list[Path], typer.Argument(help="What --json wrote, one or more.")],
    html: Annotated[Path, typer.Option("--html", help="The report.")],
    readme: Annotated[
        Path | None, typer.Option(help="Write the table between the marks of this file.")
    ] = None,
) -> None:
    """A report from results that are there already.

    Example:

        fastilp loadtest report out.json other.json --html report.html
    """
    check_outputs(None, html, readme)
    try:
        documents = [json.loads(path.read_text()) for path in results]
        lists = {
            name: [one for each in documents for one in each[name]]
            for name in ("entries", "left_out")
        }
        found = {**documents[0], **lists}
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"no results of loadtest: {error}") from None
    html.write_text(render(found))
    if readme is not None:
        write_figures(found, readme)


def write_figures(found: Document, readme: Path) -> None:
    readme.write_text(replace_figures(readme.read_text(), figures(found)))


def _names(targets: str) -> list[str]:
    names = [name.strip() for name in targets.split(",") if name.strip()]
    check_targets(names)
    return names


def _title(load: Load) -> str:
    how = f"{load.window:,} in flight" if load.window else f"{load.rate:,.0f} a second"
    if load.payment is not None:
        return f"payments over {load.transport}, {load.window:,} at a time"
    return f"{load.transport}, {how}"


def _measure(
    points: list[Point], timing: Timing, runs: int, json_file: Path | None, html: Path | None
) -> Document:
    with _console.status("starting") as status:
        suite = Suite(points, timing, runs, _Live(status))
        found = suite.run()
    for each in found["left_out"]:
        text = f"left out: {each['target']}, {each['scenario']}: {each['reason']}"
        _console.print(text, markup=False)
    wide = Console(highlight=False, width=None if _console.is_terminal else _FILE_WIDTH)
    wide.print(console_table(found["entries"]))
    _console.print(headline(found), style="dim")
    if found["interrupted"]:
        _console.print(INTERRUPTED, style="yellow")
    _warn_of_busy_tool(found)
    if json_file is not None:
        save(found, json_file)
    if html is not None:
        html.write_text(render(found))
        _console.print(f"report: {html}")
    return found


def _warn_of_busy_tool(found: Document) -> None:
    for entry in found["entries"]:
        share, cpu_share = entry["median"]["tool_cpu_share"], entry["median"]["cpu_share"]
        if entry["target"] != "direct" and share > 0.9 and (cpu_share or 0) < 0.9:
            _console.print(
                f"the tool was the bottleneck of {entry['scenario']} on {entry['target']}",
                style="yellow",
            )


class _Live:
    """One line that says how a run goes; without a terminal, a line for each run to its log."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._name = ""

    def begin(self, name: str) -> None:
        self._name = name
        if not _console.is_terminal:
            typer.echo(f"{datetime.now():%H:%M:%S} {name}", err=True)
        self._status.update(f"{name}: starting")

    def __call__(self, event: dict[str, Any]) -> None:
        self._status.update(
            f"{self._name}: {event['phase']} {event['elapsed']:.0f} of {event['seconds']:.0f} s,"
            f" {event['rate']:,.0f} exchanges/s, p99 {microseconds(event['p99_us'])}"
        )
