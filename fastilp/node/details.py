"""From the settings' model of an account to the details that control and the links work with.

The two are different types on purpose: a change of the file format must not reach the data plane.
"""

from dataclasses import fields, replace
from typing import Any

from pydantic import SecretStr

from fastilp.config.models import AccountConfig
from fastilp.control.vault import Vault
from fastilp.types import AccountDetails


def details_of(account: AccountConfig, vault: Vault) -> AccountDetails:
    values: dict[str, Any] = {}
    for field in fields(AccountDetails):
        value = getattr(account, field.name)
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            value = vault.hash(text) if field.name.endswith("_incoming_token") else text
        values[field.name] = value
    return AccountDetails(**values)


def rebased(details: AccountDetails, configured: str, own: str) -> AccountDetails:
    """With an address below the node's own, where the settings have it below `configured`: a parent
    gave the node another one."""
    if configured == own or not details.ilp_address.startswith(f"{configured}."):
        return details
    return replace(details, ilp_address=own + details.ilp_address[len(configured) :])
