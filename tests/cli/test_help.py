"""`--help` of every command, on a terminal of 80 columns: each name of an option can be read."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer import Context
from typer.main import get_command

from fastilp.cli.main import application
from tests.cli.command import fastilp

WIDTH = 80


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command by the words that call it, as a call finds it."""
    yield words, command
    if hasattr(command, "list_commands"):
        context = Context(command)
        for name in command.list_commands(context):
            _, found, _ = command.resolve_command(context, [name])
            yield from commands(found, (*words, name))


ALL = list(commands(get_command(application())))


def test_there_are_many() -> None:
    assert len(ALL) > 40


@pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) for words, _ in ALL])
def test_names_of_options_are_whole(words: tuple[str, ...], command: Any) -> None:
    done = fastilp(*words, "--help", environment={"COLUMNS": str(WIDTH)})
    assert done.status == 0
    assert all(len(line) <= WIDTH for line in done.stdout.splitlines())
    shown = set(done.stdout.replace(",", " ").split())
    for parameter in command.params:
        if not getattr(parameter, "hidden", False):
            names = parameter.opts if parameter.param_type_name == "option" else ()
            assert set(names) <= shown
