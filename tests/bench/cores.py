"""(c) What one core seals and opens in a second, against the sum of its cryptographic primitives.

Processor time of this process, all threads together: so a rate is of one core, whatever else the
machine does.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from broker.cli.admin.processes import spare_what_stays
from broker.envelope.decision import check_accepted, parse_delivery
from broker.envelope.delivered import open_delivered
from broker.node.node import Node
from broker.node.pacing import BATCH
from broker.node.present import Present
from broker.store.database import open_database, sqlite_url
from broker.store.tables import metadata
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from keys.primitives.hashing import random_bytes, sha256
from keys.primitives.sealing import OpenKey
from keys.primitives.signing import SignKey
from keys.primitives.symmetric import gcm_open, gcm_seal
from schemas.desk import AlertBody, DraftRequest
from schemas.vocabulary import TLP, Precedence, Purpose, Status
from tests.bench.making import alert, deliveries, sealed
from tests.bench.region import BenchRegion
from tests.bench.results import Goal, Part, Row

RECIPIENTS = ("KH", "MY", "PH")
SENDER, READER = "SG", "MY"
SEALED_BYTES = 2048  # of content, as it travels
ROUNDS = 5
NOWHERE = Credentials((), "", "", SignKey.generate(), "_INBOX", "bench")


@dataclass(frozen=True)
class Primitives:
    """Seconds of processor that the cryptography alone takes.

    Attributes:
        sending: Officer's signature, three stanzas, content, node's signature.
        receiving: Three signatures checked, one stanza, content.
        answering: The stanza and signature of a `delivered`, and the content sealed for storage.
    """

    sending: float
    receiving: float
    answering: float


def primitives(count: int) -> Primitives:
    """Measure them one by one, on sizes that travel."""
    key, opening = SignKey.generate(), OpenKey.generate()
    sealing, checking = opening.public, key.public
    message, content, secret = bytes(200), random_bytes(SEALED_BYTES), random_bytes(32)
    signature, stanza = key.sign(message), sealing.seal(bytes(64), info=message)
    ciphertext = gcm_seal(secret, content, aad=b"")
    sign = each(lambda: key.sign(message), count)
    verify = each(lambda: checking.verify(signature, message), count)
    seal = each(lambda: sealing.seal(bytes(64), info=message), count)
    open_ = each(lambda: opening.open(stanza, info=message), count)
    gcm = each(lambda: gcm_seal(secret, content, aad=b""), count)
    ungcm = each(lambda: gcm_open(secret, ciphertext, aad=b""), count)
    digest = each(lambda: sha256(ciphertext), count)
    return Primitives(
        sending=2 * sign + len(RECIPIENTS) * seal + gcm + digest,
        receiving=3 * verify + open_ + ungcm + digest,
        answering=seal + sign + gcm,
    )


def each(work: Callable[[], object], count: int) -> float:
    """Seconds of processor for one call; the best of several rounds."""
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(count):
            work()
        found.append((time.process_time() - start) / count)
    return min(found)


def measure(region: BenchRegion, folder: Path, *, count: int) -> Part:
    """The pure cores, then whole nodes with their databases and no hub."""
    spare_what_stays()  # as every process of ours does
    crypto = primitives(count)
    seal = each(lambda: sealed(region, SENDER, RECIPIENTS), max(1, count // ROUNDS))
    waiting = [one.raw for one in deliveries(region, SENDER, READER, count)]
    opened = _opened(region, waiting)
    sending = asyncio.run(_sending(region, folder, count))
    receiving = asyncio.run(_receiving(region, folder, waiting))
    both = crypto.receiving + crypto.answering
    return Part(
        "c",
        "One core: sender to three recipients, and receiver",
        rows=[
            _row("sender's primitives: 2 sign, 3 HPKE seal, GCM", crypto.sending),
            _row("alert made, signed and sealed", seal, crypto.sending),
            _row("sending node: draft, queue, seal, on the disk", sending, crypto.sending),
            _row("receiver's primitives: 3 verify, HPKE open, GCM", crypto.receiving),
            _row("delivery checked and opened", opened, crypto.receiving),
            _row("receiver's primitives, its answer and storage included", both),
            _row("receiving node: opened, stored, answered", receiving, both),
        ],
        notes=["alerts for each second of one core's time; no server takes part"],
    )


def _row(what: str, seconds: float, ceiling: float | None = None) -> Row:
    goal = None if ceiling is None else Goal(ceiling / seconds, 0.7, "of the primitives")
    return Row(what, round(1 / seconds, 1), "alerts/s", goal)


def _opened(region: BenchRegion, waiting: Sequence[bytes]) -> float:
    keys, view = region.identities[READER].open_keys, region.view
    start = time.process_time()
    for raw in waiting:
        delivery = parse_delivery(raw)
        at = check_accepted(delivery, view, member=READER)
        open_delivered(delivery.delivered, member=READER, open_keys=keys, view=view, at=at)
    return (time.process_time() - start) / len(waiting)


@asynccontextmanager
async def _node(region: BenchRegion, code: str, folder: Path) -> AsyncIterator[Node]:
    """A node that no hub is connected to; it does what it is told."""
    present = Present(code)
    present.take(region.view)
    async with open_database(sqlite_url(folder / f"cores-{code}.db"), metadata) as database:
        files = folder / f"cores-{code}-attachments"
        yield Node(present, region.identities[code], database, Link(NOWHERE), files)


async def _sending(region: BenchRegion, folder: Path, count: int) -> float:
    officer = region.officers[SENDER]
    async with _node(region, SENDER, folder) as node:
        asked = [_request(officer.kid) for _ in range(count)]
        start = time.process_time()
        for at in range(0, count, BATCH):
            async with asyncio.TaskGroup() as group:
                for one in asked[at : at + BATCH]:
                    group.create_task(_queued(node, one, officer.sign_key))
            while await node.outgoing.seal_due():
                pass
        return (time.process_time() - start) / count


async def _queued(node: Node, asked: DraftRequest, key: SignKey) -> None:
    draft = await node.create_draft(asked)
    await node.submit_draft(
        draft.draft_id,
        signature=key.sign(draft.bytes_to_sign),
        officer_kid=draft.officer_kid,
        idempotency_key=str(uuid4()),
    )


def _request(kid: bytes) -> DraftRequest:
    return request(RECIPIENTS).model_copy(update={"officer_kid": kid})


def request(to: Sequence[str]) -> DraftRequest:
    """What an officer asks: a fresh alert of 1 KiB to `to`."""
    said = alert()
    body = said.model_dump(mode="json", exclude_none=True)
    return DraftRequest(
        status=Status.ACTUAL,
        alert=AlertBody(type=said.TYPE, version=said.VERSION, body=body),
        recipients=tuple(to),
        agency="HQ",
        tlp=TLP.AMBER,
        purposes=(Purpose.WARN,),
        precedence=Precedence.ROUTINE,
        reviewed_no_personal_data=True,
    )


async def _receiving(region: BenchRegion, folder: Path, waiting: Sequence[bytes]) -> float:
    async with _node(region, READER, folder) as node:
        start = time.process_time()
        for at in range(0, len(waiting), BATCH):
            async with asyncio.TaskGroup() as group:
                for raw in waiting[at : at + BATCH]:
                    group.create_task(node.incoming.take(raw))
        seconds = (time.process_time() - start) / len(waiting)
        if len((await node.inbox(limit=len(waiting))).items) != len(waiting):
            raise RuntimeError("not every delivery is in the inbox")
        return seconds
