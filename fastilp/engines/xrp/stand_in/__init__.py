"""A stand-in for the XRP Ledger, for tests and to be played with: none of its nodes."""

from fastilp.engines.xrp.stand_in.ledger import GENESIS_SECRET, StandInLedger
from fastilp.engines.xrp.stand_in.server import StandIn, serve_stand_in

__all__ = ["GENESIS_SECRET", "StandIn", "StandInLedger", "serve_stand_in"]
