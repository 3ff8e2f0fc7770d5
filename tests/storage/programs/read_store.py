"""Prints what is in a store as JSON. Always a process of its own."""

import json
import sys
from typing import Any

from tests.storage.snapshot import read


def as_json(path: str) -> dict[str, Any]:
    snapshot = read(path)
    return {
        "rows": {key.hex(): value.hex() for key, value in snapshot.rows.items()},
        "records": {key.hex(): value.hex() for key, value in snapshot.records.items()},
        "tickets": snapshot.tickets,
        "databases": snapshot.databases,
        "places": [[found.at, found.end] for found in snapshot.journal],
        "meta": {key.decode(): value.hex() for key, value in snapshot.meta.items()},
    }


if __name__ == "__main__":
    json.dump(as_json(sys.argv[1]), sys.stdout)
