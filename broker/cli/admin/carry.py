"""`kentong carry`: moves a node's mail by file, where there is no link at all."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from broker import clock
from broker.carry.attached import KnownFerries
from broker.carry.done import Done
from broker.carry.ferry import CONNECT_S, Collected, Ferry, Handed
from broker.carry.files import opened_copy
from broker.carry.form import CarryError, To
from broker.carry.leaving import Left, write_for_hub
from broker.carry.place import FerryPlace
from broker.carry.taking import Taken, Taking
from broker.cli import progress, screen
from broker.cli.admin.node_place import NodePlace, OpenedNode, opened_node
from broker.cli.admin.secret import AsJSON, PassphraseFile, passphrase, pin
from broker.cli.text import say
from broker.logs import configure
from broker.monitoring.unix import asked
from broker.settings import home, settings
from broker.transport.link import Link
from broker.transport.unlinked import Unlinked
from keys.home import Home
from keys.identity import MemberIdentity

app = typer.Typer(no_args_is_help=True)
_FOLDER: Final = "carry"
ResultT = TypeVar("ResultT")


@app.callback()
def carry() -> None:
    """Carry mail by file between a node without a link and the hub.

    At the node: carry out, and carry in for what comes back. At the ferry, which has a link and
    none of the node's keys: carry in for the node's file, then carry out for what goes back.
    """


@app.command()
def ferry(
    to: Annotated[Path, typer.Option("--to", help="New folder: the ferry's home.")],
    hub: Annotated[str, typer.Option(help="Where the hub is: tls://host:port.")],
    days: Annotated[int, typer.Option(min=1, max=365, help="Days until it expires.")] = 30,
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Make a ferry, at the node: what another machine needs to fetch and bring this node's mail.

    It holds no key that seals, opens or signs. The node's passphrase opens it too.

    Example: kentong carry ferry --to /media/stick/ferry --hub tls://hub.example.org:4222
    """
    secret, now = passphrase(passphrase_file), clock.now()
    expires = now + timedelta(days=days)
    key = FerryPlace(to).make(
        MemberIdentity.load(Home(home()).node_keys, secret),
        hub_url=hub,
        authority_pem=NodePlace(home()).authority_pem(),
        root=Home(home()).pinned_root(),
        passphrase=secret,
        now=now,
        expires=expires,
        log2n=settings().scrypt_log2n,
    )
    KnownFerries(NodePlace(home()).folder / _FOLDER).add(key)
    if as_json:
        screen.as_json("carry-ferry", folder=str(to), expires=expires.isoformat())
        return
    text = "The ferry is in {folder}, and holds until {date}."
    screen.line(say("carry-ferry", text, folder=to, date=f"{expires:%Y-%m-%d}"))


@app.command("out")
def out(
    to: Annotated[Path, typer.Option("--to", help="New file.")],
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Write what is to be carried: at the node for the hub, at the ferry for the node.

    A file that is lost or carried twice does no harm. A node seals only within the hour in which
    the hub signed the directory that was carried to it last; what was sealed before goes anyway.

    Examples: kentong carry out --to /media/stick/to-hub.carry,
    kentong --home /media/stick/ferry carry out --to /media/stick/to-node.carry
    """
    configure("carry")
    secret = passphrase(passphrase_file)
    with progress.shown(to.name, quiet=as_json, counted=True) as tell:
        if FerryPlace(home()).exists:
            _say_collected(to, _run(_collect(to, secret, tell)), as_json=as_json)
        else:
            _say_left(to, _run(_leave(to, secret, tell)), as_json=as_json)


@app.command("in")
def take_in(
    file: Annotated[Path, typer.Argument(help="The file that was carried here.")],
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Take what was carried here: at the ferry from the node, at the node from the ferry.

    The same file may be taken again: nothing is lost and nothing is there twice. A file that is cut
    short, changed, of another member or on its way elsewhere is refused before any of it is used.

    Examples: kentong carry in /media/stick/to-node.carry,
    kentong --home /media/stick/ferry carry in /media/stick/to-hub.carry
    """
    configure("carry")
    secret = passphrase(passphrase_file)
    with progress.shown(file.name, quiet=as_json, counted=True) as tell:
        if FerryPlace(home()).exists:
            _say_handed(_run(_hand_in(file, secret, tell)), as_json=as_json)
        else:
            _say_taken(_run(_take(file, secret, tell)), as_json=as_json)


def _run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    return asyncio.run(work)


# --- at the ferry ---


@asynccontextmanager
async def _connected(secret: bytes, tell: progress.Tell) -> AsyncIterator[Ferry]:
    place = FerryPlace(home())
    credentials = place.credentials(secret, now=clock.now())
    async with Link(credentials) as link:
        await link.wait_connected(CONNECT_S)
        yield Ferry(place, link, place.config().member, tell, credentials.key)


async def _collect(to: Path, secret: bytes, tell: progress.Tell) -> Collected:
    async with _connected(secret, tell) as ferry:
        return await ferry.collect(to)


async def _hand_in(file: Path, secret: bytes, tell: progress.Tell) -> Handed:
    place = FerryPlace(home())
    with opened_copy(file, place.folder / _FOLDER, member=place.config().member, to=To.HUB) as (
        copy,
        whole,
    ):
        async with _connected(secret, tell) as ferry:
            return await ferry.hand_in(copy, whole)


# --- at the node ---


@asynccontextmanager
async def _opened(secret: bytes, link: Unlinked) -> AsyncIterator[OpenedNode]:
    place = NodePlace(home())
    if place.config().hub_url and asked(place.socket, "/healthz") is not None:
        raise CarryError("node-runs", "this node has a link of its own: stop it first")
    async with opened_node(place, secret, pin, link=link) as opened:
        yield opened


async def _leave(to: Path, secret: bytes, tell: progress.Tell) -> Left:
    place = NodePlace(home())
    async with _opened(secret, Unlinked()) as opened:
        return await write_for_hub(opened.node, Done(place.folder / _FOLDER), to, tell)


async def _take(file: Path, secret: bytes, tell: progress.Tell) -> Taken:
    place = NodePlace(home())
    folder = place.folder / _FOLDER
    with opened_copy(file, folder, member=place.config().member, to=To.NODE) as (copy, whole):
        link = Unlinked()
        async with _opened(secret, link) as opened:
            signed = KnownFerries(folder).wrote(whole)
            taking = Taking(opened.node, link, Done(folder), copy, whole.header, tell, signed)
            return await taking.run()


# --- words ---


def _say_left(to: Path, left: Left, *, as_json: bool) -> None:
    if as_json:
        screen.as_json(
            "carry-out",
            file=str(to),
            bytes=left.size,
            envelopes=left.envelopes,
            done=left.done,
            queued=left.queued,
            asks=left.asks,
            waiting_for=left.hindrance,
        )
        return
    text = "{file}: {count} sealed messages for the hub, {size}. Take it to the ferry."
    shown = progress.size(left.size)
    screen.line(say("carry-left", text, file=to, count=left.envelopes, size=shown))
    if left.queued:
        text = "{count} alerts stay here, not sealed ({why})."
        why = left.hindrance or "queued"
        screen.line(say("carry-queued", text, count=left.queued, why=why))
    if left.hindrance == "directory-expired":
        text = "Sealing needs a file that the ferry made within the hour: carry one here first."
        screen.line(say("carry-fresh", text))


def _say_handed(handed: Handed, *, as_json: bool) -> None:
    if as_json:
        screen.as_json(
            "carry-in", envelopes=handed.envelopes, done=handed.done, newest=handed.newest
        )
        return
    text = "The hub has {count} messages. Next, for the node: kentong carry out --to FILE"
    screen.line(say("carry-handed", text, count=handed.envelopes))
    if not handed.newest:
        screen.line(say("carry-older", "A newer file of this node was taken before."))


def _say_collected(to: Path, collected: Collected, *, as_json: bool) -> None:
    if as_json:
        screen.as_json(
            "carry-out",
            file=str(to),
            bytes=collected.size,
            copies=collected.copies,
            receipts=collected.receipts,
            files=collected.answers,
            released=collected.released,
            more=collected.more,
        )
        return
    text = "{file}: {count} messages and {receipts} receipts for the node, {size}."
    shown = progress.size(collected.size)
    counts = {"count": collected.copies, "receipts": collected.receipts, "size": shown}
    screen.line(say("carry-collected", text, file=to, **counts))
    if collected.more:
        text = "The hub has more, or could not give all of it: carry another file later."
        screen.line(say("carry-more", text))


def _say_taken(taken: Taken, *, as_json: bool) -> None:
    if as_json:
        screen.as_json(
            "carry-in",
            alerts=taken.alerts,
            answers=taken.answers,
            again=taken.again,
            quarantined=taken.quarantined,
            receipts=taken.receipts,
            left=taken.left,
            damaged=taken.damaged,
            leaves=taken.leaves,
            chunks=taken.chunks,
            directory=taken.directory or "taken",
            log=taken.log or "taken",
        )
        return
    text = "{alerts} new alerts, {answers} answers, {receipts} receipts; {again} were here before."
    counts = {"alerts": taken.alerts, "answers": taken.answers, "receipts": taken.receipts}
    screen.line(say("carry-taken", text, again=taken.again, **counts))
    if taken.quarantined:
        text = "{count} messages were refused and kept as evidence: kentong node status"
        screen.line(say("carry-quarantined", text, count=taken.quarantined))
    if taken.left:
        text = "{count} messages wait at the hub for a newer directory."
        screen.line(say("carry-left-there", text, count=taken.left))
    if taken.damaged:
        text = "{count} messages are about what the disk changed here, and were left out."
        screen.line(say("carry-damaged-here", text, count=taken.damaged))
    if taken.directory:
        text = "Its directory was not taken ({why}): this node holds the newer one, or a good one."
        screen.line(say("carry-directory", text, why=taken.directory))
    if taken.log:
        text = "Its part of the log was not taken ({why}); the next file brings it."
        screen.line(say("carry-log", text, why=taken.log))
