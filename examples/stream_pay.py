"""Pay from an account of a connector (docs/payments.md).

stream_pay.py UPLINK AMOUNT RECEIVER [SECRET]: UPLINK is the account, such as
btp+ws://alice:alice-password@127.0.0.1:7770/accounts/alice/ilp/btp; RECEIVER a payment pointer or
an SPSP address, or an ILP address with the shared secret in hexadecimal.
"""

import asyncio
import sys

from fastilp import stream


async def pay(uplink: str, amount: int, receiver: str, secret: bytes | None) -> None:
    try:
        async with stream.connect(uplink, receiver, secret) as connection:
            sending = connection.send(amount, data=b"for the coffee")
            async for progress in sending:
                print(progress.state, progress.sent_amount, progress.delivered_amount)
            outcome = await sending
    except stream.PaymentFailed as failed:
        sys.exit(f"{failed}; delivered {failed.outcome.delivered_amount}")
    except stream.PaymentError as error:
        sys.exit(f"nothing was sent: {error}")
    print("delivered", outcome.delivered_amount, outcome.destination_asset_code)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit("usage: stream_pay.py UPLINK AMOUNT RECEIVER [SECRET]")
    uplink, amount, receiver, *secret = sys.argv[1:]
    asyncio.run(pay(uplink, int(amount), receiver, bytes.fromhex(secret[0]) if secret else None))
