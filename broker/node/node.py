"""The node's service to its desks, and the tasks behind it."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import override

from broker.node import alarms, drafting, notices, pairs, submissions
from broker.node.arrivals import Arrivals
from broker.node.changes import Changes
from broker.node.controls import Controls
from broker.node.directorygate import DEFAULT_WAIT, DirectoryGate
from broker.node.drafting import Prepared
from broker.node.epochkeys import key_alarms
from broker.node.errors import NodeError
from broker.node.evidence import EvidenceFolder
from broker.node.ids import from_ms, new_id, to_ms
from broker.node.incoming import Incoming, Kept
from broker.node.logwatch import COMPARE_S, LogWatch
from broker.node.outgoing import Outgoing
from broker.node.present import Present
from broker.node.sealing import Sealer, incarnation_of
from broker.node.service import NodeService
from broker.node.staging import Staging
from broker.node.standing import as_known_now
from broker.node.upkeep import Upkeep
from broker.node.uploads import Uploads
from broker.node.vault import Vault
from broker.store import tables
from broker.store.chunkfiles import ChunkFiles
from broker.store.database import Database
from broker.transport.link import Link
from keys.directory.client import DirectoryClient
from keys.errors import DirectoryError, SignatureError
from keys.identity import MemberIdentity
from keys.primitives.hashing import sha256
from schemas.desk import (
    Alarm,
    AttachmentRequest,
    AttachmentSent,
    AttachmentShown,
    AttachmentUpload,
    Cursor,
    DraftRequest,
    InboxItem,
    InboxPage,
    MemberShown,
    MembersPage,
    NodeStatus,
    OriginalDocument,
    Preview,
    RecipientOutcome,
    RecipientState,
    StoredDraft,
    Submission,
    SubmissionPage,
    SubmissionState,
)
from schemas.directory import OfficerRole
from schemas.label import Strict
from schemas.vocabulary import Lane, Status

_WATCH_S: Final = 5.0  # a watcher looks again after this long even if nothing woke it


class _Draft(Strict):
    """What is sealed in a draft's row."""

    prepared: Prepared
    refused: tuple[tuple[str, str, str], ...]  # recipient, code, rule


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
        """Join the halves."""
        vault = Vault(self.identity.storage_key)
        if self.directory is not None:
            self.present.evidence = EvidenceFolder(self.directory)
        sealer = Sealer(self.present, self.identity)
        self._vault = vault
        controls = Controls(self.present, self.database, sealer)
        self.outgoing = Outgoing(
            self.present, self.database, vault, sealer, controls, self.link, self.changes
        )
        self.incoming = Incoming(
            self.present,
            self.identity,
            self.database,
            vault,
            controls,
            self.link,
            self.changes,
            self.mail,
            self.outgoing.sealed,
        )
        self.gate = DirectoryGate(self.present, self.database, self.directory, self.directory_wait)
        self.log = (
            None
            if self.log_folder is None
            else LogWatch(
                self.present,
                self.database,
                self.link,
                self.identity.witness_seed,
                self.log_folder,
                self.gate,
                self.log_compare_s,
            )
        )
        folder = self.attachments_folder
        out, into = ChunkFiles(folder / "out"), ChunkFiles(folder / "in")
        self.staging = Staging(self.present, self.database, vault, out, self.quotas.out_bytes)
        self.uploads = Uploads(
            self.present, self.database, vault, self.staging, self.link, self.changes
        )
        self.arrivals = Arrivals(
            self.present, self.database, vault, into, self.link, self.mail, self.quotas.in_bytes
        )
        self.upkeep = Upkeep(
            self.present,
            self.database,
            sealer,
            controls,
            self.link,
            self.changes,
            self.outgoing.sealed,
            self.directory,
            self.staging,
            self.arrivals,
            self.gate,
        )

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
            group.create_task(self.outgoing.read_receipts_for_ever())
            for lane in Lane:
                group.create_task(self.incoming.read_lane_for_ever(lane))

    def take(self, identity: MemberIdentity) -> None:
        """Open with these keys from now on; called where keys were destroyed."""
        self.identity = self.incoming.identity = identity

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
        composed = drafting.compose(request, self.present)
        return await self._shown(request, composed)

    @override
    async def create_draft(self, request: DraftRequest) -> StoredDraft:
        composed = drafting.compose(request, self.present)
        shown = await self._shown(request, composed)
        files = await self.staging.ready(request.attachments)
        prepared, stored = drafting.prepare(request, composed, self.present, shown, files)
        refused = tuple(
            (code, verdict.code, verdict.rule)
            for code, verdict in composed.verdicts.items()
            if not verdict.permitted
        )
        draft = _Draft(prepared=prepared, refused=refused)
        name = f"draft/{stored.draft_id}"
        sealed = self._vault.seal(draft.model_dump_json().encode(), name=name)

        async def change(connection: AsyncConnection) -> None:
            await connection.execute(
                insert(tables.drafts).values(
                    id=str(stored.draft_id), expires_ms=to_ms(stored.expires_at), sealed=sealed
                )
            )

        await self.database.change(change)
        return stored

    @override
    async def submit_draft(
        self, draft_id: UUID, *, signature: bytes, officer_kid: bytes, idempotency_key: str
    ) -> Submission:
        fingerprint = sha256(draft_id.bytes, officer_kid, signature)

        async def change(connection: AsyncConnection) -> Submission:
            known = await _same_request(connection, idempotency_key, fingerprint)
            if known is not None:
                return await submissions.find(connection, known)
            draft = await self._draft(connection, draft_id)
            officer = self._check_signature(draft.prepared, signature, officer_kid)
            return await self._queue(
                connection, draft, draft_id, signature, officer, idempotency_key, fingerprint
            )

        submission = await self.database.change(change)
        self.changes.happened()
        return submission

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
    async def submission(self, reference: UUID) -> Submission:
        async with self.database.read() as connection:
            return await submissions.find(connection, reference)

    @override
    async def outbox(
        self,
        *,
        states: Collection[SubmissionState] = (),
        before: UUID | None = None,
        limit: int = 50,
    ) -> SubmissionPage:
        async with self.database.read() as connection:
            return await submissions.page(connection, states=states, before=before, limit=limit)

    @override
    async def cancel(self, submission_id: UUID) -> Submission:
        async def change(connection: AsyncConnection) -> Submission:
            submission = await submissions.find(connection, submission_id)
            if submission.state not in {SubmissionState.QUEUED, SubmissionState.NEEDS_ATTENTION}:
                raise NodeError(
                    "already-submitted", "it was handed to the hub already", kind="conflict"
                )
            waiting = submissions.waiting_recipients(submission)
            withdrawn: dict[str, dict[str, object]] = {
                code: {
                    "state": RecipientState.REFUSED,
                    "code": "cancelled",
                    "refused_by": "desk",
                }
                for code in waiting
            }
            moved = submissions.with_outcomes(submission, withdrawn, now=self.present.now())
            done = moved.model_copy(
                update={"state": SubmissionState.CANCELLED, "waiting_for": "", "attention": ""}
            )
            return await submissions.save(connection, done)

        return await self._changed(change)

    @override
    async def proceed(self, submission_id: UUID) -> Submission:
        async def change(connection: AsyncConnection) -> Submission:
            submission = await submissions.find(connection, submission_id)
            if submission.state is not SubmissionState.NEEDS_ATTENTION:
                raise NodeError(
                    "no-attention-needed", "it does not wait for a person", kind="conflict"
                )
            going = {"state": SubmissionState.QUEUED, "attention": "proceed"}
            return await submissions.save(connection, submission.model_copy(update=going))

        return await self._changed(change)

    @override
    async def watch(self, submission_id: UUID) -> AsyncIterator[Submission]:
        seen = 0
        while True:
            ticket = self.changes.ticket()
            submission = await self.submission(submission_id)
            if submission.revision > seen:
                seen = submission.revision
                yield submission
            if _is_over(submission):
                return
            await _wait(ticket)

    # --- receiving ---

    @override
    async def inbox(
        self, *, types: Collection[str] = (), since: int = 0, limit: int = 50
    ) -> InboxPage:
        table = tables.inbox
        query = select(table).where(table.c.position > since).order_by(table.c.position)
        if types:
            query = query.where(table.c.type.in_(list(types)))
        async with self.database.read() as connection:
            rows = (await connection.execute(query.limit(limit + 1))).all()
        kept = [self._kept(row.id, row.sealed).item for row in rows[:limit]]
        items = await self.arrivals.shown(kept)
        last = items[-1].position if items else since
        return InboxPage(items=items, last=last, more=len(rows) > limit)

    @override
    async def item(self, item_id: UUID) -> InboxItem:
        (item,) = await self.arrivals.shown([(await self._find(item_id)).item])
        return item

    @override
    async def original(self, item_id: UUID) -> OriginalDocument:
        kept = await self._find(item_id)
        if kept.original is None or kept.item.original is None:
            raise NodeError("not-found", "no original document was carried", kind="not-found")
        named = kept.item.original
        return OriginalDocument(content=kept.original, media_type=named.media_type, name=named.name)

    @override
    async def attachment(
        self, item_id: UUID, number: int, *, start: int = 0
    ) -> tuple[AttachmentShown, AsyncIterator[bytes]]:
        return await self.arrivals.content((await self._find(item_id)).item, number, start)

    @override
    async def subscribe(
        self, *, types: Collection[str] = (), since: int = 0
    ) -> AsyncIterator[InboxItem]:
        while True:
            ticket = self.mail.ticket()
            page = await self.inbox(types=types, since=since)
            for item in page.items:
                since = item.position
                yield item
            if not page.items:
                await _wait(ticket)

    @override
    async def cursor(self, name: str) -> Cursor:
        async with self.database.read() as connection:
            return await _cursor(connection, name)

    @override
    async def acknowledge(self, name: str, position: int) -> Cursor:
        now_ms = to_ms(self.present.now())

        async def change(connection: AsyncConnection) -> Cursor:
            highest = await connection.execute(select(func.max(tables.inbox.c.position)))
            if position > int(highest.scalar_one() or 0):
                raise NodeError(
                    "beyond-the-inbox",
                    "the inbox has not got that far",
                    kind="invalid",
                    field="position",
                )
            table = tables.cursors
            known = await _cursor(connection, name)
            if known.updated_at is None:
                await connection.execute(
                    insert(table).values(name=name, position=position, updated_ms=now_ms)
                )
            elif position > known.position:
                await connection.execute(
                    update(table)
                    .where(table.c.name == name)
                    .values(position=position, updated_ms=now_ms)
                )
            return await _cursor(connection, name)

        return await self.database.change(change)

    # --- the node itself ---

    @override
    async def status(self) -> NodeStatus:
        now = self.present.now()
        async with self.database.read() as connection:
            counts = await _counts(connection)
            gaps = await pairs.open_gaps(connection, now=now)
            raised = await alarms.all_alarms(connection)
            suspended = await notices.suspension_alarms(connection)
            silent = await pairs.silent_peers(connection, now=now)
            inbox = await _inbox_counts(connection)
            incarnation = await incarnation_of(connection)
            quarantined = await connection.execute(
                select(func.count()).select_from(tables.quarantine)
            )
            in_quarantine = int(quarantined.scalar_one())
        shown = self.present.shown() if self.present.has_directory else None
        missing = tuple(
            Alarm(code="pair-state-missing", peer=peer, count=1, first_at=now, last_at=now)
            for peer in silent
        )
        return NodeStatus(
            member=self.member,
            connected=self.link.connected,
            sealing=self.present.hindrance(),
            directory=shown,
            clock=self.present.clock_shown(),
            incarnation=incarnation,
            outbox=counts[0],
            exercise_outbox=counts[1],
            inbox=inbox[0],
            exercise_inbox=inbox[1],
            last_position=inbox[2],
            quarantined=in_quarantine,
            gaps=gaps,
            alarms=(
                *alarms.unsaid_alarms(self.present),
                *self._key_alarms(now),
                *missing,
                *suspended,
                *raised,
            ),
            log=None if self.log is None else await self.log.shown(),
        )

    @override
    async def members(self) -> MembersPage:
        view, now = self.present.view, self.present.now()
        return MembersPage(
            directory=self.present.shown(),
            members=tuple(
                MemberShown(
                    code=code,
                    kind="state" if str(member.kind) == "state" else "partner",
                    name=member.document.names.get("en", code),
                    groups=tuple(sorted(member.groups)),
                    reads={name: tuple(found) for name, found in member.document.reads.items()},
                    suspended=member.suspended_at is not None and member.suspended_at <= now,
                )
                for code, member in sorted(view.member_views.items())
            ),
        )

    # --- inside ---

    async def _shown(self, request: DraftRequest, composed: drafting.Composed) -> Preview:
        digest = drafting.content_digest(composed.content.alert_bytes)
        async with self.database.read() as connection:
            equal = await submissions.equal(connection, digest, now=self.present.now())
        return drafting.preview(request, composed, self.present, equal)

    def _key_alarms(self, now: datetime) -> tuple[Alarm, ...]:
        if not self.present.has_directory:
            return ()
        epochs = self.identity.epochs.values()
        return key_alarms(self.present.view, self.member, epochs, now=now)

    async def _draft(self, connection: AsyncConnection, draft_id: UUID) -> _Draft:
        table = tables.drafts
        row = (
            await connection.execute(select(table).where(table.c.id == str(draft_id)))
        ).one_or_none()
        if row is None or row.expires_ms < to_ms(self.present.now()):
            raise NodeError("not-found", "no such draft, or it was forgotten", kind="not-found")
        if row.used_by is not None:
            raise NodeError("draft-used", "this draft was submitted before", kind="conflict")
        plain = self._vault.open(row.sealed, name=f"draft/{draft_id}")
        return _Draft.model_validate_json(plain)

    def _check_signature(self, prepared: Prepared, signature: bytes, officer_kid: bytes) -> str:
        """Return the officer's pseudonym."""
        now = self.present.now()
        if officer_kid != prepared.officer_kid:
            raise NodeError("officer-mismatch", "the draft is for another key", kind="forbidden")
        try:
            officer = self.present.view.officer(self.member, officer_kid, at=now)
            officer.key.verify(signature, prepared.bytes_to_sign())
        except (DirectoryError, SignatureError) as error:
            raise NodeError(error.code, str(error), kind="forbidden") from None
        if not {OfficerRole.OFFICER, OfficerRole.SYSTEM} & set(officer.roles):
            raise NodeError(
                "officer-role", "the certificate does not cover sending", kind="forbidden"
            )
        return officer.id

    async def _queue(  # noqa: PLR0917 - all that is kept of one request
        self,
        connection: AsyncConnection,
        draft: _Draft,
        draft_id: UUID,
        signature: bytes,
        officer: str,
        idempotency_key: str,
        fingerprint: bytes,
    ) -> Submission:
        now = self.present.now()
        prepared = draft.prepared.model_copy(update={"signature": signature})
        intent = prepared.intent
        refused = {code: (why, rule) for code, why, rule in draft.refused}
        outcomes = tuple(
            RecipientOutcome(
                recipient=code,
                state=RecipientState.REFUSED,
                code=refused[code][0],
                rule=refused[code][1],
                refused_by="node",
                changed_at=now,
            )
            if code in refused
            else RecipientOutcome(recipient=code, state=RecipientState.QUEUED, changed_at=now)
            for code in prepared.asked
        )
        nobody = len(refused) == len(outcomes)
        submission = Submission(
            submission_id=new_id(now),
            alert_id=intent.alert_id,
            rev=intent.rev,
            state=SubmissionState.DECIDED if nobody else SubmissionState.QUEUED,
            revision=1,
            status=intent.status,
            exercise=intent.status is not Status.ACTUAL,
            type=intent.type,
            type_version=intent.type_version,
            lane=intent.lane,
            precedence=intent.precedence,
            officer=officer,
            recipients=outcomes,
            waiting_for="" if nobody else self.present.hindrance(),
            rules_of=now,
            queued_at=now,
        )
        ident = submission.submission_id
        counts = await self.staging.take(connection, ident, prepared.attachments)
        sent = tuple(AttachmentSent(number=n, chunks=count) for n, count in enumerate(counts, 1))
        submission = submission.model_copy(update={"attachments": sent})
        plain = prepared.model_dump_json().encode()
        await submissions.add(
            connection,
            submission,
            digest=drafting.content_digest(prepared.alert),
            sealed=self._vault.seal(plain, name=f"submission/{ident}"),
        )
        await connection.execute(
            insert(tables.idempotency).values(
                key=idempotency_key, fingerprint=fingerprint, submission_id=str(ident)
            )
        )
        await connection.execute(
            update(tables.drafts)
            .where(tables.drafts.c.id == str(draft_id))
            .values(used_by=str(ident), sealed=b"")
        )
        return submission

    async def _changed(self, change: Any) -> Submission:  # noqa: ANN401 - a change of one submission
        submission: Submission = await self.database.change(change)
        self.changes.happened()
        return submission

    async def _find(self, item_id: UUID) -> Kept:
        table = tables.inbox
        async with self.database.read() as connection:
            row = (
                await connection.execute(
                    select(table)
                    .where((table.c.id == str(item_id)) | (table.c.alert_id == str(item_id)))
                    .order_by(table.c.rev.desc(), table.c.position.desc())
                    .limit(1)
                )
            ).one_or_none()
        if row is None:
            raise NodeError("not-found", "no alert is known by this id", kind="not-found")
        return self._kept(row.id, row.sealed)

    def _kept(self, ident: str, sealed: bytes) -> Kept:
        kept = Kept.model_validate_json(self._vault.open(sealed, name=f"inbox/{ident}"))
        return kept.model_copy(update={"item": as_known_now(kept.item, kept.kid, self.present)})


async def _same_request(connection: AsyncConnection, key: str, fingerprint: bytes) -> UUID | None:
    table = tables.idempotency
    row = (await connection.execute(select(table).where(table.c.key == key))).one_or_none()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise NodeError(
            "idempotency-reused", "this key was used for another request", kind="conflict"
        )
    return UUID(row.submission_id)


async def _cursor(connection: AsyncConnection, name: str) -> Cursor:
    table = tables.cursors
    row = (await connection.execute(select(table).where(table.c.name == name))).one_or_none()
    if row is None:
        return Cursor(name=name, position=0, updated_at=None)
    return Cursor(name=name, position=row.position, updated_at=from_ms(row.updated_ms))


async def _counts(
    connection: AsyncConnection,
) -> tuple[dict[SubmissionState, int], dict[SubmissionState, int]]:
    table = tables.submissions
    rows = await connection.execute(
        select(table.c.state, table.c.exercise, func.count()).group_by(
            table.c.state, table.c.exercise
        )
    )
    found: tuple[dict[SubmissionState, int], dict[SubmissionState, int]] = ({}, {})
    for state, exercise, count in rows:
        found[exercise][SubmissionState(state)] = count
    return found


async def _inbox_counts(connection: AsyncConnection) -> tuple[int, int, int]:
    table = tables.inbox
    rows = await connection.execute(
        select(table.c.exercise, func.count(), func.max(table.c.position)).group_by(
            table.c.exercise
        )
    )
    found = [0, 0, 0]
    for exercise, count, last in rows:
        found[exercise] = count
        found[2] = max(found[2], last)
    return found[0], found[1], found[2]


def _is_over(submission: Submission) -> bool:
    return submission.state is SubmissionState.CANCELLED or (
        all(outcome.state.final for outcome in submission.recipients)
        and all(each.state.final for each in submission.attachments)
    )


async def _wait(ticket: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_WATCH_S):
            await ticket.wait()
    except TimeoutError:
        return
