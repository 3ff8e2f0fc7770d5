"""What a node did between two looks at its status: rates, changes of balances, rejects."""

from typing import Any, NamedTuple

from fastilp.cli.tables import columns, units, value

# Outcomes that are no reject and no fault.
_GOOD = ("forwarded", "fulfilled", "punted")
# Of a link that only the peer can dial.
WAITS = "waits for the peer"


class Outcome(NamedTuple):
    """How often one reject or fault happened."""

    name: str
    per_second: float
    total: int


class AccountActivity(NamedTuple):
    """One account; amounts in its smallest unit, as strings."""

    username: str
    asset_code: str
    asset_scale: int
    balance: str
    change: str
    pending_in: str
    pending_out: str
    links: dict[str, bool]
    links_awaited: list[str]
    moved: str


class Activity(NamedTuple):
    """One report; `seconds` is the time that it covers."""

    ilp_address: str
    seconds: float
    in_flight: int
    fulfilled_per_second: float
    rejected_per_second: float
    outcomes: list[dict[str, Any]]
    accounts: list[dict[str, Any]]


def activity(before: dict[str, Any], after: dict[str, Any], seconds: float) -> Activity:
    """Between two answers of `GET /status`; accounts in the order of what moved on them. A counter
    that went down was started anew with its node, so all of it is new."""
    counts = {name: int(count) for name, count in after["statuses"].items()}
    fresh = {name: _growth(before["statuses"].get(name, 0), counts[name]) for name in counts}
    bad = [name for name in counts if name not in _GOOD]
    outcomes = [Outcome(name, fresh[name] / seconds, counts[name]) for name in bad]
    earlier = {account["username"]: account for account in before["accounts"]}
    accounts = [_account(earlier.get(each["username"]), each) for each in after["accounts"]]
    accounts.sort(key=lambda account: (-int(account.moved), account.username))
    return Activity(
        ilp_address=str(after["ilp_address"]),
        seconds=seconds,
        in_flight=int(after["in_flight"]),
        fulfilled_per_second=fresh.get("fulfilled", 0) / seconds,
        rejected_per_second=sum(fresh[name] for name in bad) / seconds,
        outcomes=[each._asdict() for each in sorted(outcomes, key=_by_rate)],
        accounts=[account._asdict() for account in accounts],
    )


def lines(found: Activity, accounts_max: int | None = None) -> list[str]:
    """For people; all accounts, or the busiest."""
    shown = found.accounts[:accounts_max]
    left_out = len(found.accounts) - len(shown)
    return [
        f"{found.ilp_address}  {found.in_flight:,} in flight"
        f"  {found.fulfilled_per_second:,.0f} fulfilled/s"
        f"  {found.rejected_per_second:,.0f} rejected/s",
        "",
        *(_account_lines(shown) if shown else []),
        *([f" and {left_out:,} more accounts"] if left_out else []),
        "",
        *_outcome_lines(found.outcomes),
    ]


def _growth(before: Any, after: int) -> int:
    growth = after - int(before)
    return growth if growth >= 0 else after


def _by_rate(outcome: Outcome) -> tuple[float, int, str]:
    return (-outcome.per_second, -outcome.total, outcome.name)


def _account(before: dict[str, Any] | None, after: dict[str, Any]) -> AccountActivity:
    counters = after["counters"]
    earlier = before["counters"] if before else {}
    balance = int(after["balance"])
    moved = sum(
        _growth(earlier.get(name, 0), int(counters[name]))
        for name in ("debits_posted", "credits_posted")
    )
    return AccountActivity(
        username=str(after["username"]),
        asset_code=str(after["asset_code"]),
        asset_scale=int(after["asset_scale"]),
        balance=str(balance),
        change=str(balance - int(before["balance"])) if before else str(balance),
        pending_in=str(counters["debits_pending"]),
        pending_out=str(counters["credits_pending"]),
        links=dict(after["links"]),
        links_awaited=list(after.get("links_awaited", ())),
        moved=str(moved),
    )


def _account_lines(accounts: list[dict[str, Any]]) -> list[str]:
    head = ("account", "asset", "balance", "change", "pending in", "pending out", "links")
    rows = [head, *(_account_row(account) for account in accounts)]
    return columns(rows, right=(2, 3, 4, 5))


def _account_row(account: dict[str, Any]) -> tuple[str, ...]:
    scale = account["asset_scale"]
    change = int(account["change"])
    return (
        account["username"],
        f"{account['asset_code']}/{scale}",
        units(account["balance"], scale),
        f"{'+' if change > 0 else ''}{units(change, scale)}" if change else "",
        units(account["pending_in"], scale),
        units(account["pending_out"], scale),
        ", ".join(_link(kind, up, account) for kind, up in account["links"].items()),
    )


def _link(kind: str, up: bool, account: dict[str, Any]) -> str:
    if kind in account["links_awaited"]:
        return f"{kind} {WAITS}"
    return kind if up else f"{kind} DOWN"


def _outcome_lines(outcomes: list[dict[str, Any]]) -> list[str]:
    if not outcomes:
        return [" no rejects since the start"]
    rows = [("reject or fault", "per second", "since the start")]
    rows += [
        (value(each["name"]), f"{each['per_second']:,.1f}", f"{each['total']:,}")
        for each in outcomes
    ]
    return columns(rows, right=(1, 2))
