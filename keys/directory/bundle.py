"""One version of the directory as bytes: what is verified, kept, carried and compared.

A bundle is complete: a reader who holds the first root needs nothing else. All its files are
text, so it is written as JSON, in which every file stands as a string and keeps its exact bytes.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from keys.directory import layout
from keys.errors import DirectoryError
from schemas.label import MAX_MEMBERS, Strict

MAX_BUNDLE_BYTES: Final = 32 * 1024 * 1024
_MAX_ROLES: Final = MAX_MEMBERS + 1
_MAX_FILES: Final = 3 * MAX_MEMBERS + 4


def _text(max_bytes: int) -> object:
    return Field(max_length=max_bytes)


class Bundle(Strict):
    """Bytes of a directory version, as text. Nothing in it is trusted.

    Attributes:
        roots: Root metadata from the first to the newest, one for each version.
        timestamp: Timestamp metadata.
        snapshot: Snapshot metadata.
        targets: Top-level targets metadata.
        roles: Metadata of each delegated role, by name.
        files: Target files, by path.
    """

    format: Literal[1] = 1
    roots: Annotated[
        tuple[Annotated[str, _text(layout.MAX_ROOT_BYTES)], ...],
        Field(min_length=1, max_length=10 * layout.MAX_ROOT_ROTATIONS),
    ]
    timestamp: Annotated[str, _text(layout.MAX_TIMESTAMP_BYTES)]
    snapshot: Annotated[str, _text(layout.MAX_SNAPSHOT_BYTES)]
    targets: Annotated[str, _text(layout.MAX_TARGETS_BYTES)]
    roles: Annotated[
        dict[str, Annotated[str, _text(layout.MAX_ROLE_BYTES)]], Field(max_length=_MAX_ROLES)
    ]
    files: Annotated[
        dict[str, Annotated[str, _text(layout.MAX_FILE_BYTES)]], Field(max_length=_MAX_FILES)
    ]

    @classmethod
    def of(
        cls,
        *,
        roots: list[bytes],
        timestamp: bytes,
        snapshot: bytes,
        targets: bytes,
        roles: Mapping[str, bytes],
        files: Mapping[str, bytes],
    ) -> "Bundle":
        """Return the bundle of these bytes.

        Raises:
            DirectoryError: `bad-bundle`: a file is no text or too long.
        """
        try:
            return cls(
                roots=tuple(root.decode() for root in roots),
                timestamp=timestamp.decode(),
                snapshot=snapshot.decode(),
                targets=targets.decode(),
                roles={name: raw.decode() for name, raw in roles.items()},
                files={path: raw.decode() for path, raw in files.items()},
            )
        except ValueError:  # pydantic's errors and decoding's
            raise DirectoryError("bad-bundle", "a file of the directory is no text") from None

    def to_bytes(self) -> bytes:
        """Return the bundle as a file."""
        return self.model_dump_json(indent=1).encode()


def parse_bundle(raw: bytes) -> Bundle:
    """Return the bundle in `raw`, which is not yet trusted.

    Raises:
        DirectoryError: `bad-bundle`.
    """
    if len(raw) > MAX_BUNDLE_BYTES:
        raise DirectoryError("bad-bundle", f"a bundle has at most {MAX_BUNDLE_BYTES} bytes")
    try:
        return Bundle.model_validate_json(raw)
    except ValidationError:
        raise DirectoryError("bad-bundle", "the file is no directory bundle") from None
