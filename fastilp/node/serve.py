"""Run one node until a signal ends it.

The first SIGTERM or SIGINT drains and stops with status 0; a second one ends the process at
once, which the ledger survives like any crash. The ready file is for whoever started us with
port 0.
"""

import asyncio
import gc
import json
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
import uvloop

from fastilp.config.models import Settings
from fastilp.errors import ConfigError, UsageError
from fastilp.node.composition import Node

_KILLED_STATUS = 130

_log = structlog.get_logger("fastilp.node")

Work = Callable[[Node, Callable[[], None]], Awaitable[None]]
"""Gets the node, and a function that ends it."""


def serve(
    settings: Settings,
    *,
    ready_file: Path | None = None,
    work: Work | None = None,
    reload: Callable[[], Settings] | None = None,
) -> None:
    """Returns after a clean stop. `reload` reads the settings again, for SIGHUP. `work` runs in the
    node's loop once it is ready; when it returns the node goes on, and when it raises the node
    stops and the exception comes out here."""
    _allow_open_files()
    uvloop.run(_serve(settings, ready_file, work, reload))


def _allow_open_files() -> None:
    """Every connection takes one. Shells allow 1,024 for the sake of programs that use select."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(
    settings: Settings,
    ready_file: Path | None,
    work: Work | None,
    reload: Callable[[], Settings] | None,
) -> None:
    ended = asyncio.Event()
    _on_signals(ended)
    hang_up = _HangUp(reload)
    node = await _started(settings)
    hang_up.node = node
    try:
        if ready_file is not None:
            _write_ready_file(ready_file, node)
        if work is not None and not ended.is_set():
            await _work_or_end(work(node, ended.set), ended)
        await ended.wait()
    finally:
        await hang_up.close()
        await node.stop()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


async def _started(settings: Settings) -> Node:
    """What a node has at its start stays for ever, and may be a million objects: the collector must
    not look at them, least of all in a turn of the loop."""
    gc.disable()
    try:
        node = Node(settings)
        await node.start()
    finally:
        gc.freeze()
        gc.enable()
    return node


def _on_signals(ended: asyncio.Event) -> None:
    def on_signal() -> None:
        if ended.is_set():
            os._exit(_KILLED_STATUS)
        ended.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


class _HangUp:
    """SIGHUP, which ends the process where nobody takes it: a node that starts or stops has
    nothing to read again. Settings that are wrong change nothing."""

    def __init__(self, reload: Callable[[], Settings] | None) -> None:
        self.node: Node | None = None
        self._reload = reload
        self._running: set[asyncio.Task[None]] = set()
        if reload is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_signal)

    async def close(self) -> None:
        self.node = None
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _on_signal(self) -> None:
        if self.node is None or self._reload is None:
            return
        try:
            settings = self._reload()
        except ConfigError as error:
            _log.error("the settings are wrong, and were not taken over", reason=str(error))
            return
        task = asyncio.get_running_loop().create_task(self._take(self.node, settings))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _take(self, node: Node, settings: Settings) -> None:
        try:
            await node.reload(settings)
        except Exception:
            _log.exception("the settings were not taken over as a whole")


async def _work_or_end(work: Awaitable[None], ended: asyncio.Event) -> None:
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(ended.wait())
    await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if working.done():
        working.result()
    else:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _write_ready_file(path: Path, node: Node) -> None:
    # Renamed into place: whoever waits for the file finds all of it.
    draft = path.with_name(f"{path.name}.draft")
    try:
        draft.write_text(json.dumps({**node.addresses(), "pid": os.getpid()}) + "\n")
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"--ready-file {path} cannot be written: {error.strerror}") from None
