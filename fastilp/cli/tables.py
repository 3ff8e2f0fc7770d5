"""Text for people: aligned columns and lists of fields. Imports rich's cell widths.

As wide as it must be: a terminal may wrap a line, but no digit of money is left out.
"""

from collections.abc import Container, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from rich.cells import cell_len

from fastilp.cli.client import printable


def columns(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """The first row is the head; columns of these numbers are aligned to the right."""
    cleaned = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*cleaned, strict=True)]
    lines = []
    for row in cleaned:
        cells = []
        for number, (text, width) in enumerate(zip(row, widths, strict=True)):
            padding = " " * (width - cell_len(text))
            cells.append(padding + text if number in right else text + padding)
        lines.append(f" {'  '.join(cells)}".rstrip())
    return lines


def fields(values: Any) -> list[str]:
    """The members of an object, one a line, those that are unset left out."""
    if not isinstance(values, dict):
        return [value(values)]
    rows = [(str(name), value(member)) for name, member in values.items() if member is not None]
    return columns(rows) if rows else []


def pairs(names: tuple[str, str], values: Any) -> list[str]:
    """A map, one row each, in the order of its keys."""
    members = sorted(values.items()) if isinstance(values, dict) else []
    rows = [(str(name) or '""', value(member)) for name, member in members]
    return columns([names, *rows]) if rows else [f" no {names[0]} yet"]


def value(member: Any) -> str:
    if isinstance(member, dict | list):
        items: Iterable[Any] = member.items() if isinstance(member, dict) else enumerate(member)
        return ", ".join(f"{name} {value(each)}" for name, each in items)
    if isinstance(member, bool):
        return "yes" if member else "no"
    return "" if member is None else str(member)


def units(amount: Any, scale: Any) -> str:
    """An amount in whole units of its asset, every digit of it."""
    try:
        return f"{Decimal(str(amount)).scaleb(-int(scale)):,f}"
    except (InvalidOperation, ValueError):
        return str(amount)
