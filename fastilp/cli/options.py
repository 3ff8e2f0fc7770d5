"""Options that commands about a running node share. Imports typer.

The names, variables and defaults are those of ilp-cli.
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

DEFAULT_NODE = "http://localhost:7770"

_PANEL = "Node"


def _option(*names: str, variable: str | None = None, **more: Any) -> Any:
    return typer.Option(*names, envvar=variable, show_envvar=False, rich_help_panel=_PANEL, **more)


_NODE = ("--node", "--url")
_NODE_HELP = {
    "help": "The node's base URL; also ILP_CLI_NODE_URL.",
    "show_default": DEFAULT_NODE,
}
_AUTH = ("--auth", "--token")
_AUTH_HELP = {
    "help": "The node's admin_auth_token, or the account's own token where that is enough; also"
    " ILP_CLI_API_AUTH."
}
NodeUrl = Annotated[str | None, _option(*_NODE, **_NODE_HELP)]
Auth = Annotated[str | None, _option(*_AUTH, **_AUTH_HELP)]
# Only those before the command read variables, so that a variable never wins over a flag there.
RootNodeUrl = Annotated[str | None, _option(*_NODE, variable="ILP_CLI_NODE_URL", **_NODE_HELP)]
RootAuth = Annotated[str | None, _option(*_AUTH, variable="ILP_CLI_API_AUTH", **_AUTH_HELP)]
ConfigFile = Annotated[
    Path | None,
    _option("--config", "-c", help="The node's TOML file, instead of --node and --auth."),
]
CaFile = Annotated[
    Path | None,
    _option("--ca-file", help="PEM file of the certificates to trust, not the system's."),
]
Quiet = Annotated[bool, _option("--quiet", "-q", help="Print nothing on success.")]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="The body of the node's answer, as it came; so does a pipe."),
]
AsTable = Annotated[bool, typer.Option("--table", help="A table, into a pipe too.")]


class Given(NamedTuple):
    """Which node, and by which token."""

    node: str | None = None
    auth: str | None = None


class RootOptions(NamedTuple):
    """What was given before the command's name, and by variables."""

    flags: Given = Given()
    variables: Given = Given()
    quiet: bool = False


def root_options(context: typer.Context) -> RootOptions:
    """Of the command that is called."""
    found = context.find_root().obj
    return found if isinstance(found, RootOptions) else RootOptions()


def given_before(context: typer.Context, name: str, value: str | None) -> tuple[str | None, ...]:
    """The value as a flag's, and as a variable's."""
    source = context.get_parameter_source(name)
    is_flag = source is not None and source.name == "COMMANDLINE"
    return (value, None) if is_flag else (None, value)
