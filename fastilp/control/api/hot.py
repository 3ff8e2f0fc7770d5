"""Balances without the framework: what is asked for many times a second takes a tenth of the time
here. Imports the context and shown.

Answers what is right and plain, to the byte like the route of the same path; everything else,
refusals above all, is left to that route.
"""

import re

from fastilp.control.api.context import Context
from fastilp.control.api.problems import Problem
from fastilp.control.api.shown import balance_json

_BALANCE = re.compile(r"/accounts/(\w+)/balance/?", re.ASCII)


def balance(context: Context, method: str, target: str, authorization: str) -> bytes | None:
    """The body of a 200 as application/json; None: ask the application."""
    found = _BALANCE.fullmatch(target)
    if found is None or method not in ("GET", "HEAD"):
        return None
    try:
        account = context.account_of(authorization, found[1]).account
    except Problem:
        return None
    return balance_json(context.switch.balance(account), account)
