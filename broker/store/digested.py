"""Small documents in JSON that a process keeps for itself, with a digest of all the rest.

A bit that the disk changed in a number or a name would otherwise be believed: a server accused of
going back in time, a suspension that holds for somebody else.
"""

import re
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from broker.errors import BrokerError
from keys.files import read_private, write_private
from keys.primitives.hashing import sha256

_DIGEST: Final = re.compile(rb',\n "digest": "([0-9a-f]{64})"\n\}\Z')
_END: Final = b"\n}"
DocumentT = TypeVar("DocumentT", bound=BaseModel)


def read_digested(path: Path, kind: type[DocumentT], *, max_bytes: int) -> DocumentT | None:
    """Return the document in a file, or None if there is no file.

    One without a digest, of an older version or by a person's hand, is taken as it is.

    Raises:
        BrokerError: `damaged`: it is no such document, or not as it was written.
        KeyFileError: It is open to others, too long, or unreadable.
    """
    if not path.exists():
        return None
    raw = read_private(path, max_bytes=max_bytes)
    if (found := _DIGEST.search(raw)) is not None:
        raw = raw[: found.start()] + _END
        if sha256(raw).hex().encode() != found[1]:
            raise _damaged(path)
    try:
        return kind.model_validate_json(raw)
    except (ValidationError, UnicodeDecodeError):
        raise _damaged(path) from None


def write_digested(path: Path, document: BaseModel) -> None:
    """Replace the file. The document has one field at least.

    Raises:
        KeyFileError: It cannot be written.
    """
    raw = document.model_dump_json(indent=1).encode()
    digest = f',\n "digest": "{sha256(raw).hex()}"\n}}'
    write_private(path, raw.removesuffix(_END) + digest.encode())


def _damaged(path: Path) -> BrokerError:
    return BrokerError("damaged", f"{path} is damaged")
