"""Every code with which the gateway refuses, and what a node may do about it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from broker.errors import Retry

_NEW_ID: Final = (
    # The same content may pass, sealed again: with a current key, in the right form, in time.
    "stale-key",
    "id-reused",
    "too-old",
    "suite-mismatch",
    "key-expired",
    "key-revoked",
    "unknown-key",
    "stanza-mismatch",
    "bad-signature",
    "directory-split",
)
_LATER: Final = (
    "quota",
    "directory-stale",
    "directory-behind",
    "clock-ahead",
    "log-unwitnessed",
    "control-rate",
    "busy",
    "audit-unready",
)
RETRY: Final[Mapping[str, Retry]] = MappingProxyType(
    {**dict.fromkeys(_NEW_ID, "new-id"), **dict.fromkeys(_LATER, "later")}
)


def retry_of(code: str) -> Retry:
    """Return what may be done after a refusal with `code`; what is not listed is final."""
    return RETRY.get(code, "never")
