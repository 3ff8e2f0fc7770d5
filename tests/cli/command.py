"""Our command line, called in this process."""

from typing import NamedTuple

from typer.testing import CliRunner

from fastilp.cli.main import application
from fastilp.errors import FastILPError


class Done(NamedTuple):
    status: int
    stdout: str
    stderr: str


def fastilp(*arguments: str, environment: dict[str, str] | None = None) -> Done:
    """As `main` would end it."""
    result = CliRunner().invoke(
        application(), arguments, prog_name="fastilp", env=environment, catch_exceptions=True
    )
    error = result.exception
    if isinstance(error, FastILPError):
        return Done(1, result.stdout, f"fastilp: {error}\n")
    if error is not None and not isinstance(error, SystemExit):
        raise error
    return Done(result.exit_code, result.stdout, result.stderr)
