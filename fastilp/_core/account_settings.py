"""Settings of an account that the switch enforces: which there are, their defaults and bounds.

Plain Python, used when accounts are opened or changed. It may import packet, rates and
fastilp.errors.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastilp._core.packet import is_valid_prefix
from fastilp._core.rates import spread_of
from fastilp.errors import UsageError

_UINT32_MAX = (1 << 32) - 1
_UINT64_MAX = (1 << 64) - 1
_WIDE_MAX = (1 << 127) - 1
_IN_FLIGHT_MAX = 16_384
_DESTINATIONS_MAX = 256

# Whole numbers: (default, smallest, largest); None means no limit where it is the default.
_NUMBERS: dict[str, tuple[int | None, int, int]] = {
    "min_balance": (None, -_WIDE_MAX, _WIDE_MAX),
    "max_balance": (None, -_WIDE_MAX, _WIDE_MAX),
    "max_packet_amount": (_UINT64_MAX, 0, _UINT64_MAX),
    "packets_per_minute_limit": (None, 0, _UINT32_MAX),
    "amount_per_minute_limit": (None, 0, _UINT64_MAX),
    "round_trip_time": (500, 0, 30_000),
    "settle_threshold": (None, -_WIDE_MAX, _WIDE_MAX),
    "settle_to": (None, -_WIDE_MAX, _WIDE_MAX),
    "max_in_flight_amount": (None, 0, _UINT64_MAX),
    "in_flight_in_max": (_IN_FLIGHT_MAX, 0, 1 << 20),
    "in_flight_out_max": (_IN_FLIGHT_MAX, 0, 1 << 20),
    "max_packet_amount_out": (None, 0, _UINT64_MAX),
    "amount_per_minute_limit_out": (None, 0, _UINT64_MAX),
}
DEFAULTS: dict[str, Any] = {
    **{key: default for key, (default, _, _) in _NUMBERS.items()},
    "allowed_destinations": None,
    "spread": None,
}


def checked(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as the core keeps them. Raises UsageError for one that is unknown or wrong."""
    return {key: _checked_one(name, key, value) for key, value in settings.items()}


def _checked_one(name: str, key: str, value: Any) -> Any:
    if key not in DEFAULTS:
        raise UsageError(
            f"account {name}: unknown setting {key!r}; known are {', '.join(DEFAULTS)}"
        )
    if value is None and DEFAULTS[key] is None:
        return None
    if key == "allowed_destinations":
        return _checked_destinations(name, value)
    if key == "spread":
        return spread_of(value)
    _, smallest, largest = _NUMBERS[key]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not smallest <= value <= largest:
        raise UsageError(
            f"account {name}: {key} must be from {smallest} to {largest}, not {value!r}"
        )
    return value


def _checked_destinations(name: str, prefixes: Sequence[Any]) -> tuple[str, ...]:
    if isinstance(prefixes, str) or len(prefixes) > _DESTINATIONS_MAX:
        raise UsageError(
            f"account {name}: allowed_destinations must be a list of at most {_DESTINATIONS_MAX} "
            "prefixes"
        )
    for prefix in prefixes:
        if not isinstance(prefix, str) or not is_valid_prefix(prefix):
            raise UsageError(
                f"account {name}: {prefix!r} is not a valid prefix of ILP addresses, such as "
                "g.hub.bob"
            )
    return tuple(prefixes)
