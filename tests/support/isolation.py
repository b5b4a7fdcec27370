"""A hub at work for those who attack it: what they use, who watches, and what can be seen.

Streams and chunks show what changed. Where a bare answer would be all, somebody listens in the
accounts of the hub and of MY.
"""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from broker import clock
from broker.hub.attachments import AttachmentService
from broker.transport.answers import NO_RESPONDERS
from broker.transport.attaching import AttachmentServices, Opened, Put
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from broker.transport.message import Message
from schemas import canonical
from schemas.errors import SchemaError
from schemas.label import Sender
from tests.support.attachments import serving_attachments, stand
from tests.support.attacks import AT, CHUNK, EXPIRES, FILES, GET, IDENT, REPLIES, UNOPENED
from tests.support.envelopes import decide, make
from tests.support.hub import BOUND_S, RunningHub, running_hub
from tests.support.region import make_region

OWN = frozenset({"SUBMIT_SG"})  # what an attacker may change by submitting
LISTENED = (*REPLIES, *(f"hub.{code}.att.{verb}" for code in ("MY", "TH") for verb in FILES))
"""Where an answer may have been let go to, and where a question of SG has no business."""


@dataclass
class Ears:
    """Somebody who listens in an account to all of `LISTENED`."""

    client: Client
    subscriptions: list[Subscription]

    async def heard(self) -> set[str]:
        """Return the subjects of all that came since it was last asked."""
        await self.client.flush()
        return {
            (await each.next_msg()).subject
            for each in self.subscriptions
            for _ in range(each.pending_msgs)
        }


@dataclass
class Scene:
    """A hub at work: mail waits for both, one message is in MY's hands, a decision stands.

    Attributes:
        link: The hub's own.
        links: Of MY and TH.
        ears: By account.
    """

    hub: RunningHub
    link: Link
    links: dict[str, Link]
    in_hand: Message
    attachments: AttachmentService
    ears: dict[str, Ears]

    @property
    def victim(self) -> Link:
        """MY's link."""
        return self.links["MY"]

    async def lay_out(self) -> None:
        """Let MY begin with the files of `IDENT` and hand in the first chunk, and nothing else."""
        for ident in (IDENT, UNOPENED):
            await self.attachments.store.remove("MY", ident)
        asks = AttachmentServices(self.victim, "MY")
        begun = await asks.open(Opened(IDENT, (2,), EXPIRES))
        assert begun.next == (0,)
        await asks.put(Put(IDENT, 0, 0, CHUNK))
        await self.heard()

    async def heard(self) -> set[tuple[str, str]]:
        """Return account and subject of all that somebody heard since they were last asked."""
        return {
            (account, subject)
            for account, ears in self.ears.items()
            for subject in await ears.heard()
        }


@asynccontextmanager
async def isolated(folder: Path) -> AsyncIterator[Scene]:
    """A hub of SG, MY and TH with all that can be attacked."""
    region = make_region(("SG", "MY", "TH"), now=AT)
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(region, folder))
        links = {}
        for name, link in (
            ("HUB", hub.hub_link()),
            ("MY", hub.member_link("MY")),
            ("TH", hub.member_link("TH")),
        ):
            links[name] = await stack.enter_async_context(link)
            await link.wait_connected(BOUND_S)
        attachments = await stack.enter_async_context(serving_attachments(hub, folder / "chunks"))
        own = links.pop("HUB")
        in_hand = await _furnish(hub, own, links["MY"])
        ears = {
            "HUB": await stack.enter_async_context(_listening(hub.hub_credentials("ears"))),
            "MY": await stack.enter_async_context(
                _listening(hub.member_credentials("MY", confined=False))
            ),
        }
        scene = Scene(hub, own, links, in_hand, attachments, ears)
        await scene.lay_out()
        yield scene


async def _furnish(hub: RunningHub, link: Link, victim: Link) -> Message:
    """Serve, deliver and decide; return the message that MY has in hand."""

    async def tell(subject: str, _: bytes) -> bytes:
        return subject.encode()

    for code in ("SG", "MY"):
        for service in ("time", "settled"):
            await link.serve(f"hub.{code}.{service}", tell)
        for number in range(2):
            subject = f"deliver.{code}.normal.{number}"
            await link.publish_acked(subject, b"sealed mail", msg_id=subject)
    await link.publish_acked("receipt.MY.1", b"a receipt", msg_id="receipt")
    for tail, ident in ((1, IDENT), (2, UNOPENED)):
        sender = Sender(member="MY", agency="PDRM")
        made = make(hub.region, ("TH",), at=AT, tail=tail, sender=sender)
        assert made.label.id == ident
        await stand(hub, decide(hub.region, made.sealed.raw))
    return (await victim.pull("INBOX_MY_normal", "normal", batch=1, timeout_s=BOUND_S))[0]


@asynccontextmanager
async def _listening(given: Credentials) -> AsyncIterator[Ears]:
    async with attacker(given) as client:
        yield Ears(client, [await client.subscribe(subject) for subject in LISTENED])


@asynccontextmanager
async def attacker(given: Credentials) -> AsyncIterator[Client]:
    async def unheard(_: Exception) -> None:
        """Refusals of the server are what is expected."""

    client = Client()
    try:
        await client.connect(
            list(given.urls),
            user_jwt_cb=lambda: bytearray(given.jwt.encode()),
            signature_cb=lambda nonce: base64.b64encode(given.key.sign(nonce.encode())),
            tls=ssl.create_default_context(cadata=given.ca_pem),
            inbox_prefix=given.inbox_prefix.encode(),
            allow_reconnect=False,
            max_reconnect_attempts=1,
            error_cb=unheard,
        )
        yield client
    finally:
        await client.close()


async def observed(link: Link) -> dict[str, Any]:
    """Return what can be seen of every stream and consumer that SG must not be able to change."""
    seen: dict[str, Any] = {}
    for stream in (await link.api("STREAM.LIST", {}))["streams"]:
        name, state = stream["config"]["name"], stream["state"]
        seen[name] = [stream["config"], stream["created"]]
        if name not in OWN:
            seen[name] += [state[part] for part in ("messages", "bytes", "first_seq", "last_seq")]
        for consumer in (await link.api(f"CONSUMER.LIST.{name}", {}))["consumers"]:
            key = f"{name}/{consumer['name']}"
            seen[key] = [consumer["config"], consumer["created"], consumer.get("paused", False)]
            if not name.endswith("_SG"):
                counters = ("delivered", "ack_floor", "num_ack_pending", "num_pending")
                seen[key] += [_without_times(consumer[part]) for part in counters]
    return seen


def _without_times(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if name != "last_active"}
    return value


def chunks_of(scene: Scene) -> dict[str, bytes]:
    """Return all that the hub keeps of attached files."""
    folder = scene.attachments.store.files.folder
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def settled(scene: Scene, client: Client) -> None:
    """Return once server and services have done all that the attacker sent."""
    await client.flush()
    await scene.victim.request("hub.MY.settled", b"")
    for code, link in scene.links.items():  # each member is served one question at a time
        await link.request(f"hub.{code}.att.settled", b"")
    await client.request("hub.SG.att.settled", timeout=BOUND_S)
    await client.flush()


def is_refusal(message: Msg) -> bool:
    """Whether an answer gives nothing: nobody is there, or an error and nothing else."""
    if not message.data:
        return (message.headers or {}).get("Status") == NO_RESPONDERS
    if message.data.startswith(b"{"):  # a server's, which fills in what nothing came of
        return "error" in json.loads(message.data)
    fields = _decoded(message.data)
    return isinstance(fields, dict) and fields.keys() == {"error"}


def _decoded(raw: bytes) -> canonical.Value:
    try:
        return canonical.decode(raw, max_bytes=2 * len(CHUNK))
    except SchemaError:  # mail, or whatever else the hub's services never say
        return None


async def check_legitimate_path(scene: Scene) -> None:
    """Return if SG and MY can do what they may: the hub was up, and the attacker's key good."""
    async with scene.hub.member_link("SG") as link:
        await link.wait_connected(BOUND_S)
        ident = f"{clock.now().timestamp()}".replace(".", "-")
        stored = await link.publish_acked(f"submit.SG.control.{ident}", b"x", msg_id=ident)
        assert stored.stream == "SUBMIT_SG"
        assert await link.request("hub.SG.time", b"") == b"hub.SG.time"
        assert b"error" in await link.request("hub.SG.att.get", GET)  # answered, and nothing given
    assert await scene.victim.request("hub.MY.time", b"") == b"hub.MY.time"
