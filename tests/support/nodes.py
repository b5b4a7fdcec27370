"""Nodes in this process, with real databases and a real hub."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from broker import clock
from broker.node.node import Node
from broker.node.present import Present
from broker.store.database import open_database
from broker.store.tables import metadata
from broker.transport.credentials import Credentials
from broker.transport.link import Link
from keys.identity import MemberIdentity
from keys.primitives.signing import SignKey
from schemas.common import Alert
from schemas.desk import AlertBody, DraftRequest, StoredDraft, Submission
from schemas.vocabulary import TLP, Precedence, Purpose, Status
from tests.support.databases import url_of
from tests.support.envelopes import an_alert
from tests.support.hub import RunningHub
from tests.support.region import TestRegion

NOWHERE = Credentials((), "", "", SignKey.generate(), "_INBOX", "nobody")


class Clock:
    """The machine's clock, or one that a test has stopped, or put wrong by `ahead`.

    More of `ahead` is time that goes by; `jumped` is what somebody set the clock by.
    """

    def __init__(self, ahead: timedelta = timedelta(0)) -> None:
        self.stopped: datetime | None = None
        self.ahead = ahead
        self.jumped = timedelta(0)

    def __call__(self) -> datetime:
        return (self.stopped or clock.now() + self.ahead) + self.jumped

    def steady(self) -> float:
        return (self() - self.jumped).timestamp()


def identity_of(region: TestRegion, code: str) -> MemberIdentity:
    """What the node of a member of the test region holds."""
    member = region.members[code]
    return MemberIdentity(
        member=code,
        sign_keys={member.kid: member.sign_key},
        open_keys=member.open_keys,
        epochs=dict.fromkeys(member.open_keys, "2026-11"),
        storage_key=member.storage_key,
        witness_seed=member.witness_seed,
        nats_account_seed=member.nats_account.seed(),
        nats_user_seed=member.nats_user.seed(),
    )


@asynccontextmanager
async def opened_node(
    hub: RunningHub, code: str, folder: Path, *, now: Clock | None = None
) -> AsyncIterator[Node]:
    """A node that does nothing by itself; the test drives it, or runs it."""
    now = now or Clock()
    present = Present(code, now=now, machine=now, steady=now.steady)
    present.take(hub.region.view)
    url = url_of(folder / f"{code}.db")
    async with (
        open_database(url, metadata, sole=True) as database,
        Link(hub.member_credentials(code)) as link,
    ):
        files = folder / f"{code}-attachments"
        yield Node(present, identity_of(hub.region, code), database, link, files)


@asynccontextmanager
async def lonely_node(region: TestRegion, code: str, path: Path) -> AsyncIterator[Node]:
    """A node with its database in `path`, which never reaches a hub."""
    present = Present(code)
    present.take(region.view)
    async with open_database(url_of(path), metadata, sole=True) as database:
        files = path.with_name(f"{path.name}-attachments")
        yield Node(present, identity_of(region, code), database, Link(NOWHERE), files)


@asynccontextmanager
async def running_node(hub: RunningHub, code: str, folder: Path) -> AsyncIterator[Node]:
    """A node at work; at the end it stops at once, wherever it is."""
    async with opened_node(hub, code, folder) as node, node.running():
        yield node


def request(
    region: TestRegion,
    to: tuple[str, ...],
    *,
    alert: Alert | None = None,
    **changes: Any,  # noqa: ANN401
) -> DraftRequest:
    """What an officer of SG asks."""
    alert = alert or an_alert()
    body = alert.model_dump(mode="json", exclude_none=True)
    fields: dict[str, Any] = {
        "status": Status.ACTUAL,
        "alert": AlertBody(type=alert.TYPE, version=alert.VERSION, body=body),
        "recipients": to,
        "agency": "SPF",
        "tlp": TLP.AMBER,
        "purposes": (Purpose.WARN,),
        "precedence": Precedence.ROUTINE,
        "officer_kid": region.members["SG"].officer_kid,
    }
    return DraftRequest(**{**fields, **changes})


def sign(region: TestRegion, draft: StoredDraft, code: str = "SG") -> bytes:
    return region.members[code].officer_key.sign(draft.bytes_to_sign)


async def send(
    node: Node, region: TestRegion, asked: DraftRequest, *, key: str | None = None
) -> Submission:
    """Draft, sign and queue."""
    draft = await node.create_draft(asked)
    return await node.submit_draft(
        draft.draft_id,
        signature=sign(region, draft, node.member),
        officer_kid=draft.officer_kid,
        idempotency_key=key or str(uuid4()),
    )


async def until_over(node: Node, submission_id: UUID) -> Submission:
    """The last state of a submission."""
    return [each async for each in node.watch(submission_id)][-1]
