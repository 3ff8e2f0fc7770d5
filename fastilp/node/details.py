"""From the settings' model of an account to the details that control and the links work with.

The two are different types on purpose: a change of the file format must not reach the data plane.
"""

from dataclasses import fields
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
