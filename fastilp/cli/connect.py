"""The node that a command is about: which one, and by which token. Imports config and options.

`--config` takes from a node's own file where it listens, and the admin's token.
"""

from pathlib import Path

from fastilp import config
from fastilp.cli.client import TIMEOUT_SECONDS, NodeClient
from fastilp.cli.options import DEFAULT_NODE, Given, RootOptions
from fastilp.config.models import ListenConfig, Settings


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
