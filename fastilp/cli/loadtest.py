"""`fastilp loadtest`: how fast a connector is, ours or another, and what it costs.

Imports the load generator. Choices of a load are flags here and keys of a scenario file there, by
the same names.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.status import Status

from fastilp.errors import UsageError
from fastilp.loadtest.report import figures, render
from fastilp.loadtest.run import Timing
from fastilp.loadtest.suite import Point, Suite, load_scenarios
from fastilp.loadtest.summary import Document, save
from fastilp.loadtest.table import (
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
    help="Load a connector and measure it: throughput, latency, CPU time per exchange.",
)
_console = Console(highlight=False, soft_wrap=True)
# Of a table that goes to a file or a pipe, columns.
_FILE_WIDTH = 160

_Transport = Annotated[
    str | None,
    typer.Option(help="batch, btp, http, or embedded (without sockets). --url has its own."),
]
_Window = Annotated[
    int | None, typer.Option(help="Closed loop: so many Prepares in flight. Default 1024.")
]
_Rate = Annotated[
    float | None,
    typer.Option(help="Open loop: so many a second, latency from when each was due."),
]
_Duration = Annotated[float, typer.Option(min=0.1, help="Seconds that are measured.")]
_WarmUp = Annotated[float, typer.Option(min=0.0, help="Seconds before that, not measured.")]
_Accounts = Annotated[int | None, typer.Option(help="Half send, half receive, at random.")]
_Routes = Annotated[int | None, typer.Option(help="Static routes, hit at random.")]
_Connections = Annotated[int | None, typer.Option(help="HTTP: sockets of the sender.")]
_Depth = Annotated[int | None, typer.Option(help="HTTP: requests pipelined on a socket.")]
_Durability = Annotated[str | None, typer.Option(help="fastilp: commit or process.")]
_Payload = Annotated[int | None, typer.Option(help="Bytes of data in a Prepare.")]
_Fx = Annotated[
    str | None, typer.Option(help="The receivers' asset differs; its rate, such as 1.25.")
]
_Reject = Annotated[float | None, typer.Option(help="Share that receivers reject, 0 to 1.")]
_Runs = Annotated[int, typer.Option(min=1, help="Interleaved runs; figures are medians.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write everything measured.")]
_Html = Annotated[Path | None, typer.Option("--html", help="Write a report with plots.")]


def _load(**choices: Any) -> Load:
    given = {name: value for name, value in choices.items() if value is not None}
    if "window" not in given and "rate" not in given:
        given["window"] = 1024
    try:
        return Load.model_validate(given)
    except ValidationError as error:
        raise UsageError(
            "; ".join(
                f"{'.'.join(map(str, each['loc'])) or 'load'}: {each['msg']}"
                for each in error.errors()
            )
        ) from None


@command.command()
def run(
    target_name: Annotated[
        str, typer.Option("--target", help=f"What to start: {', '.join(TARGETS)}.")
    ] = "fastilp",
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
    fx: _Fx = None,
    reject: _Reject = None,
    runs: _Runs = 1,
    json_file: _Json = None,
    html: _Html = None,
    url: Annotated[
        str | None,
        typer.Option(help="A connector that runs already: http://, btp+ws://, ilp+tcp://."),
    ] = None,
    token: Annotated[str, typer.Option(help="Our token there.")] = "",
    username: Annotated[str, typer.Option(help="Our account there, for BTP and batch.")] = "",
    destination: Annotated[str, typer.Option(help="Where the Prepares go.")] = "",
    receiver_url: Annotated[
        str | None, typer.Option(help="Dial there as the next hop: btp+ws://, ilp+tcp://.")
    ] = None,
    receiver_token: Annotated[str, typer.Option()] = "",
    receiver_username: Annotated[str, typer.Option()] = "",
    listen: Annotated[
        int | None, typer.Option(help="Be the next hop, on this port: the connector dials us.")
    ] = None,
    pid: Annotated[
        list[int] | None, typer.Option(help="Process of the connector, for its CPU time.")
    ] = None,
) -> None:
    """Load one connector.

    Examples:

        fastilp loadtest run --transport btp --window 1024 --duration 10 --json out.json

        fastilp loadtest run --transport batch --rate 5000 --html report.html

        fastilp loadtest run --url http://127.0.0.1:7770/accounts/alice/ilp --token alice-password
        --destination example.node.bob.x --listen 7800 --pid 4711
    """
    made: Target
    if url:
        remote = Remote(
            url, destination, token, username, receiver_url, receiver_token, receiver_username,
            listen, tuple(pid or ()),
        )  # fmt: skip
        if not destination:
            raise UsageError("--url needs --destination, the address that Prepares go to")
        made, transport = RemoteTarget(remote), transport_of(remote)
    else:
        made = target(target_name)
    load = _load(
        transport=transport, window=window, rate=rate, accounts=accounts, routes=routes,
        connections=connections, depth=depth, durability=durability, payload=payload,
        rate_of_exchange=fx, reject_share=reject,
    )  # fmt: skip
    points = [Point("run", _title(load), load, made.name, lambda: made)]
    _measure(points, Timing(warm_up, duration), runs, json_file, html)


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
    load = _load(
        transport=transport, window=window, rate=rate, connections=connections, depth=depth,
        durability=durability, payload=payload, reject_share=reject,
    )  # fmt: skip
    names = [name.strip() for name in targets.split(",") if name.strip()]
    points = [
        Point("compare", _title(load), load, name, lambda name=name: target(name))  # type: ignore[misc]
        for name in names
    ]
    _measure(points, Timing(warm_up, duration), runs, json_file, html)


@command.command()
def bench(
    scenarios: Annotated[
        list[Path], typer.Argument(help="Scenario files, or folders of them.")
    ],
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
    only = set(targets.split(",")) if targets else None
    points = load_scenarios(scenarios, only)
    found = _measure(points, Timing(warm_up, duration), runs, json_file, html)
    if readme is not None:
        write_figures(found, readme)


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


def _title(load: Load) -> str:
    how = f"{load.window:,} in flight" if load.window else f"{load.rate:,.0f} a second"
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
    """One line that says how a run goes."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._name = ""

    def begin(self, name: str) -> None:
        self._name = name
        self._status.update(f"{name}: starting")

    def __call__(self, event: dict[str, Any]) -> None:
        self._status.update(
            f"{self._name}: {event['phase']} {event['elapsed']:.0f} of {event['seconds']:.0f} s,"
            f" {event['rate']:,.0f} exchanges/s, p99 {microseconds(event['p99_us'])}"
        )
