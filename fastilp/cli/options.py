"""Options that commands about a running node share, and the node that they name.

Imports config and errors. The names, variables and defaults are those of ilp-cli; `--config` takes
from a node's own file where it listens, and the admin's token.
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from fastilp import config
from fastilp.cli.client import TIMEOUT_SECONDS, NodeClient
from fastilp.config.models import ListenConfig, Settings

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


def connect(
    root: RootOptions,
    given: Given,
    *,
    config_file: Path | None = None,
    ca_file: Path | None = None,
    timeout_seconds: float | None = TIMEOUT_SECONDS,
) -> NodeClient:
    """What is nearest to the command wins: its flags, flags before it, the file, variables."""
    settings = config.load(config_file) if config_file is not None else None
    configured = Given(_url(settings.listen), _token(settings)) if settings else Given()
    sources = (given, root.flags, configured, root.variables, Given(DEFAULT_NODE))
    url = next(source.node for source in sources if source.node)
    token = next((source.auth for source in sources if source.auth), None)
    return NodeClient(url, token, ca_file, timeout_seconds)


def _url(listen: ListenConfig) -> str:
    """Where the admin API is."""
    if listen.admin is not None:
        return f"{'https' if listen.admin_tls_certificate else 'http'}://{listen.admin}"
    return f"{'https' if listen.http_tls_certificate else 'http'}://{listen.http}"


def _token(settings: Settings) -> str | None:
    token = settings.node.admin_auth_token
    return token.get_secret_value() if token else None
