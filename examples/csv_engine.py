"""A settlement engine of 60 lines: each row of a CSV file is a payment (docs/settlement.md).
Alice's, whose peer is bob:
    python examples/csv_engine.py 127.0.0.1:3000 http://127.0.0.1:7771 alice bob ledger.csv
"""

import asyncio
import csv
import fcntl
import sys

from fastilp.engines import Engine, EngineSettings, Quantity, serve


class CsvSettings(EngineSettings):
    name: str
    peer: str
    ledger: str


class CsvEngine(Engine[CsvSettings]):
    scale = 2  # The ledger counts cents.

    async def start(self) -> None:
        self.watcher = asyncio.create_task(self.watch())

    async def stop(self) -> None:
        self.watcher.cancel()

    async def create_account(self, account_id: str) -> None:
        with self.context.change() as change:
            change.put("account", account_id)

    async def send_money(self, account_id: str, quantity: Quantity, key: str) -> None:
        with open(self.settings.ledger, "a+", newline="") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            row = [self.settings.name, key, self.settings.peer, str(quantity.amount)]
            if row not in csv.reader(file):
                csv.writer(file).writerow(row)

    async def watch(self) -> None:
        while True:
            with open(self.settings.ledger, "a+", newline="") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                file.seek(0)
                rows = list(csv.reader(file))
            with self.context.change() as change:
                account = change.get("account")
                for payer, key, payee, amount in rows if account else ():
                    if (payer, payee) == (self.settings.peer, self.settings.name):
                        change.credit(account, Quantity(int(amount), self.scale), key)
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    names = ["settlement_api_bind_address", "connector_url", "name", "peer", "ledger"]
    given = dict(zip(names, sys.argv[1:], strict=False))
    if len(given) < len(names):
        sys.exit(__doc__)
    serve(CsvEngine, CsvSettings(data_dir=f"data-{given['name']}", **given))
