"""A rule of your own: large packets of some accounts pass in office hours only.

In the settings of the node (docs/policies.md):

    [[services]]
    service = "office_hours.py:OfficeHours"
    accounts = ["alice"]
    options = { amount = 1000000 }
"""

from datetime import UTC, datetime

from fastilp import Prepare
from fastilp.control.services import Answer, Service


class OfficeHours(Service):
    def __init__(self, amount: int, opens: int = 8, closes: int = 18) -> None:
        self.amount, self.hours = amount, range(opens, closes)

    def handle(self, account: object, prepare: Prepare) -> Answer:
        if prepare.amount > self.amount and datetime.now(UTC).hour not in self.hours:
            return self.reject("T00", f"more than {self.amount} in office hours only")
        return prepare
