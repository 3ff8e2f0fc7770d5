"""The outcomes of packets as docs/data-path.md lists them, written out a second time.

Imports nothing. `tests/core/test_precedence.py` compares this table with the compiled one.
"""

# Name -> (code and message of the Reject that we build), by number.
OUTCOMES: dict[str, tuple[str, str]] = {
    "ok": ("", ""),
    "invalid_packet": ("F01", "not a valid ILPv4 Prepare"),
    "account_closed": ("F02", "account is closed"),
    "store_unavailable": ("T00", "balances cannot be recorded now"),
    "expired": ("R00", "packet had expired on arrival"),
    "amount_too_large": ("F08", "amount exceeds max_packet_amount"),
    "packets_rate_limited": ("T05", "too many packets per minute"),
    "amount_rate_limited": ("T04", "too much value per minute"),
    "peer_address": ("F01", "unknown peer. address"),
    "wrong_network": ("F02", "destination is on another network"),
    "unreachable": ("F02", "no route to the destination"),
    "reflected": ("F02", "the route leads back to the sender"),
    "no_rate": ("T00", "no exchange rate between these assets"),
    "amount_too_small": ("R01", "amount converts to zero"),
    "amount_overflow": ("F08", "converted amount is too large"),
    "insufficient_timeout": ("R02", "too little time left to forward"),
    "link_down": ("T01", "next hop is not connected"),
    "connector_busy": ("T03", "too many packets in flight"),
    "peer_busy": ("T02", "next hop has too many packets in flight"),
    "exceeds_floor": ("T04", "exceeded maximum balance."),
    "exceeds_ceiling": ("T04", "next hop's balance is at its maximum"),
    "exceeds_in_flight": ("T04", "next hop's value in flight is at its maximum"),
    "fulfilled": ("", ""),
    "rejected": ("", ""),
    "wrong_fulfillment": ("F05", "fulfillment does not match the condition"),
    "invalid_answer": ("T01", "next hop's answer is not a valid packet"),
    "timed_out": ("R00", "no answer before the packet expired"),
    "unmatched": ("", ""),
    "forwarded": ("", ""),
    "punted": ("", ""),
    "undeliverable": ("", ""),
    "fulfilled_before_commit": ("", ""),
    # Later than the others, so their place is not in the order: see FAULTS.
    "destination_not_allowed": ("F02", "destination is not allowed for this account"),
    "amount_out_too_large": ("F08", "amount exceeds what the next hop takes in a packet"),
    "amount_out_rate_limited": ("T04", "too much value per minute to the next hop"),
    "not_ours": ("F06", "nobody here can make use of the packet"),
}

_AFTER = {
    "amount_rate_limited": "destination_not_allowed",
    "amount_overflow": "amount_out_too_large",
    "insufficient_timeout": "amount_out_rate_limited",
}


def _faults() -> list[str]:
    faults = []
    for name in list(OUTCOMES)[1:22]:
        faults.append(name)
        if name in _AFTER:
            faults.append(_AFTER[name])
    return faults


# What a Prepare is refused for, in order of precedence.
FAULTS = _faults()
