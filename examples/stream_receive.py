"""Be paid at an account of a connector (docs/payments.md).

stream_receive.py UPLINK prints an address and a secret for one payer, then what it pays and says.
"""

import asyncio
import sys

from fastilp import stream


async def receive(uplink: str) -> None:
    async with stream.listen(uplink) as server:
        destination, secret = server.credentials()
        print(destination, secret.hex(), flush=True)
        async for connection in server:
            print("says", (await connection.read()).decode())
            async for amount in connection:
                print("received", amount, flush=True)
            print("received", connection.received_amount, "in all")
            break


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: stream_receive.py UPLINK")
    asyncio.run(receive(sys.argv[1]))
