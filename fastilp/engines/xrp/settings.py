"""Settings of the XRP engine. Imports the framework."""

from pydantic import Field, SecretStr, field_validator

from fastilp.engines.settings import EngineSettings
from fastilp.engines.xrp.wallet import Wallet
from fastilp.errors import DecodeError


class XrpSettings(EngineSettings):
    xrp_secret: SecretStr = Field(description="The secret of the account that pays, s….")
    xrp_url: str = Field(
        "http://127.0.0.1:5005", description="JSON-RPC of a node of the XRP Ledger, over HTTP."
    )
    network_id: int | None = Field(
        None,
        ge=0,
        lt=2**32,
        description="What the network must be; without it any network is right.",
    )
    poll_frequency: int = Field(
        1_000, ge=10, le=3_600_000, description="Milliseconds between two looks at the ledger."
    )
    expiry_ledgers: int = Field(
        20, ge=3, le=900, description="So many ledgers a payment may take; then it is made anew."
    )
    max_fee: int = Field(
        5_000, ge=10, le=10**9, description="Drops of fee that a payment never exceeds."
    )

    @field_validator("xrp_secret")
    @classmethod
    def _is_secret(cls, value: SecretStr) -> SecretStr:
        try:
            Wallet(value.get_secret_value())
        except DecodeError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("xrp_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value
