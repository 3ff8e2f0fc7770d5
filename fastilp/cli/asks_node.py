"""The decorator of commands about a running node: they get a client, and return its answer.

Adds the shared options (`options`) to a command's own, connects, and prints: a table on a
terminal, the body as it came into a pipe, as ilp-cli does. Imports typer.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any

import typer

from fastilp.cli import options
from fastilp.cli.client import TIMEOUT_SECONDS, Answer
from fastilp.cli.connect import connect

Table = Callable[[Any], list[str]]
"""Lines for people, out of the decoded body."""

_SHARED = (
    ("node", options.NodeUrl, None),
    ("auth", options.Auth, None),
    ("config_file", options.ConfigFile, None),
    ("ca_file", options.CaFile, None),
    ("quiet", options.Quiet, False),
)
OUTPUT = (("as_json", options.AsJson, False), ("as_table", options.AsTable, False))


def asks_node(
    table: Table | None = None, *, timeout_seconds: float | None = TIMEOUT_SECONDS
) -> Callable[[Callable[..., Answer | None]], Callable[..., None]]:
    """For a function that takes a NodeClient, then its own arguments. Without a table the body is
    for people already. A function that prints by itself returns None."""

    def decorate(function: Callable[..., Answer | None]) -> Callable[..., None]:
        output = OUTPUT if table is not None else ()

        def command(context: typer.Context, **values: Any) -> None:
            shared = {name: values.pop(name) for name, _, _ in (*_SHARED, *output)}
            root = options.root_options(context)
            client = connect(
                root,
                options.Given(shared["node"], shared["auth"]),
                config_file=shared["config_file"],
                ca_file=shared["ca_file"],
                timeout_seconds=timeout_seconds,
            )
            answer = function(client, **values)
            if answer is not None and not (shared["quiet"] or root.quiet):
                show(answer, table, shared)

        sign(command, function, (*_SHARED, *output))
        return command

    return decorate


def show(answer: Answer, table: Table | None, shared: dict[str, Any]) -> None:
    """`shared` has the values of OUTPUT."""
    for_people = shared.get("as_table") or sys.stdout.isatty()
    if table is not None and for_people and not shared["as_json"]:
        for line in table(answer.json()):
            typer.echo(line)
    else:
        typer.echo(answer.body)


def sign(
    command: Callable[..., None],
    function: Callable[..., Answer | None],
    shared: tuple[tuple[str, Any, Any], ...],
) -> None:
    """typer reads options off a signature: the function's own without the client, and ours."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    _, *own = inspect.signature(function).parameters.values()
    parameters = [
        inspect.Parameter("context", keyword, annotation=typer.Context),
        *(parameter.replace(kind=keyword) for parameter in own),
        *(
            inspect.Parameter(name, keyword, default=default, annotation=annotation)
            for name, annotation, default in shared
        ),
    ]
    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
