"""What desk and node say to each other of files attached to alerts."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from schemas.attachment import MEDIA_TYPE, Manifest, check_name
from schemas.desk.fields import Hash
from schemas.label import Moment, Strict

FileName = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(check_name)]
MediaType = Annotated[str, Field(pattern=MEDIA_TYPE)]
FileBytes = Annotated[int, Field(ge=1, le=2**53)]


class AttachmentRequest(Strict):
    """A file that a desk is about to hand over.

    Attributes:
        name: As its recipients will see it; no path.
        bytes: Its length.
        sha256: Of the whole file; the node compares.
    """

    name: FileName
    media_type: MediaType
    bytes: FileBytes
    sha256: Hash

    def manifest(self) -> Manifest:
        """Return what the officer will sign of it."""
        return Manifest(self.name, self.media_type, self.bytes, self.sha256)


class AttachedFile(AttachmentRequest):
    """A file that a draft names.

    Attributes:
        attachment_id: As the node gave it; a preview needs none, a draft does.
    """

    attachment_id: UUID | None = None


class AttachmentUpload(Strict):
    """How far a file is on its way from the desk to the node.

    Attributes:
        chunk_bytes: Length of every chunk but the last.
        chunks: How many there are.
        next: The first that the node does not have; go on there.
        complete: Whether all are here and their SHA-256 is the one announced.
        expires_at: Until when it is kept for a draft.
    """

    attachment_id: UUID
    chunk_bytes: int
    chunks: int
    next: int
    complete: bool
    expires_at: Moment


class WaitingFile(AttachmentUpload):
    """A file that a desk handed over, in whole or in part, and no alert has taken.

    Attributes:
        name: As its recipients would see it.
        bytes: Its length.
    """

    name: str
    bytes: int


class WaitingFiles(Strict):
    """All files of one desk that no alert has taken, oldest first."""

    items: tuple[WaitingFile, ...]


class SendingState(StrEnum):
    """Where an attached file is on its way to the hub."""

    WAITING = "waiting"  # for the gateway's decision on the alert
    UPLOADING = "uploading"
    UPLOADED = "uploaded"  # the hub has all of it, and this node no more
    DROPPED = "dropped"  # nobody was let through
    REFUSED = "refused"  # `code` says why

    @property
    def final(self) -> bool:
        """Whether nothing more is expected."""
        return self in (self.UPLOADED, self.DROPPED, self.REFUSED)


class AttachmentSent(Strict):
    """An attached file on its way to the hub. Its name is not repeated here.

    Attributes:
        number: In the order of the draft, counted from 1.
        uploaded: Chunks that the hub has.
        code: What it waits for, or why it was refused.
    """

    number: int
    chunks: int
    uploaded: int = 0
    state: SendingState = SendingState.WAITING
    code: str = ""


class ArrivalState(StrEnum):
    """Where an attached file is on its way to this node."""

    ARRIVING = "arriving"
    COMPLETE = "complete"  # all here, every chunk and the whole compared
    EXPIRED = "expired"  # its time was over before it was here
    REFUSED = "refused"  # what arrived is not the file that the officer signed


class AttachmentShown(Strict):
    """A file attached to a received alert.

    Attributes:
        number: For asking for it, counted from 1.
        media_type: As its sender states it; treat the file as you would any received file.
        chunks: How many there are.
        have: How many of them are here.
        code: What it waits for, or why it was refused; may be empty.
    """

    number: int
    name: str
    media_type: str
    bytes: int
    sha256: Hash
    chunks: int
    have: int = 0
    state: ArrivalState = ArrivalState.ARRIVING
    code: str = ""
