"""Exchange rates in the switch. Imports _core and errors.

Rates are exact: a rate that the switch cannot hold in 128 bits is refused, never rounded.
"""

from collections.abc import Mapping
from decimal import Decimal

from fastilp._core.switch import Switch
from fastilp.errors import ConfigError, UsageError


def set_rates(switch: Switch, rates: Mapping[str, Decimal], spread: Decimal) -> None:
    """Value of one standard unit per asset code. Raises ConfigError that names the rate."""
    for asset_code, rate in rates.items():
        try:
            switch.set_rate(asset_code, rate)
        except UsageError as error:
            raise ConfigError(str(error), key=f"rates.{asset_code}") from None
    try:
        switch.set_spread(spread)
    except UsageError as error:
        raise ConfigError(str(error), key="exchange_rate.spread") from None
