"""`fastilp engine accounts`: those that a running engine knows, over its HTTP API."""

from typing import Any

from fastilp.cli.asks_engine import After, EngineClient, Limit, asks_engine
from fastilp.cli.client import Answer, segment
from fastilp.cli.tables import columns, units, value


def _table(page: Any) -> list[str]:
    rows = [("account", "state", "left over", "peer on the ledger", "error")]
    rows += [
        (
            str(each["id"]),
            str(each["state"]),
            units(each["leftover"]["amount"], each["leftover"]["scale"]),
            value(each["peer"]),
            str(each["error"] or ""),
        )
        for each in page["accounts"]
    ]
    lines = columns(rows, right=(2,)) if page["accounts"] else [" no accounts here"]
    return lines + ([f" more: --after {page['next']}"] if page["next"] else [])


@asks_engine(_table)
def command(engine: EngineClient, limit: Limit = 100, after: After = "") -> Answer:
    """List the accounts of a running engine: whether they are set up, what is left over of their
    settlements as too fine for the ledger, and who their peer is there.

    Examples:

        fastilp engine accounts --engine http://127.0.0.1:3000

        fastilp engine accounts --config ethereum.toml --json
    """
    query = f"?limit={limit}" + (f"&after={segment(after)}" if after else "")
    return engine.get(f"/admin/accounts{query}")
