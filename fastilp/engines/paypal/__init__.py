"""Settlement in a currency of PayPal's, by payouts."""

from fastilp.engines.paypal.engine import PayPalEngine
from fastilp.engines.paypal.settings import PayPalSettings

__all__ = ["PayPalEngine", "PayPalSettings"]
