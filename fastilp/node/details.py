"""From the settings' model of an account to the details that control and the links work with.

The two are different types on purpose: a change of the file format must not reach the data plane.
"""

from dataclasses import fields
from typing import Any

from pydantic import SecretStr

from fastilp.config.models import AccountConfig
from fastilp.types import AccountDetails


def details_of(account: AccountConfig) -> AccountDetails:
    values: dict[str, Any] = {}
    for field in fields(AccountDetails):
        value = getattr(account, field.name)
        values[field.name] = value.get_secret_value() if isinstance(value, SecretStr) else value
    return AccountDetails(**values)
