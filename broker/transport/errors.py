"""What can go wrong on the way to and from the hub's NATS."""

from broker.errors import BrokerError


class TransportError(BrokerError):
    """Root of the transport's errors."""


class Unreachable(TransportError):  # noqa: N818 - reads as what happened
    """No answer in time: the outcome is unknown, and the same may be tried again."""

    def __init__(self, message: str = "the hub cannot be reached") -> None:
        super().__init__("unreachable", message, retry="later")


class StreamFull(TransportError):  # noqa: N818 - reads as what happened
    """The stream takes no more until something is taken out of it."""

    def __init__(self) -> None:
        super().__init__("stream-full", "the hub's store for this is full", retry="later")


class SequenceConflict(TransportError):  # noqa: N818 - reads as what happened
    """Something stands on the subject already, against what was expected."""

    def __init__(self) -> None:
        super().__init__("sequence-conflict", "a message stands on this subject already")


class Refused(TransportError):  # noqa: N818 - reads as what happened
    """The server answered with an error of its own.

    Attributes:
        err_code: JetStream's number, or 0.
    """

    def __init__(self, err_code: int, message: str) -> None:
        super().__init__("hub-refused", message)
        self.err_code = err_code
