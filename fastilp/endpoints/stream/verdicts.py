"""What a sender makes of a refusal that is not the receiver's: come again, smaller, later, or stop.

A table over the codes of RFC 27. Peers stop at R00 and R02, and at F02 in the middle of a payment;
a packet that got lost, an expiry too short for the path and a route that flaps are no reason to.
"""

from enum import Enum

from fastilp.endpoints.stream.conversation import Answer


class Verdict(Enum):
    LATER = "later"
    SMALLER = "smaller"
    LESS_IN_FLIGHT = "less in flight"
    SLOWER = "slower"
    LATER_EXPIRY = "later expiry"
    LOST = "lost"
    NO_ROUTE = "no route"
    TOO_LITTLE = "too little"
    REFUSED = "refused"
    FINAL = "final"


_VERDICTS = {
    "T04": Verdict.LESS_IN_FLIGHT,
    "T05": Verdict.SLOWER,
    "F08": Verdict.SMALLER,
    "F02": Verdict.NO_ROUTE,
    "F99": Verdict.REFUSED,
    "R00": Verdict.LOST,
    "R01": Verdict.TOO_LITTLE,
    "R02": Verdict.LATER_EXPIRY,
}


def verdict_of(code: str) -> Verdict:
    """By code, else by its first letter: F is final, the others are worth another packet."""
    found = _VERDICTS.get(code)
    if found is not None:
        return found
    return Verdict.LATER if code[:1] in ("T", "R") else Verdict.FINAL


def told(answer: Answer) -> str:
    """For people: `T04 exceeds_floor (example.hub)`."""
    where = f" ({answer.triggered_by})" if answer.triggered_by else ""
    # A peer's text, which may be long and may hold anything.
    text = "".join(char for char in answer.message[:200] if char.isprintable())
    return f"{answer.code} {text}".strip() + where
