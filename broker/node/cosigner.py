"""The node as witness: cosigns the log's growth, never a tree that forgets or forks.

What was cosigned last stands in one row; it moves on by compare-and-swap and is synced before the
signature leaves the process. Source: C2SP tlog-witness; `broker.log.witness` has the checks.

Every request that the log signed and this node refuses is kept, and told to the other witnesses
through the hub. A hub that suppresses it gains nothing against who carries the file over by hand.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Final

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.log.answered import answered_for
from broker.log.checkpoint import Checkpoint
from broker.log.errors import LogError
from broker.log.notekeys import SignatureType
from broker.log.notesigner import NoteSigner
from broker.log.regional import log_vkeys, regional_policy, witness_name
from broker.log.witness import Acceptable, Seen, WitnessRefusal, WitnessRequest, judge, report_of
from broker.logs import get_logger
from broker.node import alarms, logstate
from broker.node.lending import Lending
from broker.node.logevidence import LogEvidence
from broker.node.logreading import LogReading
from broker.node.logstate import copied_of, restored_at, seen_of
from broker.node.present import CLOCK_SKEW, Present
from broker.node.recollection import Recollection
from broker.node.suspects import FORK, MAX_WAITING, Suspects
from broker.store.database import Database
from broker.store.tables import witnessed
from broker.store.tilefiles import COSIGNED
from broker.transport.link import Link
from broker.transport.services import (
    LEND,
    MAX_REPORT_BYTES,
    TELL_LATEST,
    HubServices,
    Witnessing,
)
from keys.primitives.mldsa import public_of
from schemas.directory import LogDocument

REFUSED: Final = "log-inconsistent"
OVERTAKEN: Final = "log-refused"  # kept as well: only a larger copy tells what it was
RESTORED: Final = "witness-restored"
_log = get_logger()


@dataclass
class Cosigner:
    """One node's witness.

    Attributes:
        seed: Of its ML-DSA-44 key.
        next_seed: Of the key that takes its place, from when the directory says so; or empty.
        evidence: Where requests are kept that the log signed and this node refused.
        suspects: What is held against the copy of the log.
        lending: What a hub that lost leaves is given back.
    """

    present: Present
    database: Database
    link: Link
    seed: bytes
    evidence: LogEvidence
    suspects: Suspects
    lending: Lending
    next_seed: bytes = b""
    _untold: list[bytes] = field(default_factory=list, repr=False)
    _heard: int = 0  # Reports of others, of this run of the hub's log.
    _sure: bool = False  # Since this start it found out what it cosigned last.

    async def round(self) -> bool:
        """Ask what to cosign, and hand it in; return whether something was asked.

        Raises:
            BrokerError: The hub does not answer, or the database did not keep it.
            LogError: After a restoration: what others cosigned is not one tree.
        """
        log = self.witnessed_log()
        if log is None:
            return False
        hub = HubServices(self.link, self.present.member)
        self._sure = await self._remembers(hub, log)
        if not self._sure:
            return False
        asked = await self._ask(hub, log)
        if asked.startswith(LEND):
            async with self.database.read() as connection:
                seen, _ = await seen_of(connection, log.origin)
            asked = await self.lending.lend(hub, asked, f"{seen.size}\n".encode())
            asked = b"" if asked == TELL_LATEST else asked
        if asked:
            status, body = await self.answer(asked)
            await hub.witness(Witnessing.SUBMIT, f"{status.value} ".encode() + body)
        return bool(asked)

    async def exchange(self) -> None:
        """Tell the other witnesses what this one refused, and take what they did.

        Raises:
            BrokerError: The hub does not answer; what was not told is told later.
        """
        log = self._log()
        if log is not None:
            hub = HubServices(self.link, self.present.member)
            await self._tell(hub, log)
            await self._hear(hub, log)

    async def answer(self, asked: bytes, *, by_hub: bool = True) -> tuple[HTTPStatus, bytes]:
        """Return status and body for a request to cosign, as over HTTP.

        Args:
            asked: The body of the request, not trusted.
            by_hub: Whether the log itself asks, and answers for all of the request, or a stranger.

        Raises:
            StoreError: Nothing was kept, and so nothing is signed.
        """
        log, now = self._log() if by_hub else self.witnessed_log(), self.present.now()
        if log is None:
            return HTTPStatus.NOT_FOUND, b"no log is known\n"
        keys = log_vkeys(log)
        async with self.database.read() as connection:
            seen, _ = await seen_of(connection, log.origin)
            lost = await restored_at(connection) is not None
            copied = (await copied_of(connection, log.origin)).size
        # In a thread: whoever asks chooses the bytes, and the node's mail goes on meanwhile.
        judged = await asyncio.to_thread(judge, asked, keys=keys, seen=seen)
        if isinstance(judged, WitnessRefusal):
            if by_hub:
                await self._refused(judged, asked)
            else:
                await self._refused_stranger(judged, copied)
            return judged.status, judged.body
        if lost:
            return HTTPStatus.SERVICE_UNAVAILABLE, b"restored from a backup\n"
        if not (by_hub or self._sure):  # else a backup would sign what it cosigned otherwise
            return HTTPStatus.SERVICE_UNAVAILABLE, b"not sure yet what was cosigned last\n"
        return await self._sign(log, judged, seen, now)

    async def last(self, log: LogDocument) -> bytes | None:
        """Return the note cosigned last, empty if none was; None while this node is not sure of it.

        Put back from a backup, or started and not yet told by the hub, it may have cosigned more.

        Raises:
            StoreError: The database cannot be read.
        """
        async with self.database.read() as connection:
            _, note = await seen_of(connection, log.origin)
            lost = await restored_at(connection) is not None
        return note if self._sure and not lost else None

    def witnessed_log(self) -> LogDocument | None:
        """Return the log that this node is a witness of now; None if it is of none."""
        log = self._log()
        if log is None:
            return None
        listed = self.present.view.witness_keys(at=self.present.now())
        return log if self.present.member in listed else None

    def signer(self) -> NoteSigner:
        """Return what signs under this witness's name."""
        name = witness_name(self.present.member)
        return NoteSigner(name, SignatureType.COSIGNATURE_MLDSA44, self._seed_in_force())

    def _seed_in_force(self) -> bytes:
        """Return that of the key which the directory names for this moment."""
        listed = self.present.view.witness_keys(at=self.present.now())
        if self.next_seed and listed.get(self.present.member) == public_of(self.next_seed):
            return self.next_seed
        return self.seed

    async def _ask(self, hub: HubServices, log: LogDocument) -> bytes:
        async with self.database.read() as connection:
            seen, note = await seen_of(connection, log.origin)
        asked = await hub.witness(Witnessing.NEXT, f"{seen.size}\n".encode())
        if asked != TELL_LATEST:
            return asked
        self._untold, self._heard = await asyncio.to_thread(self._all_kept), 0
        await hub.witness(Witnessing.LATEST, note)
        asked = await hub.witness(Witnessing.NEXT, f"{seen.size}\n".encode())
        return b"" if asked == TELL_LATEST else asked  # it has fewer leaves than we cosigned

    async def _sign(
        self, log: LogDocument, accepted: Acceptable, seen: Seen, now: datetime
    ) -> tuple[HTTPStatus, bytes]:
        time_s = int(now.timestamp())
        if time_s < max(1, seen.time_s):
            _log.error("clock-behind", alarm="clock-behind")
            return HTTPStatus.SERVICE_UNAVAILABLE, b"the clock went back\n"
        if self.present.hindrance() == CLOCK_SKEW:
            # A time far ahead would bind this witness: it could sign nothing until then.
            return HTTPStatus.SERVICE_UNAVAILABLE, b"the clock is wrong\n"
        line = self.signer().cosign(accepted.checkpoint, time_s=time_s)
        moved = {
            "size": accepted.checkpoint.size,
            "root": accepted.checkpoint.root,
            "time_s": time_s,
            "note": accepted.note.signed_also((line,)).to_bytes(),
        }

        async def change(connection: AsyncConnection) -> bool:
            done = await _move(connection, log.origin, seen, moved)
            if done:
                await logstate.forget_restored(connection)
            if done and seen.root is None:
                tree = accepted.checkpoint
                await logstate.note_first(connection, log.origin, tree.size, tree.root)
            return done

        if not await self.database.change(change):
            async with self.database.read() as connection:
                known, _ = await seen_of(connection, log.origin)
            return HTTPStatus.CONFLICT, f"{known.size}\n".encode()
        if seen.root is None:
            root = accepted.checkpoint.root.hex()
            _log.warning("log-trusted-on-first-use", size=accepted.checkpoint.size, digest=root)
        return HTTPStatus.OK, line.to_text().encode()

    # --- after a restoration ---

    async def _remembers(self, hub: HubServices, log: LogDocument) -> bool:
        """Return whether this node knows what it cosigned last, found out again if need be."""
        reading = LogReading(hub)
        async with self.database.read() as connection:
            since_s = await restored_at(connection)
            seen, _ = await seen_of(connection, log.origin)
            shown = (await copied_of(connection, log.origin)).note
        if seen.root is None:  # a node that is new, or one that lost all: others may know it
            shown = await reading.note(COSIGNED) or b""
        if since_s is None and self._cosigned_more(shown, seen):
            since_s = int(self.present.now().timestamp())
            await self._say_restored(since_s)
        if since_s is None:
            return True
        notes = (*await hub.others_cosigned(), *((shown,) if shown else ()))
        policy = regional_policy(self.present.view, at=self.present.now())
        own = self.present.member.encode()
        recollection = Recollection(policy, own, since_s, seen)
        try:
            found = await recollection.recall(reading, notes)
        except LogError as error:
            if error.retry == "never":
                await self._alarm(REFUSED, b"\n".join(notes))
            raise
        if found is None:
            return False
        if isinstance(found, Seen):
            await self.database.change(logstate.forget_restored)
            return True
        if int(self.present.now().timestamp()) < recollection.own_time_s(notes):
            _log.error("clock-behind", alarm="clock-behind")
            return False
        keys = log_vkeys(log)
        lines = tuple(s for s in found.note.signatures if any(key.matches(s) for key in keys))
        accepted = Acceptable(found.checkpoint, found.checkpoint.signed(lines))
        status, _ = await self._sign(log, accepted, seen, self.present.now())
        _log.warning("witness-recalled", size=found.checkpoint.size, status=status.value)
        return status is HTTPStatus.OK

    def _cosigned_more(self, shown: bytes, seen: Seen) -> bool:
        """Return whether a note that a quorum cosigned has our own line under more leaves."""
        if not shown:
            return False
        try:
            policy = regional_policy(self.present.view, at=self.present.now())
            signed = policy.verify_log(shown)
        except LogError:  # whoever checks it for itself will say so
            return False
        return (
            self.present.member.encode() in signed.cosigned and signed.checkpoint.size > seen.size
        )

    async def _say_restored(self, since_s: int) -> None:
        _log.error(RESTORED, alarm=RESTORED)
        now = self.present.now()

        async def change(connection: AsyncConnection) -> None:
            await logstate.mark_restored(connection, since_s)
            await alarms.raise_alarm(connection, RESTORED, now=now)

        await self.database.change(change)

    # --- what was refused, and what others refused ---

    async def _refused(self, refusal: WitnessRefusal, asked: bytes) -> None:
        _log.warning("not-cosigned", status=refusal.status.value)
        if refusal.checkpoint is not None:
            await self._keep(refusal.checkpoint, asked, loud=refusal.evidence)

    async def _refused_stranger(self, refusal: WitnessRefusal, copied: int) -> None:
        """Keep another tree of the size cosigned last; let the copy tell what all else is.

        A log that grows shows a new checkpoint each second, and our copy follows later: anybody may
        bring what is public. All else in the request is the stranger's and is not looked at.
        """
        _log.info("not-cosigned", status=refusal.status.value)
        note, checkpoint = refusal.note, refusal.checkpoint
        if note is None or checkpoint is None:
            return
        if refusal.forks:
            await self._keep(checkpoint, WitnessRequest(0, (), note).to_bytes(), loud=True)
        elif not self.suspects.is_ours(checkpoint, copied):
            self.suspects.show(checkpoint, note)

    async def _keep(self, checkpoint: Checkpoint, asked: bytes, *, loud: bool) -> None:
        self.suspects.add(checkpoint, asked)
        if loud:
            await self._alarm(REFUSED, asked)
        else:
            await asyncio.to_thread(self.evidence.keep, OVERTAKEN, asked)
        self._tell_later(asked)

    def _tell_later(self, asked: bytes) -> None:
        if asked not in self._untold and len(self._untold) < MAX_WAITING:
            self._untold.append(asked)

    async def _alarm(self, code: str, raw: bytes) -> None:
        _log.error(code, alarm=code)
        detail = str(await asyncio.to_thread(self.evidence.keep, code, raw))
        now = self.present.now()
        await self.database.change(lambda c: alarms.raise_alarm(c, code, now=now, detail=detail))

    def _all_kept(self) -> list[bytes]:
        """Return what tells most last, as `_tell` begins at the end: a hub takes only so many."""
        kinds = (FORK, REFUSED, OVERTAKEN)
        found = dict.fromkeys(asked for kind in kinds for asked in self.evidence.kept(kind))
        return list(reversed(list(found)[:MAX_WAITING]))

    async def _tell(self, hub: HubServices, log: LogDocument) -> None:
        for asked in self.suspects.proved():
            self._tell_later(asked)
        for asked in reversed(tuple(self._untold)):  # others may come meanwhile
            told = report_of(asked, log_vkeys(log), max_bytes=MAX_REPORT_BYTES)
            if told is not None:
                await hub.witness(Witnessing.REPORT, told)
            if asked in self._untold:
                self._untold.remove(asked)

    async def _hear(self, hub: HubServices, log: LogDocument) -> None:
        """Take what other witnesses refused; what the log did not sign counts for nothing."""
        for _ in range(MAX_WAITING):
            asked = await hub.witness(Witnessing.REPORTED, f"{self._heard}\n".encode())
            if not asked:
                return
            self._heard += 1
            note = answered_for(asked, log_vkeys(log))
            if note is None:
                _log.warning("report-refused", error_code="unverified")
                continue
            self.suspects.hear(note, asked)

    def _log(self) -> LogDocument | None:
        return self.present.view.hub.log if self.present.has_directory else None


async def _move(
    connection: AsyncConnection, origin: str, seen: Seen, moved: dict[str, object]
) -> bool:
    if seen.root is None:
        try:
            async with connection.begin_nested():
                await connection.execute(insert(witnessed).values(origin=origin, **moved))
        except IntegrityError:
            return False
        return True
    done = await connection.execute(
        update(witnessed)
        .where(
            witnessed.c.origin == origin,
            witnessed.c.size == seen.size,
            witnessed.c.root == seen.root,
            witnessed.c.time_s == seen.time_s,
        )
        .values(moved)
    )
    return done.rowcount == 1
