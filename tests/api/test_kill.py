"""`kill -9` while accounts change: each change is wholly there or wholly absent, and what was
answered with success is there."""

import http.client
import os
import threading
from pathlib import Path
from typing import Any

from tests.api.client import Api
from tests.node_process import NodeProcess

SOAK = bool(os.environ.get("FASTILP_SOAK"))
# So many changes are under way; each kill comes later among them than the one before.
CHANGES = 1_000 if SOAK else 160
CONNECTIONS = 8
KILLS = 20 if SOAK else 3


class Enough:
    """Tells when so many changes were answered, or nobody makes any more."""

    def __init__(self, changes: int) -> None:
        self._left = changes
        self._lock = threading.Lock()
        self.reached = threading.Event()

    def count(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                self.reached.set()


class Worker(threading.Thread):
    """One connection that makes, changes and closes accounts of its own."""

    def __init__(self, node: NodeProcess, number: int, round_: int, enough: Enough) -> None:
        super().__init__()
        self._node = node
        self._number = number
        self._round = round_
        self._enough = enough
        self.done: list[tuple[str, dict[str, Any] | None]] = []
        """Username, and the account as it was shown; None: closed. In order."""
        self.last: tuple[str, dict[str, Any] | None] | None = None
        """What was not answered any more."""

    def run(self) -> None:
        api = Api(self._node)
        try:
            for change in range(CHANGES // CONNECTIONS):
                username = f"w{self._round}_{self._number}_{change // 3}"
                self._change(api, username, change)
                self._enough.count()
        except (OSError, http.client.HTTPException):
            # The node was killed.
            assert self._enough.reached.is_set()
        finally:
            self._enough.reached.set()
            api.close()

    def _change(self, api: Api, username: str, change: int) -> None:
        body = {
            "username": username,
            "asset_code": "ABC",
            "asset_scale": 9,
            "min_balance": -change,
            "max_packet_amount": change,
            "ilp_over_http_incoming_token": f"token-{change}",
            "ilp_over_http_outgoing_token": f"out-{change}",
        }
        step = change % 3
        self.last = username, None if step == 2 else body
        if step == 0:
            answer = api.call("POST", "/accounts", body)
        elif step == 1:
            answer = api.call("PUT", f"/accounts/{username}", body)
        else:
            answer = api.call("DELETE", f"/accounts/{username}")
        assert answer.status == 200, answer
        self.done.append((username, None if step == 2 else answer.json()))
        self.last = None


def test_kill_9_during_changes(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "node", "")
    expected: dict[str, dict[str, Any] | None] = {}
    unsure: dict[str, dict[str, Any] | None] = {}
    changes = 0
    for round_ in range(KILLS):
        node.start()
        enough = Enough(CHANGES * (round_ + 1) // (KILLS + 1))
        workers = [Worker(node, number, round_, enough) for number in range(CONNECTIONS)]
        for worker in workers:
            worker.start()
        enough.reached.wait()
        node.kill()
        for worker in workers:
            worker.join()
            expected.update(worker.done)
            changes += len(worker.done)
            if worker.last is not None:
                unsure[worker.last[0]] = worker.last[1]
        node.start()
        api = Api(node)
        found = {each["username"]: each for each in api.get("/accounts").json()}
        for username, shown in expected.items():
            if username in unsure:
                continue
            assert found.get(username) == shown, username
        for username, body in unsure.items():
            compare(found.get(username), expected.get(username), body)
            # From now on it is what it was found to be.
            expected[username] = found.get(username)
        unsure.clear()
        assert set(found) == {name for name, shown in expected.items() if shown is not None}
        for username in list(found)[:5]:
            assert api.get(f"/accounts/{username}/status").json()["balance"] == "0"
        api.close()
        node.kill()
    # In the middle of them: between the first and the last one.
    assert CHANGES < changes < CHANGES * KILLS


def compare(
    found: dict[str, Any] | None, before: dict[str, Any] | None, body: dict[str, Any] | None
) -> None:
    """An unanswered change: all of it, or nothing of it."""
    if found is None:
        assert before is None or body is None
    elif found != before:
        assert body is not None
        assert (found["min_balance"], found["max_packet_amount"]) == (
            body["min_balance"],
            body["max_packet_amount"],
        )
