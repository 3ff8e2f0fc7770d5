"""An engine as a process of its own, until a signal ends it. Imports the neighbours and logs.

The first SIGTERM or SIGINT stops it with status 0. The ready file is for whoever started it with
port 0.
"""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import TypeVar

import structlog
import uvloop

from fastilp.engines.base import Engine
from fastilp.engines.host import Host
from fastilp.engines.settings import EngineSettings
from fastilp.logs import configure

Settings = TypeVar("Settings", bound=EngineSettings)

_log = structlog.get_logger("fastilp.engine")


def serve(kind: type[Engine[Settings]], settings: Settings, ready_file: Path | None = None) -> None:
    """Returns after a clean stop. Raises ConfigError or StorageError if it cannot start."""
    configure(settings.log_level, settings.log_format)
    uvloop.run(_serve(kind, settings, ready_file))


async def _serve(kind: type[Engine[Settings]], settings: Settings, ready_file: Path | None) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    host = Host(kind, settings)
    try:
        await host.start()
        _log.info("engine is ready", http=host.address, engine=kind.__name__, pid=os.getpid())
        if ready_file is not None:
            _write(ready_file, host.address)
        await ended.wait()
        _log.info("engine stops")
    finally:
        await host.stop()


def _write(path: Path, address: str) -> None:
    """Whole or not at all: somebody waits for it to appear."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"http": address, "pid": os.getpid()}))
    part.rename(path)
