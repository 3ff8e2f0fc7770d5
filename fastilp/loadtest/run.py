"""One run: start a target, load it from a process of its own, read what came back, stop it.

Imports the tasks and the targets. The target has one core, the tools have another; on a machine
with a single core they share it, and the result says so.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastilp.errors import FastILPError
from fastilp.loadtest.embedded import EmbeddedTask
from fastilp.loadtest.paying import PayingTask
from fastilp.loadtest.targets.base import Access, Target
from fastilp.loadtest.targets.fastilp import (
    ADDRESS,
    FastilpNode,
    account_names,
    destination_of,
)
from fastilp.loadtest.targets.fastilp_pair import PAYER, RECEIVER, Pair, start_pair, token_of
from fastilp.loadtest.task import Flow, Load, Task

Result = dict[str, Any]
Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Timing:
    """How long a run lasts, seconds."""

    warm_up: float = 2.0
    measure: float = 10.0


def cores() -> tuple[int | None, int | None]:
    """The core of the target and that of the tools; None where there are not two."""
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else (None, None)


def run_target(
    target: Target, load: Load, timing: Timing, progress: Progress | None = None
) -> Result:
    """Start, load, stop. The result has the target's own books in it, where it tells them."""
    target_core, tool_core = cores()
    try:
        if isinstance(target, FastilpNode) and load.transport == "embedded":
            embedded = embedded_task(load, timing, target.folder, target_core)
            result = _run_worker("embedded", embedded.model_dump_json(), progress)
        elif load.payment is not None:
            pair = start_pair(target, load, target_core)
            paying = paying_task(pair, load, timing, tool_core)
            result = _run_worker("paying", paying.model_dump_json(), progress)
            result["books"] = pair.books()
        else:
            access = target.start(load, target_core)
            task = make_task(access, load, timing, target.pids, tool_core)
            result = run_task(task, progress)
            result["books"] = target.books()
    finally:
        target.stop()
    result.update(
        target=target.name,
        version=target.version(),
        load=load.model_dump(exclude_unset=True),
        cores={"target": target_core, "tools": tool_core},
    )
    return result


def make_task(
    access: Access, load: Load, timing: Timing, pids: list[int], core: int | None
) -> Task:
    assert load.transport != "embedded"
    return Task(
        transport=load.transport,
        flows=_flows(access, load),
        receivers=access.receivers,
        listen_port=access.listen_port,
        pids=tuple(pids),
        core=core,
        warm_up_seconds=timing.warm_up,
        seconds=timing.measure,
        drain_seconds=load.expires_in_ms / 1000 + 2,
        answer_payload=load.answer_payload,
        reject_share=load.reject_share,
        stall_ms=load.stall_ms,
        stall_period_ms=load.stall_period_ms,
        expires_in_ms=load.expires_in_ms,
    )


def embedded_task(load: Load, timing: Timing, folder: Path, core: int | None) -> EmbeddedTask:
    destination = destination_of(load)
    return EmbeddedTask(
        address=ADDRESS,
        data_dir=str(folder / "data"),
        durability=load.durability,
        senders=tuple(account_names("sender", load.senders)),
        receivers=tuple(account_names("receiver", load.receivers)),
        routes=(destination.prefix, destination.digits, load.routes) if load.routes else None,
        destination=destination,
        window=load.window or 0,
        batch=load.batch,
        amount=load.amount,
        payload=load.payload,
        answer_payload=load.answer_payload,
        core=core,
        warm_up_seconds=timing.warm_up,
        seconds=timing.measure,
    )


def paying_task(pair: Pair, load: Load, timing: Timing, core: int | None) -> PayingTask:
    assert load.payment is not None
    feed = pair.receiver.replace("http://", "ws://", 1)
    return PayingTask(
        orders_url=f"{pair.payer}/accounts/{PAYER}/payments",
        payer_token=token_of(PAYER),
        receiver=f"{pair.receiver}/accounts/{RECEIVER}/spsp",
        incoming_url=f"{feed}/accounts/{RECEIVER}/payments/incoming",
        receiver_token=token_of(RECEIVER),
        amount=load.payment,
        window=load.window or 0,
        payer_pid=pair.payer_pid,
        receiver_pid=pair.receiver_pid,
        core=core,
        warm_up_seconds=timing.warm_up,
        seconds=timing.measure,
    )


def _flows(access: Access, load: Load) -> tuple[Flow, ...]:
    """The flow that is measured first, then the flood, on links of its own."""
    flood = load.flood
    measured = access.senders[-1:] if flood else access.senders
    same = {"destination": access.destination, "amount": load.amount, "payload": load.payload}
    flows = [
        Flow(
            name="measured",
            senders=measured,
            window=load.window or 0,
            rate=load.rate or 0.0,
            sockets=load.sockets,
            depth=load.depth,
            **same,  # type: ignore[arg-type]
        )
    ]
    if flood:
        links = access.senders[: flood.links]
        flows.append(Flow(name="flood", senders=links, window=flood.window, **same))  # type: ignore[arg-type]
    return tuple(flows)


def run_task(task: Task, progress: Progress | None = None) -> Result:
    return _run_worker("worker", task.model_dump_json(), progress)


def _run_worker(module: str, task: str, progress: Progress | None) -> Result:
    """In a process of its own; Ctrl-C ends it early, and its result is what there is. A second one
    does not wait for that."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"fastilp.loadtest.{module}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": _package_path()},
        # Ctrl-C is for us.
        process_group=0,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(task.encode())
        process.stdin.close()
        return _read(process, progress)
    finally:
        if process.poll() is None:
            process.kill()
        process.stdout.close()
        process.wait()


def _read(process: "subprocess.Popen[bytes]", progress: Progress | None) -> Result:
    assert process.stdout is not None
    result: Result | None = None
    interrupted = False
    lines = iter(process.stdout)
    while True:
        try:
            line = next(lines, None)
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            process.terminate()
            continue
        if line is None:
            break
        event = json.loads(line)
        if event["event"] == "error":
            raise FastILPError(event["message"])
        if event["event"] == "result":
            result = event
        elif progress is not None:
            progress(event)
    if result is None and interrupted:
        # It had not begun.
        raise KeyboardInterrupt
    if result is None:
        raise FastILPError(f"the load generator ended without a result, status {process.wait()}")
    del result["event"]
    return result


def _package_path() -> str:
    own = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(part for part in (own, os.environ.get("PYTHONPATH", "")) if part)
