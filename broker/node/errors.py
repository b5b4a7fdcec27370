"""Why a node refuses what a desk asked."""

from typing import Literal, TypeAlias

from broker.errors import BrokerError, Retry

Kind: TypeAlias = Literal["invalid", "forbidden", "not-found", "conflict", "unavailable"]


class NodeError(BrokerError):
    """The node did not do what was asked, and kept nothing of it.

    Attributes:
        kind: `invalid`: the request itself. `forbidden`: the signer may not. `not-found`.
            `conflict`: the state it meets. `unavailable`: this node, now.
        field: Dotted path of the offending field, never its value; empty for the whole.
    """

    def __init__(
        self, code: str, message: str, *, kind: Kind, retry: Retry = "never", field: str = ""
    ) -> None:
        super().__init__(code, message, retry=retry)
        self.kind: Kind = kind
        self.field = field
