"""Where the settings' file and the node's store differ. Imports storage and the vault.

Reads the store only, so it works beside a running node. Tokens are compared, and never shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastilp.control.records import TOKENS, details_of_record
from fastilp.control.tables import RATES, STATIC_ROUTES, entries_of
from fastilp.control.vault import Vault
from fastilp.storage.kinds import ACCOUNTS, TOMBSTONES, AccountRecord
from fastilp.storage.records import Reader
from fastilp.types import AccountDetails

_SECRET = "(a secret)"


@dataclass(frozen=True, slots=True)
class Difference:
    """`key`: as in the settings. `file` and `node`: what each says, None for nothing."""

    key: str
    file: str | None
    node: str | None
    why: str
    """Which of the two is in force, and why."""


def differences(
    store: Reader,
    vault: Vault,
    accounts: Iterable[AccountDetails],
    routes: Mapping[str, str],
    rates: Mapping[str, str],
) -> list[Difference]:
    found = _of_accounts(store, vault, {each.username: each for each in accounts})
    found += _of_table(store, STATIC_ROUTES, "routes", routes)
    found += _of_table(store, RATES, "rates", rates)
    return found


def _of_accounts(
    store: Reader, vault: Vault, file: Mapping[str, AccountDetails]
) -> list[Difference]:
    records = {record.username: record for record in ACCOUNTS.items(store)}
    closed = {stone.username for stone in TOMBSTONES.items(store)}
    found = []
    for username, details in file.items():
        record = records.get(username)
        key = f"accounts.{username}"
        if record is not None:
            found += _of_fields(key, details, record, vault)
        elif username in closed:
            found.append(Difference(key, "an account", None, "was closed over the API"))
        else:
            found.append(Difference(key, "an account", None, "comes with the next start or SIGHUP"))
    for username, record in records.items():
        if username not in file:
            why = "was made over the API"
            if record.origin != "api":
                why = "has left the file and is not served; its balance stays"
            found.append(Difference(f"accounts.{username}", None, "an account", why))
    return found


def _of_fields(
    key: str, details: AccountDetails, record: AccountRecord, vault: Vault
) -> list[Difference]:
    why = "the API set it last" if record.origin == "api" else "comes with the next start or SIGHUP"
    kept = details_of_record(record, vault)
    return [
        Difference(f"{key}.{name}", _shown(name, wanted), _shown(name, found), why)
        for name in AccountDetails.__slots__
        if (wanted := getattr(details, name)) != (found := getattr(kept, name))
    ]


def _of_table(store: Reader, name: str, section: str, file: Mapping[str, str]) -> list[Difference]:
    node = entries_of(store, name)
    if node is None:
        # The API never set it: the file is in force.
        return []
    return [
        Difference(f'{section}."{each}"', file.get(each), node.get(each), "the API set them last")
        for each in sorted(file.keys() | node.keys())
        if file.get(each) != node.get(each)
    ]


def _shown(name: str, value: Any) -> str | None:
    if value is None:
        return None
    return _SECRET if name in TOKENS else str(value)
