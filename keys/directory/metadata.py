"""Reading TUF metadata without trusting it: bytes in, a typed value or a DirectoryError out.

The one door to the names of `tuf` and `securesystemslib`, which both export without saying so.
"""

from collections.abc import Callable
from typing import TypeVar

from securesystemslib.signer import (  # type: ignore[attr-defined] # it has no __all__
    SIGNER_FOR_URI_SCHEME,
    Key,
    SecretsHandler,
    Signature,
    Signer,
    SSlibKey,
)
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined] # it has no __all__
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from keys.errors import DirectoryError

__all__ = [
    "SIGNER_FOR_URI_SCHEME",
    "DelegatedRole",
    "Delegations",
    "Key",
    "MetaFile",
    "Metadata",
    "Role",
    "Root",
    "SSlibKey",
    "SecretsHandler",
    "Signature",
    "SignedT",
    "Signer",
    "Snapshot",
    "TargetFile",
    "Targets",
    "Timestamp",
    "checked",
    "read_metadata",
]

SignedT = TypeVar("SignedT", Root, Timestamp, Snapshot, Targets)
ResultT = TypeVar("ResultT")


def read_metadata(kind: type[SignedT], raw: bytes, *, max_bytes: int) -> Metadata[SignedT]:
    """Return the metadata in `raw`, whose signatures are not verified here.

    Raises:
        DirectoryError: `bad-metadata`: too long, unreadable, or of another kind.
    """
    if len(raw) > max_bytes:
        raise DirectoryError("bad-metadata", f"{kind.type} metadata has at most {max_bytes} bytes")
    try:
        metadata = Metadata.from_bytes(raw)
    except (DeserializationError, RecursionError) as error:
        raise DirectoryError("bad-metadata", f"{kind.type} metadata cannot be read") from error
    if not isinstance(metadata.signed, kind):
        raise DirectoryError("bad-metadata", f"{kind.type} metadata is of another kind")
    return metadata


def checked(check: Callable[[], ResultT], *, code: str, message: str) -> ResultT:
    """Return what a check of the TUF library returns, its refusal as a DirectoryError.

    Raises:
        DirectoryError: With `code`, if the check refused.
    """
    try:
        return check()
    except (RepositoryError, ValueError) as error:
        raise DirectoryError(code, message) from error
