"""What a node does for its desks. The HTTP API calls this and nothing else of the node.

Every method may raise `NodeError` (see its `kind`) and, from the database, `StoreError`; both are
`BrokerError` with `code` and `retry`. What is returned has been stored durably first.
"""

from collections.abc import AsyncIterator, Collection
from typing import Protocol
from uuid import UUID

from schemas.desk import (
    AttachmentRequest,
    AttachmentShown,
    AttachmentUpload,
    Cursor,
    DraftRequest,
    InboxItem,
    InboxPage,
    MembersPage,
    NodeStatus,
    OriginalDocument,
    Preview,
    StoredDraft,
    Submission,
    SubmissionPage,
    SubmissionState,
    WaitingFiles,
)


class NodeService(Protocol):
    """A member's node, as its desks see it."""

    @property
    def member(self) -> str:
        """Code of the member whose node this is."""
        ...

    # --- sending ---

    async def preview(self, request: DraftRequest) -> Preview:
        """Return who would receive this, why not the others, and what the hub would see.

        Raises:
            NodeError: `invalid` (content or label breaks a rule; `field` says where) or
                `unavailable` with code `no-directory`.
        """
        ...

    async def create_draft(self, request: DraftRequest) -> StoredDraft:
        """Keep a draft for a day and return the bytes that `request.officer_kid` must sign.

        Raises:
            NodeError: As `preview`; also `invalid` without a signer (`officer-key-missing`),
                `forbidden` if the directory does not certify that officer.
        """
        ...

    async def submit_draft(
        self, draft_id: UUID, *, signature: bytes, officer_kid: bytes, idempotency_key: str
    ) -> Submission:
        """Queue a signed draft. Once this returns, no crash loses it.

        Recipients that policy does not permit are shown as refused by this node and are left out
        of the envelope; with nobody left the submission is decided at once and nothing is sent.

        Raises:
            NodeError: `not-found` (no such draft, or forgotten), `forbidden` (signature does not
                verify, officer not certified or expired), `conflict` (`idempotency-reused`: key
                known with other bytes; `draft-used`: submitted before under another key).
        """
        ...

    async def create_attachment(self, owner: str, request: AttachmentRequest) -> AttachmentUpload:
        """Begin a file of a desk, or go on with the same one that it began before.

        Raises:
            NodeError: `invalid` (`attachment-too-large`) or `unavailable` (`attachments-full`).
        """
        ...

    async def put_chunk(
        self, owner: str, attachment_id: UUID, index: int, raw: bytes
    ) -> AttachmentUpload:
        """Keep chunk `index` of a file durably; chunks come in order, a repeated one does no harm.

        Raises:
            NodeError: `not-found`, `invalid` (`no-such-chunk`) or `conflict` (`out-of-order`,
                `chunk-differs`, `attachment-used`, `attachment-mismatch`: begin again).
        """
        ...

    async def attachment_upload(self, owner: str, attachment_id: UUID) -> AttachmentUpload:
        """Return how far a file of a desk is.

        Raises:
            NodeError: `not-found`.
        """
        ...

    async def attachments_waiting(self, owner: str) -> WaitingFiles:
        """Return the files of a desk that no submission took, oldest first."""
        ...

    async def withdraw_attachment(self, owner: str, attachment_id: UUID) -> None:
        """Delete a file of a desk that no submission took.

        Raises:
            NodeError: `not-found` or `conflict` (`attachment-used`).
        """
        ...

    async def submission(self, reference: UUID) -> Submission:
        """Return one submission by its id, its alert's id (newest) or its envelope's id.

        Raises:
            NodeError: `not-found`.
        """
        ...

    async def outbox(
        self,
        *,
        states: Collection[SubmissionState] = (),
        before: UUID | None = None,
        limit: int = 50,
    ) -> SubmissionPage:
        """Return submissions, newest first; all states if none is named."""
        ...

    async def cancel(self, submission_id: UUID) -> Submission:
        """Withdraw what was not handed to the hub yet.

        Raises:
            NodeError: `not-found`, or `conflict` (`already-submitted`).
        """
        ...

    async def proceed(self, submission_id: UUID) -> Submission:
        """Let a submission that needs attention go to those whom policy still permits.

        Raises:
            NodeError: `not-found`, or `conflict` (`no-attention-needed`).
        """
        ...

    def watch(self, submission_id: UUID) -> AsyncIterator[Submission]:
        """Yield the submission now and at each change, and end when nothing more can change.

        A slow reader misses states in between, never the last one.
        """
        ...

    # --- receiving ---

    async def inbox(
        self, *, types: Collection[str] = (), since: int = 0, limit: int = 50
    ) -> InboxPage:
        """Return stored alerts after position `since`, oldest first; all types if none named."""
        ...

    async def item(self, item_id: UUID) -> InboxItem:
        """Return one alert by its envelope's id, or the newest revision by its alert's id.

        Raises:
            NodeError: `not-found`.
        """
        ...

    async def original(self, item_id: UUID) -> OriginalDocument:
        """Return the source document, byte for byte.

        Raises:
            NodeError: `not-found` (no such item, or the document was not carried).
        """
        ...

    async def attachment(
        self, item_id: UUID, number: int, *, start: int = 0
    ) -> tuple[AttachmentShown, AsyncIterator[bytes]]:
        """Return an attached file and its bytes from `start` on, a chunk at a time.

        Raises:
            NodeError: `not-found` (also `attachment-expired`), `unavailable`
                (`attachment-arriving`) or `conflict` (`attachment-mismatch`).
        """
        ...

    def subscribe(self, *, types: Collection[str] = (), since: int = 0) -> AsyncIterator[InboxItem]:
        """Yield stored alerts after `since`, then each new one as it is stored; never ends."""
        ...

    async def cursor(self, name: str) -> Cursor:
        """Return a named reader's place; position 0 if never acknowledged."""
        ...

    async def acknowledge(self, name: str, position: int) -> Cursor:
        """Move a cursor forward. An older position leaves it where it is.

        Raises:
            NodeError: `invalid` if the inbox has not got that far.
        """
        ...

    # --- the node itself ---

    async def status(self) -> NodeStatus:
        """Return how the node is."""
        ...

    async def check_writes(self) -> None:
        """Return once the database has taken a small write.

        Raises:
            StoreError: It does not.
        """
        ...

    async def members(self) -> MembersPage:
        """Return whom the directory names.

        Raises:
            NodeError: `unavailable` with code `no-directory`.
        """
        ...
