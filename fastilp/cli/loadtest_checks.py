"""What `fastilp loadtest` refuses before a run begins, and what it calls a failure afterwards.

Imports the load generator's documents and errors. A run may take an hour: what would spoil its end
is said before it.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fastilp.cli.codes import NAMES
from fastilp.errors import FastILPError, UsageError
from fastilp.loadtest.complaints import complaints
from fastilp.loadtest.summary import Document, Entry
from fastilp.loadtest.table import replace_figures
from fastilp.loadtest.targets import TARGETS
from fastilp.loadtest.task import Load

# Keys of a load whose flags have shorter names.
_FLAGS = {"rate_of_exchange": "--fx", "reject_share": "--reject"}
_WINDOW = 1024
_HINTS = {
    "F02": "--destination leads nowhere",
    "F05": "the receiver does not know the preimage; `fastilp loadtest run --help` says which",
    "WRG": "Fulfills with another preimage; `fastilp loadtest run --help` says which is right",
    "BAD": "answers that are neither a Fulfill nor a Reject",
    "401": "the connector does not take --token",
    "404": "the connector has no ILP endpoint at that URL",
}


def checked_load(choices: Mapping[str, Any]) -> Load:
    """Of the flags that were given. Raises UsageError."""
    given = {name: value for name, value in choices.items() if value is not None}
    if "window" not in given and "rate" not in given:
        given["window"] = _WINDOW
    try:
        return Load.model_validate(given)
    except ValidationError as error:
        raise UsageError(complaints(error, Load, flag)) from None


def flag(name: str) -> str:
    return _FLAGS.get(name, "--" + name.replace("_", "-"))


def check_together(flags: Mapping[str, Any], needed: str) -> None:
    """None of these flags means anything without that one. Raises UsageError."""
    given = [name for name, value in flags.items() if value]
    if given:
        verb = "means" if len(given) == 1 else "mean"
        raise UsageError(f"{', '.join(given)} {verb} nothing without {needed}")


def check_apart(flags: Mapping[str, Any], other: str, reason: str) -> None:
    """None of these flags means anything beside that one. Raises UsageError."""
    given = [name for name, value in flags.items() if value is not None]
    if given:
        verb = "does" if len(given) == 1 else "do"
        raise UsageError(f"{', '.join(given)} {verb} not go with {other}: {reason}")


def check_targets(names: Collection[str]) -> None:
    """Before the first of them is installed for nothing. Raises UsageError."""
    unknown = [name for name in names if name not in TARGETS]
    if unknown or not names:
        text = ", ".join(map(repr, unknown)) or "nothing"
        verb = "are no targets" if len(unknown) > 1 else "is no target"
        raise UsageError(f"--targets: {text} {verb}; there are: {', '.join(TARGETS)}")


def check_outputs(json_file: Path | None, html: Path | None, readme: Path | None = None) -> None:
    """Whether all of them can be written. Raises UsageError."""
    for name, path in (("--json", json_file), ("--html", html), ("--readme", readme)):
        if path is not None:
            _check_output(name, path)
    if readme is not None:
        try:
            replace_figures(readme.read_text(), "")
        except (OSError, ValueError) as error:
            raise UsageError(f"--readme {readme}: {error}") from None


def _check_output(name: str, path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"{name} {path} cannot be written: there is no folder {folder}")
    if path.is_dir():
        raise UsageError(f"{name} {path} cannot be written: it is a folder")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"{name} {path} cannot be written: permission denied")


def check_fulfilled(found: Document) -> None:
    """Raises FastILPError that names what was loaded to no effect: figures of Rejects alone are
    not those of a connector that works."""
    failed = [text for entry in found["entries"] if (text := _failure(entry))]
    if failed:
        raise FastILPError("nothing was fulfilled: " + "; ".join(failed))


def _failure(entry: Entry) -> str:
    totals = [flow for run in entry["runs"] for flow in run["totals"]]
    wants_rejects = entry["load"].get("reject_share", 0) >= 1
    sent = sum(flow["sent"] for flow in totals)
    if wants_rejects or any(flow["fulfilled"] for flow in totals):
        return ""
    if entry["interrupted"] and not entry["codes"]:
        # Before anything could be answered.
        return ""
    codes = ", ".join(
        f"{count:,} {_meaning(code)}" for code, count in sorted(entry["codes"].items())
    )
    answers = f"answers were {codes}" if codes else f"{sent:,} Prepares got no answer"
    return f"{entry['title']} on {entry['target']}: {answers}"


def _meaning(code: str) -> str:
    name = f"{code} {NAMES[code]}" if code in NAMES else code
    return f"{name} ({_HINTS[code]})" if code in _HINTS else name
