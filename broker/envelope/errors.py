"""Why an envelope, a decision or a delivery was refused: one error, a closed list of codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from broker.errors import BrokerError, Retry
from keys.errors import DirectoryError

CODES: Final = frozenset(
    {
        # form, before anything is authenticated
        "too-large",
        "not-canonical",
        "unknown-wire-version",
        "unknown-suite",
        "bad-envelope",
        "bad-label",
        "unknown-label-version",
        "bad-slots",
        "duplicate-recipient",
        "wrong-slot",
        "bad-decision",
        "bad-delivery",
        # who signed it, as of the decision
        "suite-mismatch",
        "unknown-member",
        "member-suspended",
        "member-lapsed",
        "unknown-key",
        "key-not-yet-valid",
        "key-expired",
        "key-revoked",
        "key-revoked-since",
        "bad-signature",
        "stanza-mismatch",
        "opening-mismatch",
        "decision-mismatch",
        "not-accepted",
        # opening
        "wrong-recipient",
        "no-open-key",
        "cannot-open",
        "wrong-commit",
        "bad-ciphertext",
        "bad-padding",
        "bad-compression",
        "too-compressed",
        "content-too-large",
        "recipients-withheld",
        "bad-content",
        "original-mismatch",
        "bad-chunk",
        # who answers for the content, and whether the label tells the truth about it
        "officer-missing",
        "officer-unexpected",
        "unknown-officer",
        "officer-not-yet-valid",
        "officer-expired",
        "officer-revoked",
        "officer-revoked-since",
        "officer-role",
        "officer-mismatch",
        "audience-mismatch",
        "unknown-type",
        "bad-alert",
        "bad-control",
        "facts-understated",
    }
)


class EnvelopeError(BrokerError):
    """An envelope, decision or delivery was refused; `code` is one of `CODES`."""

    def __init__(self, code: str, message: str, *, retry: Retry = "never") -> None:
        super().__init__(code, message, retry=retry)


@contextmanager
def as_envelope_error() -> Iterator[None]:
    """Pass on what the directory says of a key, under the same code."""
    try:
        yield
    except DirectoryError as error:
        raise EnvelopeError(error.code, str(error)) from error
