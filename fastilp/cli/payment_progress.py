"""A payment of a running node, followed to its end: a bar on a terminal, then what it was. Ctrl-C
stops the payment, not only the looking. Imports rich.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from decimal import Decimal
from threading import Thread
from typing import Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fastilp.cli.client import Answer, NodeClient, printable, segment
from fastilp.cli.entry import INTERRUPTED_STATUS
from fastilp.cli.tables import fields, units
from fastilp.errors import FastILPError

AT_ONCE = {"Prefer": "respond-async"}
"""A node that knows it answers 202 and the payment; others answer when it has ended."""

HINTS = {
    404: "`fastilp payments list` shows the payments of an account",
    409: "",
    # What is wrong with a payment is said in the answer, and in no log.
    500: "",
}
"""What to do where a payment is refused."""
HOLDER_HINTS = {**HINTS, 401: "give --auth with the account's own token; the admin's will not do"}
"""The same where money moves."""

_RATE_DIGITS = 6


class Shown(NamedTuple):
    """What is printed, and how."""

    quiet: bool
    as_json: bool
    as_table: bool

    def is_for_people(self) -> bool:
        return not self.as_json and (self.as_table or sys.stdout.isatty())


def order(client: NodeClient, path: str, body: Mapping[str, object], shown: Shown) -> None:
    """Orders a payment and follows it. Returns when it is complete; raises FastILPError if it
    failed. The node asks the receiver first: who presses Ctrl-C meanwhile waits for that, because
    only then it is known which payment to stop."""
    answers: Future[Answer] = Future()
    Thread(target=_ask, args=(client, path, body, answers), daemon=True).start()
    try:
        answer = answers.result()
    except KeyboardInterrupt:
        sys.stderr.write("fastilp: stopping, once the node has asked the receiver\n")
        try:
            answer = answers.result()
        except KeyboardInterrupt:
            sys.stderr.write("fastilp: the payment may go on: look at `fastilp payments list`\n")
            sys.exit(INTERRUPTED_STATUS)
        if answer.status == 202:
            client.call("POST", f"{_path(answer.json())}/cancel")
    _follow(client, answer, shown)


def _ask(
    client: NodeClient, path: str, body: Mapping[str, object], answers: Future[Answer]
) -> None:
    try:
        answers.set_result(client.send_json("POST", path, body, AT_ONCE))
    except BaseException as error:
        answers.set_exception(error)


def _path(payment: dict[str, Any]) -> str:
    return f"/accounts/{segment(payment['username'])}/payments/{payment['id']}"


def _follow(client: NodeClient, answer: Answer, shown: Shown) -> None:
    if answer.status != 202:
        # The node of Interledger.rs, and no other version of us.
        _print_receipt(answer.body, shown)
        return
    payment = _followed(client, answer.json(), shown)
    if payment["state"] == "completed":
        _print_receipt(_compact(payment["receipt"]), shown)
        if int(payment["uncertain_amount"]) and not shown.quiet:
            sys.stderr.write(f"fastilp: {_unseen(payment)}\n")
        return
    if not shown.is_for_people() and not shown.quiet:
        typer.echo(_compact(payment))
    text = _ending(payment)
    if payment["state"] == "cancelled":
        sys.stderr.write(f"fastilp: {text}\n")
        sys.exit(INTERRUPTED_STATUS)
    raise FastILPError(text)


def _print_receipt(receipt: bytes, shown: Shown) -> None:
    if shown.quiet:
        return
    if shown.is_for_people():
        for line in fields(Answer(receipt).json()):
            typer.echo(line)
    else:
        typer.echo(receipt)


def _followed(client: NodeClient, payment: dict[str, Any], shown: Shown) -> dict[str, Any]:
    """The payment at its end."""
    path = _path(payment)
    is_stopping = False
    with _Bar(payment, is_shown=sys.stderr.isatty() and not shown.quiet) as bar:
        while payment["state"] == "running":
            try:
                for payment in _events(client, path):
                    bar.update(payment)
            except KeyboardInterrupt:
                if is_stopping:
                    sys.stderr.write(f"fastilp: payment {payment['id']} ends by itself\n")
                    sys.exit(INTERRUPTED_STATUS)
                is_stopping = True
                bar.say("stopping")
                client.call("POST", f"{path}/cancel")
            else:
                if payment["state"] == "running":
                    raise FastILPError(
                        f"the node has closed the connection; payment {payment['id']}"
                        " goes on, or `fastilp payments resume` does"
                    )
    return payment


def _events(client: NodeClient, path: str) -> Iterator[dict[str, Any]]:
    for _, data in client.events(f"{path}/events"):
        found = json.loads(data)
        if isinstance(found, dict):
            yield found


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _ending(payment: dict[str, Any]) -> str:
    """What was delivered, whatever went wrong."""
    reason = f": {printable(str(payment['error']))}" if payment["error"] else ""
    unknown = int(payment["in_flight_amount"]) + int(payment["uncertain_amount"])
    uncertain = f", and perhaps {_sent(payment, unknown)} more" if unknown else ""
    end = "failed" if payment["state"] == "failed" else f"was {payment['state']}"
    text = (
        f"the payment {end}{reason}; sent {_sent(payment)}{uncertain},"
        f" delivered {_delivered(payment)}"
    )
    if payment["state"] == "failed" and not int(payment["sent_amount"]):
        # What has stopped the first packet is likely to stop them again.
        return text
    return f"{text}; `fastilp payments resume {payment['username']} {payment['id']}` pays the rest"


def _unseen(payment: dict[str, Any]) -> str:
    """Why a payment is complete, and less was sent than ordered."""
    amount = _sent(payment, int(payment["uncertain_amount"]))
    return f"up to {amount} of it were in flight when the node crashed, and are not sent again"


def _sent(payment: dict[str, Any], amount: int | None = None) -> str:
    found = payment["sent_amount"] if amount is None else amount
    return f"{units(found, payment['source_asset_scale'])} {payment['source_asset_code']}"


def _delivered(payment: dict[str, Any]) -> str:
    scale, code = payment["destination_asset_scale"], payment["destination_asset_code"]
    if scale is None:
        return str(payment["delivered_amount"])
    return f"{units(payment['delivered_amount'], scale)} {printable(str(code))}"


class _Bar:
    """How far it is, how fast, how long still."""

    def __init__(self, payment: dict[str, Any], *, is_shown: bool) -> None:
        self._began = time.monotonic()
        self._is_shown = is_shown
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
            disable=not is_shown,
        )
        total, _ = _course(payment)
        self._task: TaskID = self._progress.add_task("paying", total=total, figures="")

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, payment: dict[str, Any]) -> None:
        total, done = _course(payment)
        seconds = max(time.monotonic() - self._began, 0.001)
        per_second = f"{_sent(payment, round(int(payment['sent_amount']) / seconds))}/s"
        figures = f"{_sent(payment)} sent, {_delivered(payment)} delivered, {per_second}"
        rate = _rate(payment)
        self._progress.update(
            self._task,
            total=total,
            completed=done,
            figures=f"{figures}, rate {rate}" if rate else figures,
        )

    def say(self, text: str) -> None:
        self._progress.update(self._task, description=text)


def _course(payment: dict[str, Any]) -> tuple[int, int]:
    """All of it, and what is done, in the units that were ordered."""
    if payment["delivery_amount"] is not None:
        return int(payment["delivery_amount"]), int(payment["delivered_amount"])
    return int(payment["source_amount"]), int(payment["sent_amount"])


def _rate(payment: dict[str, Any]) -> str:
    """Standard units that arrived for each that was sent; empty before the first."""
    scale, sent = payment["destination_asset_scale"], int(payment["sent_amount"])
    if scale is None or not sent:
        return ""
    delivered = Decimal(int(payment["delivered_amount"])).scaleb(-int(scale))
    rate = delivered / Decimal(sent).scaleb(-int(payment["source_asset_scale"]))
    return f"{rate:.{_RATE_DIGITS}g}"
