"""The node as witness: cosigns the log's growth, never a tree that forgets or forks.

What was cosigned last stands in one row; it moves on by compare-and-swap and is synced before the
signature leaves the process. Source: C2SP tlog-witness; `broker.log.witness` has the checks.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.log.notekeys import SignatureType
from broker.log.notesigner import NoteSigner
from broker.log.regional import log_vkeys, witness_name
from broker.log.witness import Acceptable, Seen, WitnessRefusal, judge
from broker.logs import get_logger
from broker.node import alarms
from broker.node.logevidence import LogEvidence
from broker.node.present import Present
from broker.store.database import Database
from broker.store.tables import witnessed
from broker.transport.link import Link
from broker.transport.services import HubServices, Witnessing
from schemas.directory import LogDocument

TELL_LATEST: Final = b"latest\n"
REFUSED: Final = "log-inconsistent"
_log = get_logger()


@dataclass
class Cosigner:
    """One node's witness.

    Attributes:
        seed: Of its ML-DSA-44 key.
        evidence: Where requests are kept that the log's owner should not have signed.
    """

    present: Present
    database: Database
    link: Link
    seed: bytes
    evidence: LogEvidence | None = None

    async def round(self) -> bool:
        """Ask what to cosign, and hand it in; return whether something was asked.

        Raises:
            BrokerError: The hub does not answer, or the database did not keep it.
        """
        log = self._log()
        if log is None or self.present.member not in self.present.view.witness_keys(
            at=self.present.now()
        ):
            return False
        hub = HubServices(self.link, self.present.member)
        async with self.database.read() as connection:
            seen, _ = await seen_of(connection, log.origin)
        asked = await hub.witness(Witnessing.NEXT, f"{seen.size}\n".encode())
        if asked == TELL_LATEST:
            async with self.database.read() as connection:
                _, note = await seen_of(connection, log.origin)
            await hub.witness(Witnessing.LATEST, note)
            asked = await hub.witness(Witnessing.NEXT, f"{seen.size}\n".encode())
        if not asked:
            return False
        status, body = await self.answer(asked)
        await hub.witness(Witnessing.SUBMIT, f"{status.value} ".encode() + body)
        return True

    async def answer(self, asked: bytes) -> tuple[HTTPStatus, bytes]:
        """Return status and body for a request to cosign, as over HTTP.

        Args:
            asked: The body of the request, not trusted.

        Raises:
            StoreError: Nothing was kept, and so nothing is signed.
        """
        log, now = self._log(), self.present.now()
        if log is None:
            return HTTPStatus.NOT_FOUND, b"no log is known\n"
        keys = log_vkeys(log)
        async with self.database.read() as connection:
            seen, _ = await seen_of(connection, log.origin)
        judged = judge(asked, keys=keys, seen=seen)
        if isinstance(judged, WitnessRefusal):
            await self._refused(judged, asked)
            return judged.status, judged.body
        time_s = int(now.timestamp())
        if time_s < max(1, seen.time_s):
            _log.error("clock-behind", alarm="clock-behind")
            return HTTPStatus.SERVICE_UNAVAILABLE, b"the clock went back\n"
        return await self._sign(log, judged, seen, time_s)

    async def _sign(
        self, log: LogDocument, accepted: Acceptable, seen: Seen, time_s: int
    ) -> tuple[HTTPStatus, bytes]:
        name = witness_name(self.present.member)
        signer = NoteSigner(name, SignatureType.COSIGNATURE_MLDSA44, self.seed)
        line = signer.cosign(accepted.checkpoint, time_s=time_s)
        moved = {
            "size": accepted.checkpoint.size,
            "root": accepted.checkpoint.root,
            "time_s": time_s,
            "note": accepted.note.signed_also((line,)).to_bytes(),
        }

        async def change(connection: AsyncConnection) -> bool:
            return await _move(connection, log.origin, seen, moved)

        if not await self.database.change(change):
            async with self.database.read() as connection:
                known, _ = await seen_of(connection, log.origin)
            return HTTPStatus.CONFLICT, f"{known.size}\n".encode()
        if seen.root is None:
            root = accepted.checkpoint.root.hex()
            _log.warning("log-trusted-on-first-use", size=accepted.checkpoint.size, root=root)
        return HTTPStatus.OK, line.to_text().encode()

    async def _refused(self, refusal: WitnessRefusal, asked: bytes) -> None:
        _log.warning("not-cosigned", status=refusal.status.value)
        if not refusal.evidence:
            return
        detail = "" if self.evidence is None else str(self.evidence.keep(REFUSED, asked))
        now = self.present.now()
        await self.database.change(lambda c: alarms.raise_alarm(c, REFUSED, now=now, detail=detail))

    def _log(self) -> LogDocument | None:
        return self.present.view.hub.log if self.present.has_directory else None


async def seen_of(connection: AsyncConnection, origin: str) -> tuple[Seen, bytes]:
    """Return what was cosigned last of a log, and the note; empty if nothing was."""
    found = await connection.execute(select(witnessed).where(witnessed.c.origin == origin))
    row = found.one_or_none()
    if row is None:
        return Seen(), b""
    return Seen(int(row.size), row.root, int(row.time_s)), row.note


async def _move(
    connection: AsyncConnection, origin: str, seen: Seen, moved: dict[str, object]
) -> bool:
    if seen.root is None:
        try:
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
