"""`fastilp engine paypal`."""

from fastilp.cli.engine_options import command_of
from fastilp.engines.paypal import PayPalEngine, PayPalSettings

command = command_of(
    PayPalEngine,
    PayPalSettings,
    """Settle by PayPal's payouts, in one of its currencies.

    Examples:

        fastilp engine paypal --config paypal.toml

        fastilp engine paypal --paypal-email shop@example.org --currency EUR
    """,
)
