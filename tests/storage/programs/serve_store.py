"""A store in a process of its own, driven through pipes: one JSON command a line, one JSON answer.

serve_store.py PATH DURABILITY
"""

import json
import select
import sys
from typing import Any

from fastilp._core.store import Store
from fastilp.errors import StorageError
from tests.storage.rows import pack, unpack


def answer(store: Store, command: dict[str, Any]) -> object:
    match command["do"]:
        case "write":
            rows = [(index, pack(index, debits_posted=command["ticket"]))
                    for index in command["accounts"]]  # fmt: skip
            store.write(command["ticket"], rows, [(b"ticket", b"%d" % command["ticket"])])
        case "wait":
            return store.wait(command["ticket"], 60.0)
        case "sleep":
            store.asleep(command["ticket"])
            select.select([store.fileno()], [], [])
            store.awake()
            return select.select([store.fileno()], [], [], 0)[0] == []
        case "stats":
            return {**store.stats(), "committed": store.committed_ticket}
        case "read":
            debits = [(row[:16].hex(), unpack(row)["debits_posted"]) for row in store.rows()]
            return {"debits": sorted(debits), "ticket": (store.get(b"ticket") or b"0").decode()}
        case "close":
            try:
                store.close()
            except StorageError as error:
                return str(error)
    return None


def main() -> None:
    store = Store(sys.argv[1], sync=sys.argv[2] == "commit", preallocate=1 << 20)
    print("null", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(store, json.loads(line))), flush=True)


main()
