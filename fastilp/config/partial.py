"""Contradictions between settings of which some are wrong by themselves, so that one look at a file
finds every mistake. Imports `models`.

What is wrong is left out, or replaced where a setting must be; a contradiction that could come from
that alone is not reported.
"""

import copy
from typing import Any

from pydantic import ValidationError

from fastilp.config.models import Settings, contradictions

Problems = list[tuple[str, str]]

# Stands in for a required key that is missing or wrong; the key has been reported.
_STAND_IN = {"asset_code": "NONE", "asset_scale": 0}


def more_problems(error: ValidationError, merged: dict[str, Any], found: Problems) -> Problems:
    """What `contradictions` says of the rest; `found` has been reported for `error`."""
    pruned = copy.deepcopy(merged)
    for item in error.errors():
        if not _prune(pruned, item["loc"]):
            return []
    try:
        settings = Settings(**pruned)
    except ValidationError:
        return []
    reported = {key for key, _ in found}
    return [problem for problem in contradictions(settings) if problem[0] not in reported]


def _prune(merged: dict[str, Any], location: tuple[int | str, ...]) -> bool:
    """Leave out what is wrong there; False where too much would be gone to judge the rest."""
    section, *rest = location
    if not rest or section == "services":
        merged.pop(str(section), None)
        return section not in ("node", "accounts")
    here = merged[str(section)]
    if section == "accounts":
        index, *keys = rest
        if not keys or keys[0] == "username":
            return False
        here, rest = here[index], keys
    key = str(rest[0])
    if section == "node" and key == "ilp_address":
        return False
    here.pop(key, None)
    if section == "accounts" and key in _STAND_IN:
        here[key] = _STAND_IN[key]
    return True
