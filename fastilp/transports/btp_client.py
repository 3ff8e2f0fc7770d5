"""BTP 2.0, the dialling side: keeps one connection up to a peer's URL. Imports _core and transports only.

dialler = BtpDialler(port, "btp+wss://:secret@b.example/accounts/a/ilp/btp")
dialler.start()
...
await dialler.close()
"""

import ssl

from fastilp.transports.btp import BtpPort


class BtpDialler:
    """Dials, authenticates, reconnects with exponential back-off (100 ms to 30 s, with jitter, reset after 10 s up).
    URLs: `btp+ws(s)://[user]:[token]@host[:port]/path`, `ws(s)://...`; a token given apart wins. Raises UsageError for
    anything else."""

    last_error: str
    """Why the last attempt failed; empty while up."""

    def __init__(
        self,
        port: BtpPort,
        url: str,
        token: str | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None: ...

    def start(self) -> None: ...

    async def close(self) -> None:
        """Hang up and stay down; the port can be used again."""
