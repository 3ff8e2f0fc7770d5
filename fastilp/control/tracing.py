"""Spans of the control plane for OpenTelemetry; nothing where it is off, and never per packet.

Imports nothing of fastilp but errors. The SDK is an extra (`fastilp[tracing]`), asked for only
where a collector is configured.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from fastilp.errors import ConfigError

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
except ImportError:
    OTLPSpanExporter = None  # type: ignore[assignment,misc]


class Span(Protocol):
    def set_attribute(self, key: str, value: Any) -> None: ...


class _NoSpan:
    def set_attribute(self, key: str, value: Any) -> None: ...


class Tracing:
    """`span` around a piece of work; with no collector it is a few instructions."""

    def __init__(self, exporter: "SpanExporter | None" = None, *, node: str = "") -> None:
        self._provider: TracerProvider | None = None
        if exporter is not None:
            attributes = {"service.name": "fastilp", "service.instance.id": node}
            self._provider = TracerProvider(resource=Resource.create(attributes))
            self._provider.add_span_processor(BatchSpanProcessor(exporter))

    @classmethod
    def to(cls, otlp_url: str | None, node: str) -> "Tracing":
        """Raises ConfigError where the extra is not installed."""
        if otlp_url is None:
            return cls()
        if OTLPSpanExporter is None:
            raise ConfigError(
                "needs OpenTelemetry: pip install 'fastilp[tracing]'", key="tracing.otlp_url"
            )
        return cls(OTLPSpanExporter(endpoint=otlp_url), node=node)

    @property
    def is_on(self) -> bool:
        return self._provider is not None

    @contextmanager
    def span(self, name: str, **attributes: str | int | bool) -> Iterator[Span]:
        if self._provider is None:
            yield _NoSpan()
            return
        tracer = self._provider.get_tracer("fastilp")
        with tracer.start_as_current_span(name, attributes=attributes) as span:
            yield span

    def close(self) -> None:
        """Send what is left; waits for the collector, so not in the loop."""
        if self._provider is not None:
            self._provider.shutdown()
