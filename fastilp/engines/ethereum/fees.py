"""What a transaction offers to be mined, at first and when it was not. Imports rpc.

Chains with a base fee get EIP-1559 transactions, the others a gas price. A replacement must offer a
tenth more to be taken by the nodes; a quarter is sure to be.
"""

from fastilp.engines.ethereum.rpc import Rpc, RpcError, as_number

_TIP_WEI = 1_000_000_000
TRANSFER_GAS = 21_000

Fees = dict[str, int]
"""`gasPrice`, or `maxFeePerGas` and `maxPriorityFeePerGas`: fields of a transaction."""


async def market(rpc: Rpc, kind: str, fee_max: int | None) -> Fees:
    """`kind`: a `transaction_type` of the settings."""
    latest = await rpc.call("eth_getBlockByNumber", "latest", False)
    base = latest.get("baseFeePerGas") if isinstance(latest, dict) else None
    if kind == "legacy" or (kind == "auto" and base is None):
        return _capped({"gasPrice": await rpc.number("eth_gasPrice")}, fee_max)
    try:
        tip = await rpc.number("eth_maxPriorityFeePerGas")
    except RpcError:
        tip = _TIP_WEI
    # Twice the base fee: six full blocks in a row do not outgrow it.
    most = 2 * as_number(base or "0x0") + tip
    return _capped({"maxFeePerGas": most, "maxPriorityFeePerGas": tip}, fee_max)


def bumped(old: Fees, now: Fees, fee_max: int | None) -> Fees | None:
    """A quarter more than before, or what the market asks for if that is more. None if the cap
    leaves too little for the nodes to take it."""
    asked = {name: max(fee * 5 // 4 + 1, now.get(name, 0)) for name, fee in old.items()}
    found = _capped(asked, fee_max)
    enough = all(found[name] * 10 >= fee * 11 for name, fee in old.items())
    return found if enough else None


def most_per_gas(fees: Fees) -> int:
    return max(fees.values())


def _capped(fees: Fees, fee_max: int | None) -> Fees:
    return fees if fee_max is None else {name: min(fee, fee_max) for name, fee in fees.items()}
