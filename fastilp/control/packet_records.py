"""A record of each fulfilled packet, as Interledger.rs publishes them: from the switch to a sink.
Imports _core and sinks.

Names of the fields are those of Interledger.rs' PubSub record; amounts are texts, because many
readers of JSON have no 64-bit integers. Costs nothing where there is no sink.
"""

import asyncio
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from fastilp._core.books import Account
from fastilp._core.switch import Switch
from fastilp.control.sinks import Sink

PacketRecord = tuple[int, Account, Account, int, int, bytes, bytes]
"""As `Switch.take_records` gives them."""

_TAKE_SECONDS = 0.05
# Formatting a record takes microseconds: what a turn of the loop may spend on them.
_AT_ONCE = 500


class PacketRecords:
    """`start` in the running loop, after `Switch.observe(…, records=True)`."""

    def __init__(self, switch: Switch, sink: Sink) -> None:
        self._switch = switch
        self.sink = sink
        self._task: asyncio.Task[None] | None = None

    @property
    def dropped(self) -> int:
        return self.sink.dropped

    def start(self) -> None:
        self.sink.start()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._take()
        await self.sink.close()

    async def _run(self) -> None:
        while True:
            await self._take()
            await asyncio.sleep(_TAKE_SECONDS)

    async def _take(self) -> None:
        records, dropped = self._switch.take_records()
        self.sink.dropped += dropped
        for start in range(0, len(records), _AT_ONCE):
            for record in records[start : start + _AT_ONCE]:
                self.sink.put(record_json(record))
            if start + _AT_ONCE < len(records):
                await asyncio.sleep(0)


def record_json(record: PacketRecord) -> dict[str, Any]:
    now_ms, sender, next_hop, amount_in, amount_out, destination, fulfillment = record
    moment = datetime.fromtimestamp(now_ms / 1_000, UTC)
    return {
        "prevHopAccount": sender.name,
        "prevHopAssetCode": sender.asset_code,
        "prevHopAssetScale": sender.asset_scale,
        "prevHopAmount": str(amount_in),
        "nextHopAccount": next_hop.name,
        "nextHopAssetCode": next_hop.asset_code,
        "nextHopAssetScale": next_hop.asset_scale,
        "nextHopAmount": str(amount_out),
        "destinationIlpAddress": destination.decode("ascii", "replace"),
        "fulfillment": b64encode(fulfillment).decode(),
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
