"""Spans of the control plane, with the real SDK; where they go is kept in memory."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from fractions import Fraction
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fastilp.control import tracing as tracing_module
from fastilp.control.rate_feed import RateFeed
from fastilp.control.tracing import Tracing
from fastilp.errors import ConfigError
from fastilp.node.traced import traced
from tests.control.test_rates import Scripted, switch_of

Send = Callable[[Any], Awaitable[None]]


class Route:
    path = "/accounts/{username}"


async def application(scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
    scope["route"] = Route()
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def sent(message: Any) -> None:
    assert message["type"].startswith("http.response")


def test_calls_of_the_api_are_spans() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter, node="g.hub")
    call = traced(application, tracing)
    asyncio.run(call({"type": "http", "method": "GET", "path": "/accounts/alice"}, None, sent))  # type: ignore[arg-type]
    tracing.close()
    [span] = exporter.get_finished_spans()
    assert span.name == "GET admin API"
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "http.route": "/accounts/{username}",
    }
    assert span.resource.attributes["service.instance.id"] == "g.hub"


def test_polls_of_rates_are_spans() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter)
    feed = RateFeed(
        switch_of(), Scripted({"USD": Fraction(1)}, None), dict, tracing=tracing
    )  # fmt: skip
    asyncio.run(feed.poll())
    asyncio.run(feed.poll())
    tracing.close()
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["rates poll"] * 2
    assert [span.status.is_ok for span in spans] == [True, False]


def test_off_is_nothing() -> None:
    tracing = Tracing.to(None, "g.hub")
    assert traced(application, tracing) is application
    with tracing.span("anything") as span:
        span.set_attribute("key", 1)
    tracing.close()


def test_without_the_extra_it_cannot_be_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module, "OTLPSpanExporter", None)
    with pytest.raises(ConfigError, match="fastilp.tracing"):
        Tracing.to("http://127.0.0.1:4318/v1/traces", "g.hub")
