"""Why something of the audit log was refused: one error with a stable code."""

from broker.errors import BrokerError, Retry


class LogError(BrokerError):
    """A tree, tile, proof, note or checkpoint was refused; `code` says which rule it broke."""

    def __init__(self, code: str, message: str, *, retry: Retry = "never") -> None:
        super().__init__(code, message, retry=retry)
