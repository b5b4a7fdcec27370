"""The API of a real node, served over TLS by a loop of its own, for requests that are made up.

The node behind it has a real database, a real hub and an inbox with mail. Its streams beat often:
a heartbeat tells a reader who must not wait that there is no more for now.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker import clock
from broker.api import Limits, Scope, TLSPort, TokenBook, create_app, serving
from keys.primitives.certificates import issue_server, make_ca
from schemas.desk import AttachmentRequest
from schemas.label import Sender
from tests.support.alerts import drugs_alert
from tests.support.attachments import DESK, a_file, handed, named
from tests.support.envelopes import an_alert, delivery, make
from tests.support.hub import BOUND_S, running_hub
from tests.support.nodes import opened_node, request, send
from tests.support.region import make_region

MAIL: Final = 5  # alerts in the inbox, of two types by turns
_FREE: Final = Limits(
    requests_per_s=1e6,
    burst=10**6,
    failures_per_s=1e6,
    streams_per_desk=10**6,
    heartbeat_s=0.05,
)


@dataclass
class Place:
    """Where the node's API is served, and what opens it.

    Attributes:
        known: Ids of what is there, by the name of the parameter that asks for such.
        mail: Position and type of each alert in the inbox.
        submission: The one that is there.
    """

    url: str
    token: str
    ca: str
    known: Mapping[str, tuple[str, ...]]
    mail: tuple[tuple[int, str], ...]
    submission: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}


@contextmanager
def served(folder: Path) -> Iterator[Place]:
    """The API of a node of SG, until the end of the block."""
    started: list[Place] = []
    ready, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    failed: list[BaseException] = []

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            started.append(await _served(stack, folder))
            ready.set()
            await ended.wait()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(BOUND_S)
    if failed:
        raise failed[0]
    yield started[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(BOUND_S)
    loop.close()
    assert not failed


async def _served(stack: AsyncExitStack, folder: Path) -> Place:
    region = make_region(("SG", "MY", "VN"), now=clock.now())
    hub = await stack.enter_async_context(running_hub(region, folder / "hub"))
    node = await stack.enter_async_context(opened_node(hub, "SG", folder))
    for number in range(MAIL):
        alert = drugs_alert() if number % 2 else an_alert()
        sender = Sender(member="MY", agency="PDRM")
        made = make(
            region, ("SG",), alert=alert, sender=sender, tail=number + 1, counter=number + 1
        )
        assert await node.incoming.take(delivery(region, made.sealed.raw, "SG"))
    draft = await node.create_draft(request(region, ("MY",)))
    kept = await send(node, region, request(region, ("MY", "VN")))
    whole = (await handed(node, a_file(1))).attachment_id
    wanted = named(a_file(2), "begun.bin").model_dump(exclude={"attachment_id"})
    begun = await node.create_attachment(DESK, AttachmentRequest.model_validate(wanted))
    book = TokenBook(node.database)
    _, token = await book.add(DESK, frozenset(Scope), now=clock.now())
    ca, ca_key = make_ca("Kentong test", clock.now(), 2)
    certificate, key = issue_server(ca, ca_key, ["localhost"], clock.now(), 2)
    for name, pem in (("ca.pem", ca), ("node.pem", certificate), ("node.key", key)):
        (folder / name).write_bytes(pem)
    app = create_app(node, book, limits=_FREE)
    tls = TLSPort("localhost", 0, folder / "node.pem", folder / "node.key")
    port = (await stack.enter_async_context(serving(app, tls=tls))).port
    items = (await node.inbox()).items
    known = {
        "draft_id": (draft.draft_id,),
        "reference": (kept.submission_id, kept.alert_id),
        "item_id": tuple(item.id for item in items),
        "attachment_id": (whole, begun.attachment_id),
    }
    return Place(
        url=f"https://localhost:{port}",
        token=token,
        ca=str(folder / "ca.pem"),
        known={name: tuple(map(str, ids)) for name, ids in known.items()},
        mail=tuple((each.position, each.type) for each in items),
        submission=str(kept.submission_id),
    )
