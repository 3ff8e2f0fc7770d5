"""Rows as the ledger packs them, and the programs that tests of the store run as processes.

Imports the standard library only: the programs of `storage/programs` use it too.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "programs"
COUNTERS = (
    "debits_pending", "debits_posted", "credits_pending", "credits_posted",
    "prepaid_pending", "prepaid_posted", "debits_relayed",
)  # fmt: skip


def account_id(index: int) -> bytes:
    return (index + 1).to_bytes(16, "big")


def pack(index: int, **counters: int) -> bytes:
    """The 128-byte record of account `index`."""
    values = [counters.get(name, 0).to_bytes(16, "little") for name in COUNTERS]
    return account_id(index) + b"".join(values)


def unpack(row: bytes) -> dict[str, int]:
    assert len(row) == 128
    return {
        name: int.from_bytes(row[16 * position : 16 * position + 16], "little")
        for position, name in enumerate(COUNTERS, 1)
    }


def by_id(rows: list[bytes]) -> dict[bytes, bytes]:
    return {row[:16]: row for row in rows}


class Books:
    """Transfers between accounts, the same for the same seed: what ticket n leaves is known to
    whoever counts along."""

    def __init__(self, seed: int, accounts: int) -> None:
        self.random = random.Random(seed)
        self.debits = [0] * accounts
        self.credits = [0] * accounts
        self.ticket = 0

    def step(self) -> list[tuple[int, bytes]]:
        """The next ticket's rows: some transfers, each debiting one account and crediting one."""
        self.ticket += 1
        touched = set()
        for _ in range(self.random.randrange(1, 20)):
            payer, payee = self.random.sample(range(len(self.debits)), 2)
            amount = self.random.randrange(1, 1 << 70)
            self.debits[payer] += amount
            self.credits[payee] += amount
            touched |= {payer, payee}
        return [(index, self.row(index)) for index in sorted(touched)]

    def row(self, index: int) -> bytes:
        return pack(index, debits_posted=self.debits[index], credits_posted=self.credits[index])

    def rows(self) -> dict[bytes, bytes]:
        """Of every account that was ever touched."""
        return {
            account_id(index): self.row(index)
            for index in range(len(self.debits))
            if self.debits[index] or self.credits[index]
        }

    def steps_to(self, ticket: int) -> Iterator[list[tuple[int, bytes]]]:
        while self.ticket < ticket:
            yield self.step()


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **more}


def command(program: str, *arguments: object) -> list[str]:
    return [sys.executable, str(PROGRAMS / program), *map(str, arguments)]


def run(program: str, *arguments: object) -> str:
    """What a program printed; it must end well."""
    done = subprocess.run(
        command(program, *arguments), env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
