"""What an engine raises when it cannot do what it is asked to. Imports errors."""

from fastilp.errors import FastILPError


class EngineError(FastILPError):
    """The caller is told: `status` of HTTP, and the text as the detail of the problem."""

    def __init__(self, message: str, *, status: int = 500) -> None:
        self.status = status
        super().__init__(message)


class NotNowError(EngineError):
    """The ledger, the connector or the peer does not answer, or not yet: the same may succeed
    later, and the framework tries again."""

    def __init__(self, message: str, *, status: int = 503) -> None:
        super().__init__(message, status=status)
