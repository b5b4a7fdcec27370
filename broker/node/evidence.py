"""What proves that a hub shows two directories, kept as files for those who will ask its operator.

Under the node's home, one folder for each split:

    evidence/directory-split/TIME-HASH/ours.json     the directory held here, complete
                                       theirs.json   the other one, where it could be fetched
                                       named.json    else who named it, with the signature
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from broker.envelope.signed import Frame
from keys.directory.client import DirectoryClient
from keys.errors import KeyFileError, KeysError
from keys.files import make_private_folder, write_private
from keys.primitives.hashing import sha256
from schemas.decision import Decision
from schemas.label import DirectoryVersion

MAX_KEPT: Final = 16  # folders; a hub that splits for ever must not fill the disk
OURS: Final = "ours.json"
THEIRS: Final = "theirs.json"
NAMED: Final = "named.json"


@dataclass
class Split:
    """A split that nobody was told of yet.

    Attributes:
        at: When it was met.
        files: Evidence by file name.
        detail: Where the evidence is kept, or why it is not; empty until that was tried.
    """

    at: datetime
    files: Mapping[str, bytes]
    detail: str = ""


@dataclass(frozen=True)
class EvidenceFolder:
    """Where one node keeps its evidence.

    Attributes:
        directory: Of which the copy kept is our half of it.
    """

    directory: DirectoryClient

    @property
    def folder(self) -> Path:
        """All splits."""
        return self.directory.folder.parent / "evidence" / "directory-split"

    def keep(self, split: Split) -> Path:
        """Return the folder in which the evidence lies from now on; of many splits, the first.

        Raises:
            KeyFileError: It cannot be written; nothing half written stays.
        """
        files = {OURS: self._ours(), **split.files}
        digest = sha256(*(files[name] for name in sorted(files))).hex()[:8]
        place = self.folder / f"{split.at.strftime('%Y%m%dT%H%M%SZ')}-{digest}"
        unfinished = place.with_name(f".{place.name}")
        make_private_folder(self.folder.parent)
        make_private_folder(self.folder)
        try:
            if place.exists() or self._is_full():
                return place if place.exists() else self.folder
            shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
            make_private_folder(unfinished)
            for name, raw in files.items():
                write_private(unfinished / name, raw)
            unfinished.rename(place)
        except OSError as error:
            raise KeyFileError("cannot-write", f"{place} cannot be written") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return place

    def _is_full(self) -> bool:
        return sum(not path.name.startswith(".") for path in self.folder.iterdir()) >= MAX_KEPT

    def _ours(self) -> bytes:
        try:
            copy = self.directory.load()
        except KeysError:  # damaged; the other half is evidence all the same
            copy = None
        return copy.bundle.to_bytes() if copy else b"{}\n"


def named_by_gateway(decision: Decision) -> bytes:
    """Return proof that the gateway decided under the directory that it names.

    Args:
        decision: Verified.
    """
    return _proof(decision.header.dir, "gateway", decision.kid, decision.signature,
                  header=decision.header_bytes)  # fmt: skip


def named_by_member(frame: Frame) -> bytes:
    """Return proof that a member sealed under the directory that its label names.

    Args:
        frame: Verified. What was signed holds the label's SHA-256; the content is left out.
    """
    label = frame.label
    return _proof(label.dir, label.sender.member, frame.kid, frame.signature,
                  label=frame.label_bytes, signed=frame.signed_bytes())  # fmt: skip


def _proof(
    version: DirectoryVersion, by: str, kid: bytes, signature: bytes, **signed: bytes
) -> bytes:
    fields = {
        "root": version.root,
        "snapshot": version.snapshot,
        "hash": version.hash.hex(),
        "by": by,
        "kid": kid.hex(),
        "signature": signature.hex(),
        **{name: raw.hex() for name, raw in signed.items()},
    }
    return json.dumps(fields, indent=1).encode() + b"\n"
