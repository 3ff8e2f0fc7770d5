"""Another `ilp_address` in the settings: accounts of the API below the old one move along."""

from pathlib import Path
from typing import Any

from tests.api.client import Api
from tests.node_process import NodeProcess

SETTINGS = """
[[accounts]]
username = "filed"
asset_code = "ABC"
asset_scale = 9
endpoint = "loopback"
"""


def addresses(node: NodeProcess) -> dict[str, str]:
    return {each["username"]: each["ilp_address"] for each in node.get("/accounts")}


def restarted(node: NodeProcess, before: str, after: str) -> list[dict[str, Any]]:
    """What the next start says about the address."""
    node.kill()
    node.config.write_text(node.config.read_text().replace(f'"{before}"', f'"{after}"'))
    node.start()
    about = "the node has another address"
    return [event for event in node.events() if event["message"].startswith(about)]


def test_accounts_move_along(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", SETTINGS, "example.old") as node:
        api = Api(node)
        names = [f"user_{number}" for number in range(7)]
        for name in names:
            api.create(name, ilp_over_http_incoming_token=f"{name}-token")
        api.create("far", ilp_address="g.elsewhere.far", routing_relation="Peer")
        api.create("lookalike", ilp_address="example.older.lookalike")
        api.close()
        [said] = restarted(node, "example.old", "example.new")
        assert (said["level"], said["count"], said["accounts"]) == ("warning", 7, names[:5])
        wanted = {name: f"example.new.{name}" for name in (*names, "filed")}
        wanted |= {"far": "g.elsewhere.far", "lookalike": "example.older.lookalike"}
        assert addresses(node) == wanted
        routes = node.get("/routes")
        assert {prefix: name for name, prefix in wanted.items()}.items() <= routes.items()
        assert not [prefix for prefix in routes if prefix.startswith("example.old.")]
        # Once, and for good.
        assert restarted(node, "example.new", "example.new") == []
        assert addresses(node) == wanted
        # And back.
        assert len(restarted(node, "example.new", "example.old")) == 1
        assert addresses(node)["user_6"] == "example.old.user_6"


def test_a_place_that_is_taken_moves_nobody(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "node", SETTINGS, "example.old") as node:
        api = Api(node)
        api.create("alice")
        api.create("squatter", ilp_address="example.new.alice")
        api.close()
        for _ in range(2):
            [said] = restarted(node, "example.old", "example.new")
            assert said["accounts"] == ["alice"] and "squatter is" in said["reason"]
            assert addresses(node) == {
                "alice": "example.old.alice",
                "filed": "example.new.filed",
                "squatter": "example.new.alice",
            }
        api = Api(node)
        moved = {"ilp_address": "example.new.squatter"}
        assert api.call("PATCH", "/accounts/squatter", moved).status == 200
        # The default again, by hand.
        answer = api.call("PATCH", "/accounts/alice", {"ilp_address": None})
        assert answer.json()["ilp_address"] == "example.new.alice"
        api.close()
        assert restarted(node, "example.old", "example.new") == []
