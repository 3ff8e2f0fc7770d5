"""The implementation under test, as the tests name it. Imports fastilp."""

from fastilp import Ledger, Switch
from tests.reference.lockstep import MODEL, Kit

COMPILED = Kit("compiled", Switch, Ledger.memory, Ledger.open)
KITS = (COMPILED, MODEL)
