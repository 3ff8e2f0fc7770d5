"""Settings of the Ethereum engine, with the names of Interledger.rs's. Imports the framework."""

import re
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from fastilp.engines.settings import EngineSettings

_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"(?:0x)?[0-9a-fA-F]{40}")

# A plain payment takes 21,000; a contract as payee may take more, at our cost.
ETHER_GAS_MAX = 100_000
TOKEN_GAS_MAX = 300_000


class EthereumSettings(EngineSettings):
    private_key: SecretStr = Field(description="32 bytes in hex: whose account pays.")
    ethereum_url: str = Field(
        "http://127.0.0.1:8545", description="JSON-RPC of an Ethereum node, over HTTP."
    )
    token_address: str | None = Field(
        None, description="Contract of an ERC-20 token; ETH without it."
    )
    chain_id: int | None = Field(
        None, ge=1, lt=2**64, description="What the chain must be; without it any chain is right."
    )
    confirmations: int = Field(
        6, ge=0, le=100, description="Blocks on top of a payment until it counts."
    )
    asset_scale: int = Field(
        18, ge=0, le=255, description="Decimals of the smallest unit: 18 for wei."
    )
    poll_frequency: int = Field(
        5_000, ge=10, le=3_600_000, description="Milliseconds between two looks at the chain."
    )
    watch_incoming: bool = Field(True, description="Whether to credit payments that arrive.")
    transaction_type: Literal["auto", "legacy", "eip1559"] = Field(
        "auto", description="legacy (EIP-155), eip1559, or auto: what the chain has."
    )
    bump_after_ms: int = Field(
        60_000, ge=10, description="Not mined after so long, a payment offers a quarter more."
    )
    max_fee_per_gas: int | None = Field(
        None, ge=1, description="Wei per gas that are never exceeded."
    )
    max_gas: int | None = Field(
        None,
        ge=21_000,
        description="Gas that a payment never exceeds; 100000 without it, 300000 of a token.",
    )

    @property
    def gas_max(self) -> int:
        if self.max_gas is not None:
            return self.max_gas
        return ETHER_GAS_MAX if self.token_address is None else TOKEN_GAS_MAX

    @field_validator("private_key")
    @classmethod
    def _is_key(cls, value: SecretStr) -> SecretStr:
        if not _KEY.fullmatch(value.get_secret_value()):
            raise ValueError("must be 32 bytes in hex")
        return SecretStr(value.get_secret_value().removeprefix("0x"))

    @field_validator("token_address")
    @classmethod
    def _is_token(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not _ADDRESS.fullmatch(value):
            raise ValueError("must be 20 bytes in hex")
        return "0x" + value.removeprefix("0x").lower()

    @field_validator("ethereum_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value
