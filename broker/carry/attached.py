"""Attached files of a node without a link: it writes down what its ferry then asks the hub.

The node's file holds its requests as the hub takes them (`hub.<CC>.att.<what>`), chunks among them,
sealed to their places. The ferry makes them, and what the hub answered goes back in its next file.
A chunk is opened before it is kept, so nobody's word for it is needed. That the hub has a file, or
knows that a file is here, is believed only of a ferry whose key this node made: on its word files
are deleted.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field, ValidationError
from sqlalchemy import func, select
from typing_extensions import override

from broker.carry.form import CarryError, Record, What, Whole, Writer
from broker.envelope.chunks import file_key, seal_chunk
from broker.node import submissions
from broker.node.ids import from_ms, to_ms
from broker.node.node import Node
from broker.node.sealing import hurry
from broker.store.errors import StoreError
from broker.store.tables import arrivals, uploads
from broker.transport.attaching import Attaching, AttachmentServices, Done, Get, Opened, Put
from broker.transport.errors import Unreachable
from broker.transport.link import REQUEST_TIMEOUT_S
from broker.transport.unlinked import Unlinked
from keys.errors import KeyFileError
from keys.files import make_private_folder, read_private, write_private
from keys.kid import kid_of
from keys.primitives.hashing import sha256
from keys.primitives.signing import VerifyKey
from schemas.desk import ArrivalState
from schemas.label import Strict

MAX_GETS: Final = 4096  # chunks asked for in one file: 1 GiB of the two that it may have
SERVICES: Final = frozenset(f"att.{what}" for what in Attaching)
_BELIEVED_OF_A_FERRY: Final = frozenset({"att.open", "att.done"})
_MAX_FERRIES: Final = 256
_MAX_BYTES: Final = 64 * 1024
_Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def answer_name(service: str, payload: bytes) -> str:
    """Return how the answer to a request is called in a file to the node."""
    return f"{service}:{sha256(payload).hex()}"


class _Asking(Unlinked):
    """Writes every request into a file; nobody answers yet."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer

    @override
    async def request(
        self, subject: str, payload: bytes, *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> bytes:
        _, _, service = subject.split(".", 2)
        self._writer.add(Record(What.ASK, service, 0, payload))
        raise Unreachable("the ferry asks")


@dataclass(frozen=True)
class FileRequests:
    """What one node asks about attached files, put down for its ferry."""

    node: Node
    writer: Writer

    async def write(self) -> None:
        """Write all of it, what the hub has not yet of our files first.

        Raises:
            CarryError: `carry-full`: the rest goes with the next file.
            NodeError: `storage-damaged`.
            StoreError: The database or the disk cannot be read.
        """
        hub = AttachmentServices(_Asking(self.writer), self.node.member)
        await self._hand_in(hub)
        await self._say_done(hub)
        await self._fetch(hub)

    async def _hand_in(self, hub: AttachmentServices) -> None:
        """Ask for each accepted alert of ours how far the hub is, and hand in the rest."""
        own = self.node.uploads
        for row in await own.accepted():
            ident, submission_id = UUID(row.envelope_id), UUID(row.submission_id)
            key = own.vault.open(row.sealed, name=f"upload/{ident}")
            files = await self.node.staging.of_submission(submission_id)
            counts = tuple(manifest.chunks for _, manifest in files)
            with suppress(Unreachable):
                await hub.open(Opened(ident, counts, from_ms(row.expires_ms)))
            known = await self._known(submission_id)
            for number, (staged, manifest) in enumerate(files):
                of_file = file_key(key, number)
                for index in range(known.get(number, 0), manifest.chunks):
                    plain = await self.node.staging.chunk(staged, index)
                    sealed = seal_chunk(of_file, manifest, number, index, plain)
                    with suppress(Unreachable):
                        await hub.put(Put(ident, number, index, sealed))

    async def _known(self, submission_id: UUID) -> dict[int, int]:
        """Return how many chunks of each file the hub said that it has."""
        counted = select(func.count()).where(uploads.c.submission_id == str(submission_id))
        async with self.node.database.read() as connection:
            envelopes = int((await connection.execute(counted)).scalar_one())
            try:
                submission = await submissions.find(connection, submission_id)
            except StoreError:  # the disk changed it: all of its chunks go once more
                return {}
        if envelopes != 1:  # sealed again for somebody: the hub has several, told as one
            return {}
        return {each.number - 1: each.uploaded for each in submission.attachments}

    async def _say_done(self, hub: AttachmentServices) -> None:
        """Say of every alert whose files are all here that the hub may forget them."""
        waiting = select(arrivals.c.envelope_id).where(
            arrivals.c.state == str(ArrivalState.ARRIVING)
        )
        asked = (
            select(arrivals.c.envelope_id, arrivals.c.sender)
            .where(arrivals.c.told == 0, arrivals.c.envelope_id.not_in(waiting))
            .distinct()
        )
        for row in await self._rows(asked):
            with suppress(Unreachable):
                await hub.done(Done(row.sender, UUID(row.envelope_id)))

    async def _fetch(self, hub: AttachmentServices) -> None:
        """Ask for the chunks that are missing here, each file from where it is."""
        now_ms, left = to_ms(self.node.present.now()), MAX_GETS
        asked = (
            select(arrivals)
            .where(
                arrivals.c.state == str(ArrivalState.ARRIVING),
                arrivals.c.expires_ms > now_ms,
            )
            .order_by(arrivals.c.expires_ms)
        )
        for row in await self._rows(asked):
            files = self.node.arrivals.files
            start = files.first_missing(row.envelope_id, row.number, row.chunks)
            wanted = range(start, min(row.chunks, start + left))
            left -= len(wanted)
            for index in wanted:
                with suppress(Unreachable):
                    await hub.get(Get(row.sender, UUID(row.envelope_id), row.number, index))

    async def _rows(self, asked: Any) -> list[Any]:  # noqa: ANN401 - a query, and its rows
        async with self.node.database.read() as connection:
            return list((await connection.execute(asked)).all())


async def take_files(node: Node) -> int:
    """Take what a ferry's file answers about attached files; return how many chunks came.

    The link's answers must be those of the file.

    Raises:
        BrokerError: The database or the disk does not keep it.
    """
    await node.database.change(hurry)  # nothing waits for a time: the answers are here now
    await node.uploads.upload_due()
    await node.uploads.forget_over()
    came = 0
    while moved := await node.arrivals.fetch_due():
        came += moved
    return came


async def take_done(node: Node) -> None:
    """Take the hub's word that it knows what is here; before anything new is here."""
    with suppress(Unreachable):
        await node.arrivals.tell_due()


def believed(service: str, *, signed: bool) -> bool:
    """Return whether an answer counts: some only if a ferry of ours wrote the file."""
    return signed or service not in _BELIEVED_OF_A_FERRY


class _Ferries(Strict):
    """`carry/ferries.json`: the public keys of the ferries that this node made."""

    format: Annotated[int, Field(ge=1, le=1)] = 1
    keys: Annotated[tuple[_Key, ...], Field(max_length=_MAX_FERRIES)] = ()


@dataclass(frozen=True)
class KnownFerries:
    """The ferries that one node made."""

    folder: Path

    def add(self, public: bytes) -> None:
        """Note one more; the oldest of very many is forgotten.

        Raises:
            KeyFileError: It cannot be written.
        """
        keys = (*self._keys(), public.hex())[-_MAX_FERRIES:]
        make_private_folder(self.folder)
        write_private(self._path, json.dumps({"format": 1, "keys": keys}).encode())

    def wrote(self, whole: Whole) -> bool:
        """Return whether one of them wrote a file."""
        for key in map(bytes.fromhex, self._keys()):
            if kid_of(key) == whole.kid:
                try:
                    whole.check_signed(VerifyKey(key))
                except CarryError:
                    return False
                return True
        return False

    def _keys(self) -> tuple[str, ...]:
        """Return what is noted; a note that is lost or damaged costs a ferry its word."""
        try:
            return _Ferries.model_validate_json(read_private(self._path, max_bytes=_MAX_BYTES)).keys
        except (KeyFileError, ValidationError):
            return ()

    @property
    def _path(self) -> Path:
        return self.folder / "ferries.json"
