"""A log written out as a bundle: whole, or what an auditor lacks who verified it before.

    <tiles>/cosigned            the newest checkpoint with a quorum of witnesses, if there is one
    <tiles>/checkpoint          the newest
    <tiles>/checkpoints/<size>  older ones
    <tiles>/tile/...

Since a checkpoint of m leaves means: all entries from the bundle in which leaf m lies, and of each
level the tiles from that on in which hash floor(m / 256^level) lies. Out of these the root at m and
the root now can both be computed, so the one is shown to lead to the other.
"""

import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.audit.bundle import CHECKPOINT, OLDER, OPENINGS, PROOFS, Bundle, is_number
from broker.audit.findings import Findings, Outcome, Places
from broker.audit.openings import Entries, Openings
from broker.audit.proofs import LEAF_ENDS, PROOF_ENDS
from broker.audit.walk import read_tile
from broker.errors import BrokerError
from broker.log.checkpoint import parse_checkpoint
from broker.log.note import parse_note
from broker.log.tiles import TILE_BITS, bundles_of, tiles_of

COSIGNED: Final = "cosigned"
_MODE: Final = 0o644


@dataclass(frozen=True)
class Place:
    """Where the files of a bundle to be are: the log's own, and what its exporter adds."""

    tiles: Bundle
    openings: Path | None = None
    proofs: Path | None = None

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes; None if it is not there."""
        folder, _, name = path.rpartition("/")
        added = {OPENINGS: self.openings, PROOFS: self.proofs}
        if folder not in added:
            return self.tiles.read(path)
        within = added[folder]
        try:
            return None if within is None else (within / name).read_bytes()
        except OSError as error:
            raise BrokerError("bad-file", f"{within}/{name} cannot be read") from error

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder."""
        added = {OPENINGS: self.openings, PROOFS: self.proofs}
        if folder not in added:
            return self.tiles.names(folder)
        within = added[folder]
        try:
            return [] if within is None else sorted(each.name for each in within.iterdir())
        except OSError as error:
            raise BrokerError("bad-file", f"{within} cannot be read") from error


@dataclass(frozen=True)
class Export:
    """What a bundle will hold.

    Attributes:
        place: Of the files.
        note: The newest checkpoint that goes out.
        size: Its leaves.
        since: Leaves that the auditor has verified already.
        witnessed: Whether the note is the newest with a quorum of witnesses.
    """

    place: Place
    note: bytes = field(repr=False)
    size: int
    since: int
    witnessed: bool

    @classmethod
    def of(cls, place: Place, since: bytes = b"") -> "Export":
        """Return what is to be written.

        Args:
            place: Of the files.
            since: The note of the checkpoint that the auditor kept; empty: all of the log.

        Raises:
            BrokerError: `no-log`; `since-newer`: the auditor has seen more than there is to show;
                `bad-opening`: what is to be shown is not what the leaf speaks of.
            LogError: A note is none.
        """
        cosigned = place.read(COSIGNED)
        note = place.read(CHECKPOINT) if cosigned is None else cosigned
        if note is None:
            raise BrokerError("no-log", "there is no log yet: kentong log run")
        size = parse_checkpoint(parse_note(note).text).size
        seen = parse_checkpoint(parse_note(since).text).size if since else 0
        if seen > size:
            said = f"the checkpoint has {seen} leaves, and there are {size} to show"
            raise BrokerError("since-newer", said)
        export = cls(place, note, size, seen, cosigned is not None)
        export._check_openings()
        return export

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield each file of the bundle, read only now.

        Raises:
            BrokerError: `tile-missing`.
        """
        yield CHECKPOINT, self.note
        for name in self.place.names(OLDER):
            if is_number(name) and self.since <= int(name) <= self.size:
                yield from self._file(f"{OLDER}/{name}")
        for tile in (*tiles_of(self.size), *bundles_of(self.size)):
            if tile.index >= self.since >> (TILE_BITS * ((tile.level or 0) + 1)):
                raw = read_tile(self.place, tile)
                if raw is None:
                    raise BrokerError("tile-missing", f"{tile.path} is not there")
                yield tile.path, raw
        for name in self.place.names(OPENINGS):
            if is_number(name):
                yield from self._file(f"{OPENINGS}/{name}")
        for name in self.place.names(PROOFS):
            if name.endswith((PROOF_ENDS, LEAF_ENDS)) and not name.startswith("."):
                yield from self._file(f"{PROOFS}/{name}")

    def write(self, out: Path) -> int:
        """Write the bundle, whole or not at all, and return how many files it has.

        Raises:
            BrokerError: `exists`; `bad-file`: it cannot be written; as `files`.
        """
        if out.exists():
            raise BrokerError("exists", f"{out} exists already")
        aside = out.with_name(f".{out.name}.part")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            _discard(aside)  # of a command that was killed
            count = (self._tar if out.suffix == ".tar" else self._folder)(aside)
            aside.rename(out)
        except OSError as error:
            raise BrokerError("bad-file", f"{out} cannot be written") from error
        finally:
            _discard(aside)
        return count

    def _file(self, path: str) -> Iterator[tuple[str, bytes]]:
        raw = self.place.read(path)
        if raw is not None:
            yield path, raw

    def _check_openings(self) -> None:
        findings = Findings()
        openings = Openings(Entries(self.place, self.size), opened=lambda _: None)
        openings.check(findings, Places())
        for line in findings.lines:
            if line.outcome is Outcome.FAIL:
                raise BrokerError("bad-opening", f"{line.check}: {line.detail}")

    def _tar(self, out: Path) -> int:
        count = 0
        with tarfile.open(out, "w") as archive:
            for path, raw in self.files():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(raw), _MODE
                archive.addfile(member, io.BytesIO(raw))
                count += 1
        return count

    def _folder(self, out: Path) -> int:
        count = 0
        out.mkdir()
        for path, raw in self.files():
            target = out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(raw)
            count += 1
        return count


def _discard(aside: Path) -> None:
    if aside.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)
