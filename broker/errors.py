"""What Kentong's broker raises. One root; a subclass only where a caller acts differently."""

from typing import Literal, TypeAlias

Retry: TypeAlias = Literal["never", "later", "new-id"]


class BrokerError(Exception):
    """Root of what `broker` raises, and all that the SDK lets out besides misuse.

    Attributes:
        code: Stable, machine-readable, kebab-case; the key of the officer-facing text.
        retry: `never`: the same request will be refused again. `later`: it may pass unchanged.
            `new-id`: seal it again under a new id.
    """

    def __init__(self, code: str, message: str, *, retry: Retry = "never") -> None:
        super().__init__(message)
        self.code = code
        self.retry: Retry = retry
