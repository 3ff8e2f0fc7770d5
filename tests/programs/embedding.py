"""The whole of embedding fastilp: two accounts, one payment, no event loop and no server."""

import hashlib
import sys
import time

import fastilp

ledger = fastilp.Ledger.open(sys.argv[1]) if len(sys.argv) > 1 else fastilp.Ledger.memory()
switch = fastilp.Switch(ledger, address="g.hub")
alice = switch.add_account("alice", asset_code="USD", asset_scale=9, min_balance=-(10**12))
bob = switch.add_account("bob", asset_code="USD", asset_scale=9)
switch.set_route("g.hub.bob", bob)
a, b = switch.open_link(alice), switch.open_link(bob)

now_ms = time.time_ns() // 1_000_000
fulfillment = bytes(range(32))
prepare = fastilp.Prepare(
    amount=5,
    expires_at=now_ms + 20_000,
    execution_condition=hashlib.sha256(fulfillment).digest(),
    destination="g.hub.bob.invoice",
    data=b"hello",
)
a.receive([(7, bytes(prepare))])
switch.process(now_ms)

[(request_id, packet)] = b.take()
forwarded = fastilp.decode(packet)
assert isinstance(forwarded, fastilp.Prepare)
assert (forwarded.amount, forwarded.data) == (5, b"hello")
b.receive([(request_id, bytes(fastilp.Fulfill(fulfillment=fulfillment, data=b"thanks")))])

answers: list[tuple[int, bytes]] = []
while not answers:  # with a durable ledger the Fulfill leaves after its commit
    switch.process(time.time_ns() // 1_000_000)
    answers = a.take()
answer = fastilp.decode(answers[0][1])
assert answers[0][0] == 7
assert isinstance(answer, fastilp.Fulfill)
assert answer.fulfillment == fulfillment
print("alice", switch.balance(alice), "bob", switch.balance(bob))
ledger.close()
