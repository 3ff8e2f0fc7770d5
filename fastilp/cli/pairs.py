"""`--pair A B`, any number of times: typer knows no list of pairs. Imports typer."""

from typing import Any

import typer
from typer.core import TyperCommand

from fastilp.errors import UsageError

# No argument of a process can hold it.
_JOINT = "\0"
_FLAG = "--pair"


class PairCommand(TyperCommand):
    """A command of which each `--pair` takes two values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        joined, waiting = [], list(args)
        while waiting:
            word = waiting.pop(0)
            joined.append(word)
            if word == _FLAG and len(waiting) >= 2:
                joined.append(waiting.pop(0) + _JOINT + waiting.pop(0))
        return super().parse_args(ctx, joined)


def pair_option(metavar: str, help_text: str) -> Any:
    return typer.Option(_FLAG, metavar=metavar, help=f"{help_text} Repeatable.")


def as_map(pairs: list[str] | None) -> dict[str, str]:
    found = {}
    for pair in pairs or []:
        name, joint, value = pair.partition(_JOINT)
        if not joint:
            raise UsageError(f"{_FLAG} takes two values, here is only {pair!r}")
        found[name] = value
    return found
