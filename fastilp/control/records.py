"""An account's details, its record in the store, and its settings in the core: three types for
three readers, and the ways from one to the other. Imports storage, types and the vault.
"""

import json
from dataclasses import fields
from decimal import Decimal
from typing import Any

from fastilp.control.vault import Vault
from fastilp.storage.kinds import AccountRecord
from fastilp.types import AccountDetails, EndpointKind, Relation

# Details that the switch enforces; it has the same names and defaults.
_CORE_SETTINGS = (
    "min_balance",
    "max_balance",
    "max_packet_amount",
    "packets_per_minute_limit",
    "amount_per_minute_limit",
    "round_trip_time",
    "settle_threshold",
    "settle_to",
    "max_in_flight_amount",
    "in_flight_in_max",
    "in_flight_out_max",
    "max_packet_amount_out",
    "amount_per_minute_limit_out",
    "allowed_destinations",
    "spread",
)
# Lists of prefixes, JSON in a record.
_LISTS = ("allowed_destinations", "import_allow", "import_deny")
_DEFAULTS = {field.name: field.default for field in fields(AccountDetails)}
_PLAIN = {
    "account_id",
    "username",
    "ilp_address",
    "asset_code",
    "asset_scale",
    "origin",
    "ilp_over_http_incoming_token",
}
OUTGOING_TOKENS = tuple(name for name in _DEFAULTS if name.endswith("_outgoing_token"))
INCOMING_TOKENS = tuple(name for name in _DEFAULTS if name.endswith("_incoming_token"))
TOKENS = INCOMING_TOKENS + OUTGOING_TOKENS


def core_settings(details: AccountDetails) -> dict[str, Any]:
    """What the switch enforces."""
    settings = {name: getattr(details, name) for name in _CORE_SETTINGS}
    threshold, target = details.settle_threshold, details.settle_to
    if threshold is None or target is None or target >= threshold:
        # Settlement fires only where both are set, and the one is above the other.
        settings["settle_threshold"] = settings["settle_to"] = None
    return settings


def new_core_settings(details: AccountDetails) -> dict[str, Any]:
    """The same for an account that has none yet: what is not the default."""
    settings = core_settings(details)
    return {name: value for name, value in settings.items() if value != _DEFAULTS[name]}


def record_of(
    account_id: bytes, details: AccountDetails, origin: str, vault: Vault
) -> AccountRecord:
    values: dict[str, Any] = {name: getattr(details, name) for name in _DEFAULTS}
    for name in OUTGOING_TOKENS:
        if values[name] is not None:
            values[name] = vault.seal(account_id, name, values[name])
    values["routing_relation"] = details.routing_relation.value
    values["endpoint"] = details.endpoint.value if details.endpoint else None
    for name in _LISTS:
        if values[name] is not None:
            values[name] = json.dumps(values[name])
    values["spread"] = None if details.spread is None else str(details.spread)
    return AccountRecord(account_id=account_id, origin=origin, **values)


def is_plain(fields: dict[str, Any]) -> bool:
    """Whether a record's fields set nothing but who it is and how it comes in over HTTP: then the
    switch needs no settings for it, and nobody is dialled."""
    return _PLAIN >= fields.keys()


def plain_details(fields: dict[str, Any]) -> AccountDetails:
    """The details of such an account, in a few microseconds."""
    return AccountDetails(**{name: value for name, value in fields.items() if name in _DEFAULTS})


def details_of_record(record: AccountRecord, vault: Vault) -> AccountDetails:
    values: dict[str, Any] = {name: getattr(record, name) for name in _DEFAULTS}
    for name in OUTGOING_TOKENS:
        if values[name] is not None:
            values[name] = vault.unseal(record.account_id, name, values[name])
    values["routing_relation"] = Relation(record.routing_relation)
    values["endpoint"] = EndpointKind(record.endpoint) if record.endpoint else None
    for name in _LISTS:
        if values[name] is not None:
            values[name] = tuple(json.loads(values[name]))
    values["spread"] = None if record.spread is None else Decimal(record.spread)
    return AccountDetails(**values)
