"""Bytes that RFCs and other implementations vouch for, each with its source. Imports nothing."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def load(name: str) -> list[dict[str, Any]]:
    """The vectors of `<name>.json`."""
    vectors: list[dict[str, Any]] = json.loads((HERE / f"{name}.json").read_text())["vectors"]
    return vectors
