"""What a desk drafts and its officer signs: kept for a day, then queued, or forgotten."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node import drafting, hubroom, submissions
from broker.node.changes import Changes
from broker.node.drafting import Prepared
from broker.node.errors import NodeError
from broker.node.ids import new_id, to_ms
from broker.node.outgoing import Outgoing
from broker.node.present import Present
from broker.node.previewing import preview
from broker.node.staging import Staging
from broker.node.vault import Vault
from broker.store import tables
from broker.store.database import Database
from broker.store.statements import Statement
from keys.errors import DirectoryError, SignatureError
from keys.primitives.hashing import sha256
from schemas.desk import (
    AttachmentSent,
    DraftRequest,
    Preview,
    RecipientOutcome,
    RecipientState,
    StoredDraft,
    Submission,
    SubmissionState,
)
from schemas.directory import OfficerRole
from schemas.label import Strict
from schemas.vocabulary import Status

_drafts: Final = tables.drafts
_KEPT: Final = Statement(insert(_drafts))
_FOUND: Final = Statement(select(_drafts).where(_drafts.c.id == bindparam("of_id")))
_USED: Final = Statement(
    update(_drafts)
    .where(_drafts.c.id == bindparam("of_id"))
    .values(used_by=bindparam("by"), sealed=b"")
)
_ASKED: Final = Statement(insert(tables.idempotency))
_SAME: Final = Statement(
    select(tables.idempotency).where(tables.idempotency.c.key == bindparam("of_key"))
)


class _Draft(Strict):
    """What is sealed in a draft's row."""

    prepared: Prepared
    refused: tuple[tuple[str, str, str], ...]  # recipient, code, rule


@dataclass(frozen=True)
class Drafts:
    """The drafts of one node's desks."""

    present: Present
    database: Database
    vault: Vault
    staging: Staging
    outgoing: Outgoing
    changes: Changes

    async def preview(self, request: DraftRequest) -> Preview:
        """Return what `NodeService.preview` says."""
        return await self._shown(request, drafting.compose(request, self.present))

    async def create(self, request: DraftRequest) -> StoredDraft:
        """Keep a draft, as `NodeService.create_draft` says."""
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
        sealed = self.vault.seal(draft.model_dump_json().encode(), name=name)

        async def change(connection: AsyncConnection) -> None:
            ident, expires_ms = str(stored.draft_id), to_ms(stored.expires_at)
            await _KEPT.run(connection, id=ident, expires_ms=expires_ms, sealed=sealed)

        await self.database.change(change)
        return stored

    async def submit(
        self, draft_id: UUID, *, signature: bytes, officer_kid: bytes, idempotency_key: str
    ) -> Submission:
        """Queue a signed draft, as `NodeService.submit_draft` says."""
        fingerprint = sha256(draft_id.bytes, officer_kid, signature)
        ident = new_id(self.present.now())

        async def change(connection: AsyncConnection) -> Submission:
            known = await _same_request(connection, idempotency_key, fingerprint)
            if known is not None:
                return await submissions.find(connection, known)
            draft = await self._draft(connection, draft_id)
            officer = self._check_signature(draft.prepared, signature, officer_kid)
            return await self._queue(
                connection, ident, draft, draft_id, signature, officer, idempotency_key, fingerprint
            )

        submission = await self.outgoing.queue(ident, change)
        self.changes.happened()
        return submission

    async def _shown(self, request: DraftRequest, composed: drafting.Composed) -> Preview:
        digest = drafting.content_digest(composed.content.alert_bytes)
        async with self.database.read() as connection:
            await hubroom.check_fit(connection, request.attachments)
            equal = await submissions.equal(connection, digest, now=self.present.now())
        return preview(request, composed, self.present, equal)

    async def _draft(self, connection: AsyncConnection, draft_id: UUID) -> _Draft:
        row = await _FOUND.first(connection, of_id=str(draft_id))
        if row is None or row.expires_ms < to_ms(self.present.now()):
            raise NodeError("not-found", "no such draft, or it was forgotten", kind="not-found")
        if row.used_by is not None:
            raise NodeError("draft-used", "this draft was submitted before", kind="conflict")
        plain = self.vault.open(row.sealed, name=f"draft/{draft_id}")
        return _Draft.model_validate_json(plain)

    def _check_signature(self, prepared: Prepared, signature: bytes, officer_kid: bytes) -> str:
        """Return the officer's pseudonym."""
        now = self.present.now()
        if officer_kid != prepared.officer_kid:
            raise NodeError("officer-mismatch", "the draft is for another key", kind="forbidden")
        try:
            officer = self.present.view.officer(self.present.member, officer_kid, at=now)
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
        ident: UUID,
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
            submission_id=ident,
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
        counts = await self.staging.take(connection, ident, prepared.attachments)
        sent = tuple(AttachmentSent(number=n, chunks=count) for n, count in enumerate(counts, 1))
        submission = submission.model_copy(update={"attachments": sent})
        plain = prepared.model_dump_json().encode()
        await submissions.add(
            connection,
            submission,
            digest=drafting.content_digest(prepared.alert),
            sealed=self.vault.seal(plain, name=f"submission/{ident}"),
            delete_by=intent.retention.delete_by,
        )
        await _ASKED.run(
            connection,
            key=idempotency_key,
            fingerprint=fingerprint,
            submission_id=str(ident),
        )
        await _USED.run(connection, of_id=str(draft_id), by=str(ident))
        return submission


async def forget_drafts(connection: AsyncConnection, now_ms: int) -> int:
    """Erase drafts that nobody signed in time; return how many."""
    over = delete(tables.drafts).where(tables.drafts.c.expires_ms < now_ms)
    return (await connection.execute(over)).rowcount


async def _same_request(connection: AsyncConnection, key: str, fingerprint: bytes) -> UUID | None:
    row = await _SAME.first(connection, of_key=key)
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise NodeError(
            "idempotency-reused", "this key was used for another request", kind="conflict"
        )
    return UUID(row.submission_id)
