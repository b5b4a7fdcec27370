"""The node's service to its desks, and the tasks behind it."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self
from uuid import UUID

from typing_extensions import override

from broker.node.arrivals import Arrivals
from broker.node.arrivedfiles import ArrivedFiles
from broker.node.changes import Changes
from broker.node.condition import Condition
from broker.node.controls import Controls
from broker.node.directorygate import DEFAULT_WAIT, DirectoryGate
from broker.node.drafts import Drafts
from broker.node.evidence import EvidenceFolder
from broker.node.held import HeldMail
from broker.node.inbox import Inbox
from broker.node.incoming import Incoming
from broker.node.logwatch import COMPARE_S, LogWatch
from broker.node.outgoing import Outgoing
from broker.node.present import Present
from broker.node.receipts import Receipts
from broker.node.sealing import Sealer
from broker.node.service import NodeService
from broker.node.staging import Staging
from broker.node.touch import touch
from broker.node.tracking import Tracking
from broker.node.upkeep import Upkeep
from broker.node.uploads import Uploads
from broker.node.vault import Vault
from broker.store.chunkfiles import ChunkFiles
from broker.store.database import Database
from broker.transport.link import Link
from keys.directory.client import DirectoryClient
from keys.identity import MemberIdentity
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
from schemas.vocabulary import Lane


@dataclass(frozen=True)
class Quotas:
    """How much room attached files may take on this node's disk.

    Attributes:
        out_bytes: Of those that the hub does not have yet.
        in_bytes: Of those received; more waits at the hub.
    """

    out_bytes: int = 4 * 1024**3
    in_bytes: int = 16 * 1024**3


@dataclass
class Node(NodeService):
    """One member's node. `run` works until it is cancelled; the rest answers desks."""

    present: Present
    identity: MemberIdentity
    database: Database
    link: Link
    attachments_folder: Path
    directory: DirectoryClient | None = None
    log_folder: Path | None = None
    log_compare_s: float = COMPARE_S
    quotas: Quotas = field(default_factory=Quotas)
    directory_wait: timedelta = DEFAULT_WAIT
    changes: Changes = field(default_factory=Changes)  # Of submissions.
    mail: Changes = field(default_factory=Changes)  # Of the inbox.

    def __post_init__(self) -> None:
        """Join the parts."""
        present, database, link = self.present, self.database, self.link
        vault = Vault(self.identity.storage_key)
        if self.directory is not None:
            present.evidence = EvidenceFolder(self.directory)
        sealer = Sealer(present, self.identity)
        controls = Controls(present, database, sealer)
        self.outgoing = Outgoing(present, database, vault, sealer, link, self.changes)
        self.receipts = Receipts(present, database, controls, link, self.changes)
        sealed = self.outgoing.sealed
        self.incoming = Incoming(
            present,
            self.identity,
            database,
            vault,
            controls,
            link,
            self.changes,
            self.mail,
            sealed,
        )
        self.gate = DirectoryGate(present, database, self.directory, self.directory_wait)
        self.log = self._log_watch()
        folder, quotas = self.attachments_folder, self.quotas
        out, into = ChunkFiles(folder / "out"), ChunkFiles(folder / "in")
        self.staging = Staging(present, database, vault, out, quotas.out_bytes)
        self.uploads = Uploads(present, database, vault, self.staging, link, self.changes)
        self.arrivals = Arrivals(present, database, vault, into, link, self.mail, quotas.in_bytes)
        self.upkeep = Upkeep(
            present,
            database,
            sealer,
            controls,
            link,
            self.changes,
            sealed,
            self.directory,
            self.staging,
            self.arrivals,
            self.gate,
        )
        self._drafts = Drafts(present, database, vault, self.staging, self.outgoing, self.changes)
        self._tracking = Tracking(present, database, self.changes)
        arrived = ArrivedFiles(database, vault, into)
        self._inbox = Inbox(present, database, vault, arrived, self.mail)
        self._condition = Condition(present, self.identity, database, link, self.log)

    def _log_watch(self) -> LogWatch | None:
        if self.log_folder is None:
            return None
        present, database, link = self.present, self.database, self.link
        watch = LogWatch(
            present,
            database,
            link,
            self.identity.witness_seed,
            self.log_folder,
            self.gate,
            self.log_compare_s,
            next_seed=self.identity.next_witness_seed,
        )
        watch.held = HeldMail(present, database, link, watch.files, self.incoming)
        self.incoming.holds = True
        return watch

    @property
    @override
    def member(self) -> str:
        return self.present.member

    async def run(self) -> None:
        """Send, receive and keep up, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.upkeep.run())
            if self.log is not None:
                group.create_task(self.log.run())
            group.create_task(self._seal())
            group.create_task(self.outgoing.submit_for_ever())
            group.create_task(self._carry_files())
            group.create_task(self.receipts.read_for_ever())
            for lane in Lane:
                group.create_task(self.incoming.read_lane_for_ever(lane))

    def take(self, identity: MemberIdentity) -> None:
        """Open with these keys from now on; called where keys were destroyed."""
        self.identity = self.incoming.identity = self._condition.identity = identity

    async def _carry_files(self) -> None:
        await self.staging.tidy()
        await self.arrivals.tidy()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.uploads.upload_for_ever())
            group.create_task(self.arrivals.fetch_for_ever())

    async def _seal(self) -> None:
        await self.upkeep.ask_time_first()
        await self.outgoing.seal_for_ever()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Run while the block runs."""
        work = asyncio.get_running_loop().create_task(self.run())
        try:
            yield self
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    # --- sending ---

    @override
    async def preview(self, request: DraftRequest) -> Preview:
        return await self._drafts.preview(request)

    @override
    async def create_draft(self, request: DraftRequest) -> StoredDraft:
        return await self._drafts.create(request)

    @override
    async def submit_draft(
        self, draft_id: UUID, *, signature: bytes, officer_kid: bytes, idempotency_key: str
    ) -> Submission:
        return await self._drafts.submit(
            draft_id,
            signature=signature,
            officer_kid=officer_kid,
            idempotency_key=idempotency_key,
        )

    @override
    async def create_attachment(self, owner: str, request: AttachmentRequest) -> AttachmentUpload:
        return await self.staging.create(owner, request)

    @override
    async def put_chunk(
        self, owner: str, attachment_id: UUID, index: int, raw: bytes
    ) -> AttachmentUpload:
        return await self.staging.put(owner, attachment_id, index, raw)

    @override
    async def attachment_upload(self, owner: str, attachment_id: UUID) -> AttachmentUpload:
        return await self.staging.status(owner, attachment_id)

    @override
    async def attachments_waiting(self, owner: str) -> WaitingFiles:
        return await self.staging.waiting(owner)

    @override
    async def withdraw_attachment(self, owner: str, attachment_id: UUID) -> None:
        await self.staging.withdraw(owner, attachment_id)

    @override
    async def submission(self, reference: UUID) -> Submission:
        return await self._tracking.find(reference)

    @override
    async def outbox(
        self,
        *,
        states: Collection[SubmissionState] = (),
        before: UUID | None = None,
        limit: int = 50,
    ) -> SubmissionPage:
        return await self._tracking.page(states=states, before=before, limit=limit)

    @override
    async def cancel(self, submission_id: UUID) -> Submission:
        return await self._tracking.cancel(submission_id)

    @override
    async def proceed(self, submission_id: UUID) -> Submission:
        return await self._tracking.proceed(submission_id)

    @override
    def watch(self, submission_id: UUID) -> AsyncIterator[Submission]:
        return self._tracking.watch(submission_id)

    # --- receiving ---

    @override
    async def inbox(
        self, *, types: Collection[str] = (), since: int = 0, limit: int = 50
    ) -> InboxPage:
        return await self._inbox.page(types=types, since=since, limit=limit)

    @override
    async def item(self, item_id: UUID) -> InboxItem:
        return await self._inbox.item(item_id)

    @override
    async def original(self, item_id: UUID) -> OriginalDocument:
        return await self._inbox.original(item_id)

    @override
    async def attachment(
        self, item_id: UUID, number: int, *, start: int = 0
    ) -> tuple[AttachmentShown, AsyncIterator[bytes]]:
        return await self._inbox.attachment(item_id, number, start=start)

    @override
    def subscribe(self, *, types: Collection[str] = (), since: int = 0) -> AsyncIterator[InboxItem]:
        return self._inbox.subscribe(types=types, since=since)

    @override
    async def cursor(self, name: str) -> Cursor:
        return await self._inbox.cursor(name)

    @override
    async def acknowledge(self, name: str, position: int) -> Cursor:
        return await self._inbox.acknowledge(name, position)

    # --- the node itself ---

    @override
    async def status(self) -> NodeStatus:
        return await self._condition.status()

    @override
    async def check_writes(self) -> None:
        await self.database.change(touch)

    @override
    async def members(self) -> MembersPage:
        return self._condition.members()
