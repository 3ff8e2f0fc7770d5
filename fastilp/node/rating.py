"""The rate feed that the settings ask for. Imports config, control."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from fastilp._core.switch import Switch
from fastilp.config.models import ExchangeRateConfig
from fastilp.control.rate_feed import RateFeed
from fastilp.control.rate_sources import (
    COINCAP_URL,
    CRYPTOCOMPARE_URL,
    FileSource,
    RateSource,
    coincap,
    cryptocompare,
    rafiki,
)
from fastilp.control.tracing import Tracing


def make_feed(
    config: ExchangeRateConfig,
    switch: Switch,
    manual: Callable[[], Mapping[str, Decimal]],
    tracing: Tracing | None = None,
) -> RateFeed | None:
    """None where there is no provider."""
    source = _source(config)
    if source is None:
        return None
    return RateFeed(
        switch,
        source,
        manual,
        poll_seconds=config.poll_interval / 1_000,
        failures_max=config.poll_failure_tolerance,
        tracing=tracing,
    )


def _source(config: ExchangeRateConfig) -> RateSource | None:
    seconds = config.timeout_ms / 1_000
    name = config.provider.name if config.provider is not None else ""
    if name == "CoinCap":
        return coincap(config.url or COINCAP_URL, timeout_seconds=seconds)
    if name == "CryptoCompare" and config.provider is not None:
        key = config.provider.key.get_secret_value() if config.provider.key is not None else ""
        return cryptocompare(key, config.url or CRYPTOCOMPARE_URL, timeout_seconds=seconds)
    if name == "Rafiki" and config.url is not None:
        return rafiki(config.url, timeout_seconds=seconds)
    if name == "file" and config.file is not None:
        return FileSource(config.file)
    return None
