"""Parsers of what is asked and answered over a link: of members by the hub, of the hub by members.

Behind them stand the real services over the small log whose parts lie in the corpus; a link of
theirs answers with the bytes, whatever it is asked.
"""

import asyncio
import base64
import json
import shutil
from collections.abc import Awaitable, Callable
from functools import cache, partial
from uuid import UUID

from broker.carry.ferry import Ferry
from broker.carry.form import Record, What
from broker.carry.leaving import hashes_in
from broker.carry.place import FerryPlace
from broker.errors import BrokerError
from broker.hub.attachments import AttachmentService
from broker.hub.chunkheads import Head
from broker.hub.chunkstore import ChunkStore
from broker.hub.services import MemberServices
from broker.ledger.borrowing import Borrowing, _Lender
from broker.ledger.commit import Committer
from broker.ledger.cosigning import Cosigning
from broker.ledger.restoring import ProvenCopy
from broker.log.answered import answered_for
from broker.log.policy import Policy
from broker.log.policyfile import parse_policy
from broker.log.rebuilt import decided_before
from broker.log.recordkeys import RecordKeys
from broker.log.tiles import parse_bundle
from broker.log.witness import report_of
from broker.node.lending import Lending
from broker.store.chunkfiles import ChunkFiles
from broker.store.tilefiles import CHECKPOINT, TileFiles
from broker.transport.attaching import (
    Attaching,
    AttachmentServices,
    Done,
    Get,
    Opened,
    Put,
    read_asked,
)
from broker.transport.message import EXPIRES_HEADER, Message, leaves_at
from broker.transport.services import MAX_ANSWER_BYTES, HubServices, read_fields
from broker.transport.unlinked import Unlinked
from keys.directory.repository import DirectoryRepository
from keys.primitives.ecdsa import ECDSAVerifyKey
from keys.primitives.signing import SignKey
from schemas.moments import moment
from tests.audit import bundles
from tests.fuzz.of_wire import situation
from tests.fuzz.parser import CORPUS, Parser, folder, text

ID = UUID("019a6500-0000-7000-8000-000000000001")
OPENED = Opened(ID, (3, 1), moment(1_790_000_000_000))
KNOWN = b"what was read before"
WITNESS = b"w0"


def answered(ask: Callable[[HubServices], Awaitable[object]]) -> Callable[[bytes], object]:
    """What a node makes of the hub's answer to one question."""
    return lambda raw: asyncio.run(_result(ask(HubServices(Unlinked(lambda *_: raw), "SG"))))


def attached(ask: Callable[[AttachmentServices], Awaitable[object]]) -> Callable[[bytes], object]:
    """The same of a question about attached files."""
    return lambda raw: asyncio.run(_result(ask(AttachmentServices(Unlinked(lambda *_: raw), "SG"))))


async def _result(asked: Awaitable[object]) -> object:
    return await asked


async def known_file(hub: HubServices) -> object:
    """A file of the log that was read before: the answer may be that it is the same."""
    return await hub.log_file("checkpoint", max_bytes=MAX_ANSWER_BYTES, known=KNOWN)


@cache
def policy() -> Policy:
    """The keys of the log in the corpus, and its witnesses."""
    return parse_policy(bundles.policy_text(quorum=2).encode())


@cache
def log() -> TileFiles:
    """The log in the corpus, as it is published."""
    raw = (CORPUS / "entry-bundle" / "1").read_bytes()
    note = (CORPUS / "note" / "2").read_bytes()
    place = folder() / "published"
    bundles.write_log(place, parse_bundle(raw[1:], raw[0] + 1), note)
    return TileFiles(place)


def cosigning() -> Cosigning:
    """Who answers witnesses, with nothing heard yet: what was asked before decides nothing."""
    here = folder() / "cosigned"
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(log().folder, here)
    return Cosigning(TileFiles(here), policy)


def next_asked(raw: bytes) -> object:
    found = cosigning()
    found.standings.show(WITNESS, b"")
    return asyncio.run(_result(found.next(WITNESS, raw)))


def submitted(raw: bytes) -> object:
    async def submit() -> bytes:
        found = cosigning()
        found.standings.show(WITNESS, b"")
        await found.next(WITNESS, b"0\n")
        return await found.submit(WITNESS, raw)

    return asyncio.run(submit())


def file_of_log(raw: bytes) -> object:
    """What the hub answers to a request for a file, whose path is a part of the subject."""
    path, _, payload = raw.partition(b"\n")
    return cosigning()._file(f"hub.SG.log.{text(path)}", payload)


def lent(raw: bytes) -> object:
    """A file of a witness's copy, handed in by the one that was asked for it."""
    found = cosigning()
    found.standings.show(WITNESS, (CORPUS / "note" / "2").read_bytes())
    seen = found.standings.latest[WITNESS]
    assert seen is not None
    committer = Committer(found.files, None, None, ())  # type: ignore[arg-type] # it commits nothing
    borrowing = Borrowing(found.standings, committer, policy)
    lender = borrowing._lender = _Lender(WITNESS, seen, [CHECKPOINT])
    found.borrowing = borrowing
    answer = found._lent(WITNESS, raw)
    if CHECKPOINT in lender.got:
        return borrowing._target(lender, policy())
    return answer


def copy_proved(raw: bytes) -> object:
    """A whole copy of the log, file by file in a map."""
    files = read_fields(raw)

    def read(path: str) -> bytes | None:
        found = files.get(path)
        return found if isinstance(found, bytes) else None

    return ProvenCopy.of(read, policy())


def reported(raw: bytes) -> object:
    keys = tuple(each.key for each in policy().logs)
    note = answered_for(raw, keys)
    told = report_of(raw, keys, max_bytes=2**16)
    assert (note is None) == (told is None)
    if told is not None:  # the others take it for what it is
        assert cosigning().standings.report(WITNESS, told)
    return note


def asked_by_file(raw: bytes) -> object:
    """A request about attached files in a carried file, its service in the first line."""
    name, _, payload = raw.partition(b"\n")
    link = Unlinked(lambda *_: b"")
    ferry = Ferry(FerryPlace(folder()), link, "SG", lambda *_: None)
    return asyncio.run(_result(ferry._ask_now(Record(What.ASK, text(name), 0, payload))))


def chunk_asked(what: str, raw: bytes) -> object:
    """What the hub does for a member, with one envelope open that was decided before a loss.

    To `open`, an answer that refuses counts as refused. No chunk is kept, each of 256 KiB: so to
    `put` and `get` no answer is better.
    """
    shelves = folder() / "shelves"
    shutil.rmtree(shelves, ignore_errors=True)

    async def ask() -> bytes:
        store = ChunkStore(ChunkFiles(shelves), 2**30)
        asked = read_asked(Attaching.OPEN, (CORPUS / "attachment-open" / "1").read_bytes())
        head = Head(("SG", "VN"), (3, 1), OPENED.expires)
        await store.open("SG", asked.id, head, ("MY", "VN"), patient=False)
        view = situation().view
        service = AttachmentService(
            store, Unlinked(decided), lambda: view, RecordKeys.of(bytes(32)), lambda: False
        )
        return await service._answer(f"hub.SG.att.{what}", raw)

    answer = asyncio.run(ask())
    if "error" in read_fields(answer) and what == Attaching.OPEN:
        raise BrokerError("refused", "the answer refuses")
    return answer


def decided(subject: str, _payload: bytes) -> bytes:
    """What the server answers who asks for the record of a decision."""
    record = base64.b64encode(decided_before(subject, SignKey(bytes(32)))).decode()
    return json.dumps({"message": {"subject": subject, "seq": 1, "data": record}}).encode()


def directory_file(raw: bytes) -> object:
    """A request for a file of the directory, whose path is a part of the subject."""
    path, _, payload = raw.partition(b"\n")
    place = folder() / "directory"
    (place / "metadata").mkdir(parents=True, exist_ok=True)
    (place / "metadata" / "timestamp.json").write_bytes(b"{}")
    repository = DirectoryRepository(place, pinned_root=b"")
    services = MemberServices(repository, lambda _: ())
    return services._directory(f"hub.SG.dir.{text(path)}", payload)


def leaving(raw: bytes) -> object:
    return leaves_at({EXPIRES_HEADER: text(raw)})


def pulled(raw: bytes) -> object:
    """What the hub says of a message that it hands out: it chooses the subject to answer on."""

    async def publish(_subject: str, _payload: bytes) -> None:
        return

    return Message.of("inbox.SG", b"", None, text(raw), publish)


def lend(raw: bytes) -> bytes:
    return Lending(log()).file(raw.decode("ascii", "replace"))


_ASKED = ("broker.transport.services.HubServices._ask",)
_ATTACHED = ("broker.transport.attaching.AttachmentServices._ask",)
SERVICES = (
    Parser(
        "hub-time", answered(HubServices.time),
        ("broker.transport.services.HubServices.time", *_ASKED), form="canonical", wire=True,
    ),
    Parser(
        "hub-notices", answered(HubServices.notices),
        ("broker.transport.services.HubServices.notices",
         "broker.transport.services._notice", *_ASKED), form="canonical", wire=True,
    ),
    Parser(
        "hub-others", answered(HubServices.others_cosigned),
        ("broker.transport.services.HubServices.others_cosigned",
         "broker.transport.services.HubServices.witness"), form="canonical", wire=True,
    ),
    Parser(
        "hub-file", answered(known_file),
        ("broker.transport.services.HubServices._file", *_ASKED), form="canonical", wire=True,
    ),
    *(
        Parser(
            f"answered-{name}", attached(ask),
            (f"broker.transport.attaching.AttachmentServices.{name}", *_ATTACHED),
            form="canonical", wire=True,
        )
        for name, ask in (
            ("open", lambda hub: hub.open(OPENED)),
            ("put", lambda hub: hub.put(Put(ID, 0, 0, b"sealed"))),
            ("get", lambda hub: hub.get(Get("MY", ID, 0, 0))),
            ("done", lambda hub: hub.done(Done("MY", ID))),
            ("room", AttachmentServices.room),
        )
    ),
    Parser(
        "witness-next", next_asked, ("broker.ledger.cosigning.Cosigning.next",), form="lines",
        wire=True, examples=50,
    ),
    Parser(
        "witness-answer", submitted, ("broker.ledger.cosigning.Cosigning.submit",), form="lines",
        wire=True, examples=50,
    ),
    Parser(
        "witness-latest", lambda raw: cosigning().standings.show(WITNESS, raw),
        ("broker.ledger.standings.Standings.show",), form="lines",
        wire=True, examples=50,
    ),
    Parser(
        "witness-report", lambda raw: cosigning().standings.report(WITNESS, raw),
        ("broker.ledger.standings.Standings.report",), form="lines", like="witness-request",
        wire=True, examples=50,
    ),
    Parser(
        "witness-reported", lambda raw: cosigning().standings.reported(WITNESS, raw),
        ("broker.ledger.standings.Standings.reported",), form="lines", like="witness-next",
        wire=True, examples=50,
    ),
    Parser(
        "witness-refused", reported,
        ("broker.log.answered.answered_for", "broker.log.witness.report_of"), form="lines",
        like="witness-request", wire=True, examples=50,
    ),
    Parser(
        "witness-lends", lent,
        ("broker.ledger.cosigning.Cosigning._lent", "broker.ledger.borrowing.Borrowing.take"),
        form="lines", wire=True, examples=50,
    ),
    Parser(
        "lent-copy", copy_proved, ("broker.ledger.restoring.ProvenCopy.of",), form="canonical",
        wire=True, examples=50,
    ),
    *(
        Parser(
            f"attachment-{what}-asked", partial(chunk_asked, what),
            ("broker.hub.attachments.AttachmentService._answer",), form="canonical",
            like=f"attachment-{what}", wire=True, examples=30,
        )
        for what in Attaching
        if what is not Attaching.ROOM  # it says nothing that could be altered
    ),
    Parser(
        "directory-file", directory_file, ("broker.hub.services.MemberServices._directory",),
        wire=True,
    ),
    Parser("lent-path", lend, ("broker.node.lending.Lending.file",), form="lines", wire=True),
    Parser(
        "log-file", file_of_log, ("broker.ledger.cosigning.Cosigning._file",), wire=True,
        examples=50,
    ),
    Parser(
        "carried-hashes", lambda raw: hashes_in(Record(What.DONE, "", 1, raw)),
        ("broker.carry.leaving.hashes_in",), wire=True,
    ),
    Parser(
        "carried-ask", asked_by_file,
        ("broker.carry.ferry.Ferry._ask_now", "broker.carry.ferry.Ferry._requested"), wire=True,
    ),
    Parser(
        "ack-subject", pulled, ("broker.transport.message.Message.of",), form="lines", wire=True,
    ),
    Parser("leaves-at", leaving, ("broker.transport.message.leaves_at",), form="lines", wire=True),
    Parser(
        "ecdsa-key", ECDSAVerifyKey, ("keys.primitives.ecdsa.ECDSAVerifyKey.__init__",),
        lambda found: found.spki,
    ),
)  # fmt: skip
