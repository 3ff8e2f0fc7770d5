"""Settings of the PayPal engine. Imports the framework."""

import re

from pydantic import Field, SecretStr, field_validator

from fastilp.engines.settings import EngineSettings
from fastilp.errors import DecodeError

EMAIL_LENGTH_MAX = 127
_EMAIL = re.compile(r"[^\s@\x00-\x1f]+@[^\s@\x00-\x1f]+\.[^\s@\x00-\x1f]+")
_ADDRESS = re.compile(r"[^:\s]+:[0-9]{1,5}", re.ASCII)


def email_of(value: object) -> str:
    """Raises DecodeError."""
    if not isinstance(value, str) or len(value) > EMAIL_LENGTH_MAX or not _EMAIL.fullmatch(value):
        raise DecodeError("an email must be one, of at most 127 characters")
    return value.lower()


class PayPalSettings(EngineSettings):
    paypal_client_id: SecretStr = Field(description="Of the REST app of the business account.")
    paypal_secret: SecretStr = Field(description="The secret of that app.")
    paypal_email: str = Field(description="The business account's email: where peers pay.")
    paypal_url: str = Field(
        "https://api-m.sandbox.paypal.com",
        description="PayPal's API; without `sandbox` money is real.",
    )
    currency: str = Field("USD", pattern="^[A-Z]{3}$", description="Which is paid and credited.")
    poll_frequency: int = Field(
        60_000, ge=10, le=3_600_000, description="Milliseconds between two looks at PayPal."
    )
    webhook_bind_address: str | None = Field(
        None, description="host:port for PayPal's webhooks, behind TLS; none: polling only."
    )
    webhook_id: str | None = Field(None, description="The webhook's id, as PayPal shows it.")

    @field_validator("paypal_email")
    @classmethod
    def _is_email(cls, value: str) -> str:
        try:
            return email_of(value)
        except DecodeError as error:
            raise ValueError(str(error)) from None

    @field_validator("paypal_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("webhook_bind_address")
    @classmethod
    def _is_host_and_port(cls, value: str | None) -> str | None:
        if value is not None and not _ADDRESS.fullmatch(value):
            raise ValueError("must be host:port, such as 127.0.0.1:3080")
        return value
