"""The tables of `--help`: a name of an option is never cut. Imports typer's rich tables, so it is
for help only.

rich narrows all columns of a table that is too wide alike, and cuts what is one word. The names are
what help is read for; the words beside them may be wrapped.
"""

from typing import Any

from rich.table import Table
from typer import rich_utils


class _WholeNames(Table):
    """Of typer's columns, the last two are a type and the words."""

    def add_row(self, *cells: Any, **more: Any) -> None:
        super().add_row(*cells, **more)
        for column in self.columns[:-2]:
            column.no_wrap = True


def keep_names_whole() -> None:
    """Whatever help is printed from now on."""
    rich_utils.Table = _WholeNames  # type: ignore[attr-defined]
