"""The link of a node that has none: it never connects, and answers what a carried file answers."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from typing_extensions import override

from broker.transport.credentials import Credentials
from broker.transport.errors import Unreachable
from broker.transport.link import REQUEST_TIMEOUT_S, Link
from keys.primitives.signing import SignKey

_NOWHERE: Final = "nowhere"
Answers = Callable[[str, bytes], bytes | None]
"""Takes what the hub is asked and with what; None where the file does not answer."""


def _nothing(_subject: str, _payload: bytes) -> bytes | None:
    return None


class Unlinked(Link):
    """Whoever waits for this link waits for ever; whoever asks over it is told at once."""

    def __init__(self, answers: Answers = _nothing) -> None:
        """Take what answers in the hub's place."""
        super().__init__(Credentials((), "", "", SignKey.generate(), _NOWHERE, _NOWHERE))
        self.answers = answers

    @override
    async def __aenter__(self) -> Self:
        return self

    @override
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return

    @override
    async def request(
        self, subject: str, payload: bytes, *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> bytes:
        answer = self.answers(subject, payload)
        if answer is None:
            raise Unreachable("the carried file does not answer this")
        return answer
