"""What a body says of an account, and what the account becomes by it. Imports the context, bodies,
models and records.

A token is never shown, so the text that is shown in its place (`SECRET`) is never one: it means the
token that is there. Unknown fields are ignored, as Interledger.rs does, and the log names them; our
own call refuses them.
"""

import difflib
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, SecretStr

from fastilp.control.api.bodies import data_problem, model_of, object_of
from fastilp.control.api.context import Context
from fastilp.control.api.models import REQUIRED_FIELDS, AccountIn, SettingsIn
from fastilp.control.records import INCOMING_TOKENS, TOKENS
from fastilp.control.values import SECRET
from fastilp.control.vault import Vault
from fastilp.types import AccountDetails

_log = logging.getLogger("fastilp.api")

Change = Callable[[AccountDetails], AccountDetails]
"""From what an account is to what it becomes. Raises Problem."""

Fields = dict[str, Any]
# What is said about names that nobody knows: of so many, and so much of each.
_UNKNOWN_MAX = 3
_NAME_SIZE_MAX = 40
# Shown with every account, and nobody's to change.
_READ_ONLY = {"id"}
_NOBODY = {"username": "nobody", "asset_code": "NONE", "asset_scale": 0}


def created(context: Context, content_type: str | None, body: bytes) -> AccountDetails:
    """A new account. Raises Problem."""
    fields = object_of(content_type, body)
    _note_unknown(AccountIn, fields)
    return _details(context, model_of(AccountIn, fields))


def replaced(context: Context, username: str, content_type: str | None, body: bytes) -> Change:
    """The account is what the body says, and nothing else. Raises Problem."""
    fields = object_of(content_type, body)
    _note_unknown(AccountIn, fields)
    kept = _take_kept(fields)
    details = _details(context, model_of(AccountIn, fields))
    _check_username(details.username, username)
    return lambda old: replace(details, **_kept(old, kept))


def patched(context: Context, username: str, content_type: str | None, body: bytes) -> Change:
    """What the body names changes; null unsets. Raises Problem."""
    fields = object_of(content_type, body)
    _refuse_unknown(fields)
    kept = _take_kept(fields)
    for name in REQUIRED_FIELDS:
        if name in fields and fields[name] is None:
            raise data_problem(f"{name}: every account has one", [{"name": name}])
    given = model_of(AccountIn, {**_NOBODY, **fields})
    if "username" in fields:
        _check_username(given.username, username)
    names = fields.keys() & AccountIn.model_fields.keys() - {"username"}
    values = _plain(given, context.accounts.vault, names)
    if "ilp_address" in values and values["ilp_address"] is None:
        values["ilp_address"] = _default_address(context, username)

    def changed(old: AccountDetails) -> AccountDetails:
        return _checked(replace(old, **values, **_kept(old, kept)))

    return changed


def resettled(context: Context, username: str, content_type: str | None, body: bytes) -> Change:
    """What an account's holder may change does; null is as good as nothing. Raises Problem."""
    fields = object_of(content_type, body)
    _note_unknown(SettingsIn, fields)
    kept = _take_kept(fields)
    given = model_of(SettingsIn, fields)
    values = _plain(given, context.accounts.vault, given.model_fields_set)
    return lambda old: replace(old, **values, **_kept(old, kept))


# --- Values ---------------------------------------------------------------------------------------


def _details(context: Context, given: AccountIn) -> AccountDetails:
    values = _plain(given, context.accounts.vault, AccountIn.model_fields)
    if values["ilp_address"] is None:
        values["ilp_address"] = _default_address(context, given.username)
    return _checked(AccountDetails(**values))


def _default_address(context: Context, username: str) -> str:
    return f"{context.switch.address}.{username}"


def _checked(details: AccountDetails) -> AccountDetails:
    """What is each right, and not together."""
    low, high = details.min_balance, details.max_balance
    if low is not None and high is not None and low > high:
        raise data_problem("min_balance: must not be above max_balance", [{"name": "min_balance"}])
    if details.endpoint and (details.ilp_over_http_url or details.ilp_over_btp_url):
        raise data_problem("endpoint: leave it out, or the URL", [{"name": "endpoint"}])
    return details


def _plain(given: AccountIn | SettingsIn, vault: Vault, names: Iterable[str]) -> Fields:
    """Field values, incoming tokens hashed."""
    values: Fields = {}
    for name in names:
        value = getattr(given, name)
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            value = vault.hash(text) if name in INCOMING_TOKENS else text
        values[name] = value
    return values


def _take_kept(fields: Fields) -> list[str]:
    """The tokens that are to stay leave the fields."""
    kept = [name for name in TOKENS if fields.get(name) == SECRET]
    for name in kept:
        del fields[name]
    return kept


def _kept(old: AccountDetails, names: list[str]) -> Fields:
    missing = [name for name in names if getattr(old, name) is None]
    if missing:
        detail = f"{SECRET} means the token that is there, and there is none: leave it out"
        invalid = [{"name": name} for name in missing]
        raise data_problem(f"{', '.join(missing)}: {detail}, or give the token", invalid)
    return {name: getattr(old, name) for name in names}


def _check_username(said: str, username: str) -> None:
    if said != username:
        raise data_problem(f"username: must be `{username}`", [{"name": "username"}])


# --- Names that nobody knows ----------------------------------------------------------------------


def _unknown(model: type[BaseModel], fields: Fields) -> list[str]:
    return [name for name in fields if name not in model.model_fields and name not in _READ_ONLY]


def _note_unknown(model: type[BaseModel], fields: Fields) -> None:
    """Never a value: it may be a token."""
    unknown = _unknown(model, fields)
    for name in unknown[:_UNKNOWN_MAX]:
        if name in AccountIn.model_fields:
            hint = "only the admin can change it: PATCH /accounts/<username>"
        else:
            close = _nearest(name, model)
            hint = f"did you mean {close}?" if close else "there is no such field"
        extra = {"field": _shortened(name), "reason": hint}
        _log.warning("a field of a request is ignored", extra=extra)
    if len(unknown) > _UNKNOWN_MAX:
        _log.warning("more fields of a request are ignored", extra={"count": len(unknown)})


def _refuse_unknown(fields: Fields) -> None:
    for name in _unknown(AccountIn, fields):
        close = _nearest(name, AccountIn)
        shown = _shortened(name)
        hint = f"; did you mean {close}?" if close else ""
        raise data_problem(f"{shown}: is not a field of an account{hint}", [{"name": shown}])


def _nearest(name: str, model: type[BaseModel]) -> str:
    close = difflib.get_close_matches(name[:_NAME_SIZE_MAX], model.model_fields, n=1)
    return close[0] if close else ""


def _shortened(name: str) -> str:
    text = name.encode("unicode_escape").decode()
    return text if len(text) <= _NAME_SIZE_MAX else f"{text[:_NAME_SIZE_MAX]}…"
