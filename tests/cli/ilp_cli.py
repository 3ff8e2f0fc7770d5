"""What ilp-cli sends for each of its commands, rows CLI-01 to CLI-15 of its interpreter, as data.

Two tests read it: our commands must send the same, and our node must accept it byte for byte.
"""

import json
from typing import NamedTuple

ADMIN = "admin"


class Call(NamedTuple):
    """`arguments` are those of the command line, without --node and --auth."""

    row: str
    arguments: tuple[str, ...]
    method: str
    target: str
    token: str | None = ADMIN
    fields: dict[str, str] | None = None
    """The JSON body: only what was given, every value a string."""
    text: str | None = None
    """Or a raw body, which has no content type."""

    def body(self) -> bytes:
        if self.fields is not None:
            return json.dumps(self.fields, separators=(",", ":")).encode()
        return b"" if self.text is None else self.text.encode()

    def request(self, host: str) -> bytes:
        """As reqwest writes it: names in lower case, in this order."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        if self.fields is not None:
            lines.append("content-type: application/json")
        if self.token is not None:
            lines.append(f"authorization: Bearer {self.token}")
        lines += ["accept: */*", f"host: {host}"]
        if self.fields is not None or self.text is not None:
            lines.append(f"content-length: {len(self.body())}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body()


_ALL_FIELDS = {
    "asset_code": "ABC",
    "asset_scale": "9",
    "ilp_address": "example.node.bob",
    "max_packet_amount": "1000000",
    "min_balance": "-1000000000",
    "ilp_over_http_url": "http://localhost:9/accounts/me/ilp",
    "ilp_over_http_incoming_token": "bob-password",
    "ilp_over_http_outgoing_token": "out-password",
    "ilp_over_btp_url": "btp+ws://localhost:9/accounts/me/ilp/btp",
    "ilp_over_btp_outgoing_token": "btp-out",
    "ilp_over_btp_incoming_token": "btp-in",
    "settle_threshold": "-1",
    "settle_to": "-1000",
    "routing_relation": "Peer",
    "round_trip_time": "600",
    "amount_per_minute_limit": "1000000000",
    "packets_per_minute_limit": "60000",
    "settlement_engine_url": "http://localhost:9/engine",
}
_SETTINGS = {
    "ilp_over_http_url": "http://localhost:9/other",
    "ilp_over_btp_url": "btp+ws://localhost:9/other/btp",
    "ilp_over_http_incoming_token": "alice-other",
    "ilp_over_http_outgoing_token": "other-out",
    "ilp_over_btp_incoming_token": "other-btp-in",
    "ilp_over_btp_outgoing_token": "other-btp-out",
    "settle_threshold": "500",
    "settle_to": "0",
}
_SMALL = {"asset_code": "ABC", "asset_scale": "9"}


def flags(fields: dict[str, str]) -> tuple[str, ...]:
    words: list[str] = []
    for name, value in fields.items():
        words += [f"--{name.replace('_', '-')}", value]
    return tuple(words)


# In an order in which a node that has no accounts yet can answer each with success.
CALLS = [
    Call(
        "CLI-01", ("accounts", "create", "alice", *flags(_SMALL)),
        "POST", "/accounts/", fields={"username": "alice", **_SMALL},
    ),
    Call(
        "CLI-01-all", ("accounts", "create", "bob", *flags(_ALL_FIELDS)),
        "POST", "/accounts/", fields={"username": "bob", **_ALL_FIELDS},
    ),
    Call(
        "CLI-02", ("accounts", "update", "alice", *flags(_SMALL), "--min-balance", "-5"),
        "PUT", "/accounts/alice", fields={"username": "alice", **_SMALL, "min_balance": "-5"},
    ),
    Call(
        "CLI-03", ("accounts", "update-settings", "alice", *flags(_SETTINGS)),
        "PUT", "/accounts/alice/settings", fields=_SETTINGS,
    ),
    Call(
        "CLI-03-user", ("accounts", "update-settings", "alice", "--settle-to", "1"),
        "PUT", "/accounts/alice/settings", token="alice-other", fields={"settle_to": "1"},
    ),
    Call("CLI-05-info", ("accounts", "info", "alice"), "GET", "/accounts/alice"),
    Call("CLI-05-list", ("accounts", "list"), "GET", "/accounts"),
    Call("CLI-06", ("accounts", "balance", "alice"), "GET", "/accounts/alice/balance"),
    Call("CLI-10-list", ("rates", "list"), "GET", "/rates", token=None),
    Call(
        "CLI-10-set-all", ("rates", "set-all", "--pair", "ABC", "1.0", "--pair", "XYZ", "2.01"),
        "PUT", "/rates", fields={"ABC": "1.0", "XYZ": "2.01"},
    ),
    Call("CLI-10-none", ("rates", "set-all"), "PUT", "/rates", fields={}),
    Call("CLI-11-list", ("routes", "list"), "GET", "/routes", token=None),
    Call(
        "CLI-11-set", ("routes", "set", "example.far", "--destination", "bob"),
        "PUT", "/routes/static/example.far", text="bob",
    ),
    Call(
        "CLI-11-set-all",
        ("routes", "set-all", "--pair", "example.a", "alice", "--pair", "", "bob"),
        "PUT", "/routes/static", fields={"example.a": "alice", "": "bob"},
    ),
    Call("CLI-11-none", ("routes", "set-all"), "PUT", "/routes/static", fields={}),
    Call(
        "CLI-12", ("settlement-engines", "set-all", "--pair", "XYZ", "http://localhost:9/xyz"),
        "PUT", "/settlement/engines", fields={"XYZ": "http://localhost:9/xyz"},
    ),
    Call("CLI-12-none", ("settlement-engines", "set-all"), "PUT", "/settlement/engines", fields={}),
    Call("CLI-13", ("status",), "GET", "/", token=None),
    Call("CLI-14", ("logs", "debug"), "PUT", "/tracing-level", text="debug"),
    Call(
        "CLI-14-part", ("logs", "interledger=debug"),
        "PUT", "/tracing-level", text="interledger=debug",
    ),
    Call("CLI-04", ("accounts", "delete", "bob"), "DELETE", "/accounts/bob"),
]  # fmt: skip
# What a node can answer with success only where STREAM is.
PAYMENT = Call(
    "CLI-09", ("pay", "alice", "--amount", "500", "--to", "http://localhost:9/accounts/bob/spsp"),
    "POST", "/accounts/alice/payments", token="alice-password",
    fields={"source_amount": "500", "receiver": "http://localhost:9/accounts/bob/spsp"},
)  # fmt: skip
