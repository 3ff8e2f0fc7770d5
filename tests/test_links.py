"""The links of one account, without a node around them."""

import hmac

from fastilp._core.ledger import Ledger
from fastilp._core.switch import Switch
from fastilp.node.links import AccountLinks, Shared
from fastilp.transports.auth import TokenTable
from fastilp.transports.batch import BatchPort
from fastilp.transports.btp import BtpPort
from fastilp.transports.http_port import HttpPort
from fastilp.transports.pump import Pump
from tests.small_switch import details
from tests.transports.harness import on_uvloop

KEY = bytes(32)


@on_uvloop
async def test_closed_links_are_gone() -> None:
    switch = Switch(Ledger.memory(), address="g.hub")
    pump = Pump(switch)
    http_tokens: TokenTable[HttpPort] = TokenTable(KEY)
    btp_tokens: TokenTable[BtpPort] = TokenTable(KEY)
    batch_tokens: TokenTable[BatchPort] = TokenTable(KEY)
    protocols = ("http", "batch", "btp")
    digest = hmac.digest(KEY, b"secret", "sha256")
    alice = details("alice", **{f"ilp_over_{each}_incoming_token": digest for each in protocols})
    account = switch.add_account("alice", asset_code="USD", asset_scale=9)
    shared = Shared(pump, http_tokens, btp_tokens, batch_tokens)
    links = AccountLinks(shared, account, alice)
    links.start()
    assert links.states() == {"http-in": True, "batch": False, "btp": False}
    assert http_tokens.find("alice", "secret") and btp_tokens.find("alice", "secret")
    assert batch_tokens.find("alice", "secret")
    await links.close()
    assert links.states() == {"http-in": False, "batch": False, "btp": False}
    assert len(http_tokens) == len(btp_tokens) == len(batch_tokens) == 0
    pump.close()
