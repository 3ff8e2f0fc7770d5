"""Settings of the Lightning engine. Imports the framework."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from fastilp.engines.settings import EngineSettings


class LightningSettings(EngineSettings):
    node: Literal["lnd", "electrum"] = Field("lnd", description="Kind of Lightning node.")
    lnd_url: str = Field("https://127.0.0.1:8080", description="REST interface of lnd.")
    lnd_macaroon_path: str | None = Field(
        None, description="File with a macaroon that may make and pay invoices."
    )
    lnd_tls_cert_path: str | None = Field(
        None, description="lnd's tls.cert; without it a certificate that the system trusts."
    )
    electrum_url: str = Field("http://127.0.0.1:7777", description="JSON-RPC of Electrum's daemon.")
    electrum_user: str = Field("user", description="Electrum's rpcuser.")
    electrum_password: SecretStr = Field(SecretStr(""), description="Electrum's rpcpassword.")
    electrum_wallet: str | None = Field(
        None, description="Path of the wallet; without it the daemon's default."
    )
    invoice_expiry: int = Field(
        600, ge=1, le=86_400, description="Seconds that our invoices are valid for."
    )
    fee_limit_sat: int = Field(
        5, ge=0, le=10_000_000, description="Routing fee that is always allowed (lnd)."
    )
    fee_limit_ppm: int = Field(
        10_000, ge=0, le=1_000_000, description="Allowed millionths of the amount, if more (lnd)."
    )
    poll_frequency: int = Field(
        1_000, ge=10, le=3_600_000, description="Milliseconds between two looks at the node."
    )

    @field_validator("lnd_url", "electrum_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    def fee_msat_max(self, msat: int) -> int:
        return max(self.fee_limit_sat * 1_000, msat * self.fee_limit_ppm // 1_000_000)
