"""What the stand-in knows of the XRP Ledger: accounts, payments of XRP, ledgers that close when
they are told to. Imports the wallet.

Each transaction must be one by the codec, signed by its account, with the next sequence, a fee, and
a last ledger that is not past; the codes are those of rippled. Not there: every other transaction,
other currencies, other keys than an account's own, the queue, fees that rise, consensus. What a
partial payment of another currency looks like is added by hand.
"""

import hashlib
import secrets
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from xrpl.constants import XRPLException
from xrpl.core import keypairs
from xrpl.core.binarycodec import decode, encode, encode_for_signing

from fastilp.engines.xrp.wallet import Wallet, hash_of
from fastilp.errors import DecodeError

# Of rippled in stand-alone mode: the account that has everything.
GENESIS_SECRET = "snoPBrXtMeMyMHUVTgbuqAfg1SUTb"
ALL_DROPS = 10**17
BASE_FEE, RESERVE_BASE, RESERVE_EACH = 10, 1_000_000, 200_000
PARTIAL_PAYMENT = 0x0002_0000
NETWORK_ID_UNNAMED_MAX = 1_024
BLOB_LENGTH_MAX = 4_096


@dataclass
class Account:
    balance: int
    sequence: int


@dataclass
class State:
    """Of all accounts, after a ledger or in the open one."""

    accounts: dict[str, Account] = field(default_factory=dict)
    burned: int = 0
    """Fees are nobody's any more."""


@dataclass
class Entry:
    """A transaction in a ledger."""

    transaction: dict[str, Any]
    meta: dict[str, Any]


class StandInLedger:
    def __init__(self, network_id: int = 0) -> None:
        genesis = Wallet(GENESIS_SECRET).address
        self.network_id = network_id
        self.validated = State({genesis: Account(ALL_DROPS, 1)})
        self.current = deepcopy(self.validated)
        self.ledgers: list[list[Entry]] = [[], []]
        """By their numbers; the first two have nothing."""
        self.first = 1
        """Ledgers before it are forgotten."""
        self._hashes = [secrets.token_hex(32).upper()]
        self._open: list[dict[str, Any]] = []
        self._held: list[dict[str, Any]] = []
        self._by_hand: list[Entry] = []
        self._seen: dict[str, dict[str, Any]] = {}
        """What was ever submitted: nodes show it for some time, whatever became of it."""

    @property
    def number(self) -> int:
        """Of the newest ledger that is validated."""
        return len(self.ledgers) - 1

    def ledger_hash(self, number: int) -> str:
        """Of one that is validated: it is about all before it, and about this stand-in."""
        while len(self._hashes) <= number:
            entries = self.ledgers[len(self._hashes)]
            content = " ".join((self._hashes[-1], *(each.transaction["hash"] for each in entries)))
            self._hashes.append(hashlib.sha256(content.encode()).hexdigest().upper())
        return self._hashes[number]

    def submit(self, blob: str) -> tuple[str, dict[str, Any]]:
        """The provisional result, and the transaction. Raises DecodeError."""
        transaction = decoded(blob)
        waiting = (*self._open, *self._held)
        self._seen[transaction["hash"]] = transaction
        if transaction["hash"] in (each["hash"] for each in waiting):
            return "tefALREADY", transaction
        result = self._check(transaction) or self._apply(self.current, transaction, self.number + 1)
        if result.startswith(("tes", "tec")):
            self._open.append(transaction)
        elif result == "terPRE_SEQ":
            self._held.append(transaction)
        return result, transaction

    def close(self) -> int:
        """All that can be applied now is validated. The number of the ledger."""
        waiting = sorted((*self._open, *self._held), key=lambda each: int(each["Sequence"]))
        entries = self._by_hand
        self._open, self._held, self._by_hand = [], [], []
        self.ledgers.append(entries)
        if not waiting and not entries:
            return self.number
        state = deepcopy(self.validated)
        for transaction in waiting:
            if transaction.get("LastLedgerSequence", self.number) < self.number:
                continue
            result = self._apply(state, transaction, self.number)
            if result.startswith(("tes", "tec")):
                entries.append(Entry(transaction, _meta(result, transaction["Amount"])))
            elif result.startswith("ter"):
                self._held.append(transaction)
        for index, entry in enumerate(entries):
            entry.transaction["ledger_index"] = self.number
            entry.meta["TransactionIndex"] = index
        self.validated, self.current = state, deepcopy(state)
        return self.number

    def forget_open(self) -> None:
        """What was submitted is lost, as when a node restarts."""
        self._open, self._held = [], []
        self.current = deepcopy(self.validated)

    def find(self, transaction_hash: str) -> tuple[Entry, bool] | None:
        """A transaction, and whether it is validated."""
        for entries in self.ledgers[self.first :]:
            for entry in entries:
                if entry.transaction["hash"] == transaction_hash:
                    return entry, True
        seen = self._seen.get(transaction_hash)
        return None if seen is None else (Entry(seen, {}), False)

    def entries_of(self, address: str, first: int, last: int) -> list[Entry]:
        """In the order of the ledger."""
        return [
            entry
            for entries in self.ledgers[max(first, self.first) : last + 1]
            for entry in entries
            if address in (entry.transaction["Account"], entry.transaction["Destination"])
        ]

    def fund(self, address: str, drops: int) -> str:
        """From the account that has everything. The hash of the transaction."""
        result, transaction = self.submit(
            self.signed(GENESIS_SECRET, {"Destination": address, "Amount": str(drops)})
        )
        assert result == "tesSUCCESS", result
        return str(transaction["hash"])

    def signed(self, secret: str, fields: dict[str, Any]) -> str:
        """A payment, with what is missing filled in. Raises DecodeError."""
        wallet = Wallet(secret)
        account = self.current.accounts.get(wallet.address)
        filled: dict[str, Any] = {
            "TransactionType": "Payment",
            "Fee": str(BASE_FEE),
            "Flags": 0,
            "Sequence": 0 if account is None else account.sequence,
        }
        if self.network_id > NETWORK_ID_UNNAMED_MAX:
            filled["NetworkID"] = self.network_id
        try:
            return wallet.sign(filled | fields)[0]
        except (XRPLException, ValueError, TypeError) as error:
            raise DecodeError(f"cannot be encoded: {error}") from None

    def add_partial(self, sender: str, to: str, tag: int, amount: int, delivered: int) -> str:
        """By hand, into the next ledger: a partial payment whose sender pays with another currency,
        with `amount` as what he would like to have delivered. Its hash."""
        transaction = {
            "TransactionType": "Payment",
            "Account": sender,
            "Destination": to,
            "DestinationTag": tag,
            "Amount": str(amount),
            "SendMax": {"currency": "USD", "issuer": sender, "value": "1"},
            "Flags": PARTIAL_PAYMENT,
            "hash": secrets.token_hex(32).upper(),
        }
        # Somebody offers the XRP for the other currency: the account that has everything.
        for state in (self.validated, self.current):
            state.accounts[Wallet(GENESIS_SECRET).address].balance -= delivered
            state.accounts[to].balance += delivered
        self._by_hand.append(Entry(transaction, _meta("tesSUCCESS", str(delivered))))
        return str(transaction["hash"])

    def _check(self, transaction: dict[str, Any]) -> str:
        """What does not depend on accounts; empty if it is right."""
        named = transaction.get("NetworkID")
        if self.network_id > NETWORK_ID_UNNAMED_MAX:
            if named != self.network_id:
                return "telREQUIRES_NETWORK_ID" if named is None else "telWRONG_NETWORK"
        elif named is not None:
            return "telNETWORK_ID_MAKES_TX_NON_CANONICAL"
        if transaction["Account"] == transaction["Destination"]:
            return "temREDUNDANT"
        if not isinstance(transaction["Amount"], str) or int(transaction["Amount"]) <= 0:
            return "temBAD_AMOUNT"
        if transaction.get("Flags", 0) & PARTIAL_PAYMENT:
            return "temBAD_SEND_XRP_PARTIAL"
        if int(transaction["Fee"]) < BASE_FEE:
            return "telINSUF_FEE_P"
        if transaction.get("LastLedgerSequence", self.number + 1) <= self.number:
            return "tefMAX_LEDGER"
        return ""

    def _apply(self, state: State, transaction: dict[str, Any], number: int) -> str:
        payer = state.accounts.get(transaction["Account"])
        amount, fee = int(transaction["Amount"]), int(transaction["Fee"])
        if payer is None:
            return "terNO_ACCOUNT"
        if transaction["Sequence"] != payer.sequence:
            is_past = transaction["Sequence"] < payer.sequence
            return "tefPAST_SEQ" if is_past else "terPRE_SEQ"
        if payer.balance < fee:
            return "terINSUF_FEE_B"
        payee = state.accounts.get(transaction["Destination"])
        had = payer.balance
        payer.sequence += 1
        payer.balance -= fee
        state.burned += fee
        if payee is None and amount < RESERVE_BASE:
            return "tecNO_DST_INSUF_XRP"
        if had < amount + max(RESERVE_BASE, fee):
            return "tecUNFUNDED_PAYMENT"
        if payee is None:
            payee = state.accounts[transaction["Destination"]] = Account(0, number)
        payer.balance -= amount
        payee.balance += amount
        return "tesSUCCESS"


def decoded(blob: str) -> dict[str, Any]:
    """A signed payment, with its hash. Raises DecodeError."""
    return dict(_decoded(blob))


@lru_cache(maxsize=256)
def _decoded(blob: str) -> dict[str, Any]:
    """The engines submit a transaction many times, and to verify it takes 10 ms."""
    if not blob or len(blob) > BLOB_LENGTH_MAX:
        raise DecodeError("fails local checks: no transaction has that length")
    try:
        transaction = decode(blob)
        is_canonical = encode(transaction) == blob.upper()
        unsigned = {name: value for name, value in transaction.items() if name != "TxnSignature"}
        key = transaction["SigningPubKey"]
        is_signed = keypairs.is_valid_message(
            bytes.fromhex(encode_for_signing(unsigned)),
            bytes.fromhex(transaction["TxnSignature"]),
            key,
        ) and transaction["Account"] == keypairs.derive_classic_address(key)
        names = ("Destination", "Amount", "Fee", "Sequence")
        is_payment = transaction["TransactionType"] == "Payment"
    except Exception as error:
        # The codec raises what comes up in it.
        raise DecodeError(f"fails local checks: {error or type(error).__name__}") from None
    if not is_payment or not all(name in transaction for name in names):
        raise DecodeError("fails local checks: the stand-in knows payments only")
    if not is_canonical or not is_signed:
        raise DecodeError("fails local checks: Invalid signature.")
    return dict(transaction) | {"hash": hash_of(blob)}


def _meta(result: str, delivered: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {"AffectedNodes": [], "TransactionResult": result}
    return meta | ({"delivered_amount": delivered} if result == "tesSUCCESS" else {})
