"""Structured logs: structlog on top of logging, so that what libraries log has the same shape.

Imports nothing of fastilp. Everything goes to standard error, a line per event. Nobody logs per
packet.
"""

import logging
import sys
from typing import Any

import orjson
import structlog


def configure(level: str, form: str) -> None:
    """`form`: "json", "console", or "auto": console on a terminal, JSON lines elsewhere."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    to_console = form == "console" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_console() if to_console else _json()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _console() -> list[Any]:
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _json() -> list[Any]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(serializer=_dumps),
    ]


def _dumps(event: Any, **_: Any) -> str:
    # A value that JSON has no form for is shown as text: a log line must never fail.
    return orjson.dumps(event, default=str).decode()
