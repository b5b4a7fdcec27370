"""`kentong log resume`: let a log that stopped go on, by an operator who looked into it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.admin.secret import PassphraseFile, passphrase
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.hub.erased import read_erased
from broker.hub.memory import read_memory, write_memory
from broker.hub.place import HubPlace
from broker.ledger.intake import Witnessed
from broker.ledger.place import LedgerPlace
from broker.ledger.reading import AUDIT, AuditReader
from broker.ledger.rebuilding import Rebuilder
from broker.ledger.resuming import allow_reset, allow_without_witnesses
from broker.ledger.state import LedgerState, metadata
from broker.log.announcement import stream_id
from broker.log.errors import LogError
from broker.log.rebuilt import check_ready
from broker.logs import configure
from broker.settings import home
from broker.store.database import open_database
from broker.transport.link import Link
from broker.transport.streams import AUDIT_PREFIX, ready_subject, years_at
from broker.transport.streamstates import StreamState, stream_states
from keys.primitives.signing import SignKey

CONNECT_S = 20.0


@dataclass(frozen=True)
class Resumed:
    """What was done.

    Attributes:
        streams: That were put right.
        subjects: How many ids without a record are decided again.
    """

    streams: tuple[str, ...]
    subjects: int


def resume(
    stream_reset: Annotated[
        bool,
        typer.Option(
            "--stream-reset", help="A stream of decisions was lost, and you know why: read it anew."
        ),
    ] = False,
    without_witnesses: Annotated[
        bool,
        typer.Option(
            "--without-witnesses",
            help="Let the log grow that waits now, though too few witnesses showed what they know.",
        ),
    ] = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Let the log go on after it stopped, or waits; the log itself will say that you did.

    After a loss, the ids that were decided before are put back first, and gateways judge again once
    that is done. The running log, or its next start, goes on by itself.

    Example: kentong log resume --stream-reset
    """
    configure("log-resume")
    if not stream_reset and not without_witnesses:
        raise BrokerError("nothing-to-resume", "say --stream-reset or --without-witnesses")
    hub, place = HubPlace(home()), LedgerPlace(home())
    secret = passphrase(passphrase_file)
    credentials = hub.open_hub(secret).hub_credentials(hub, hub.config())
    key = place.open_sequencer(secret).leaves

    async def work() -> Resumed:
        async with open_database(place.database_url, metadata) as database:
            state = LedgerState(database)
            done = Resumed((), 0)
            if stream_reset:
                async with Link(credentials) as link:
                    await link.wait_connected(CONNECT_S)
                    done = await put_right(link, state, key, await notice(link, hub))
            if without_witnesses:
                await allow_without_witnesses(state)
            return done

    done = asyncio.run(work())
    if as_json:
        screen.as_json("log-resume", streams=list(done.streams), subjects=done.subjects)
        return
    for name in done.streams:
        screen.line(say("stream-put-right", "{stream} is read from its beginning.", stream=name))
    if stream_reset:
        said = "{count} ids without a record are decided again; gateways judge again."
        screen.line(say("subjects-put-back", said, count=done.subjects))
    if without_witnesses:
        screen.line(say("resumed-without", "The log that waits now goes on without its witnesses."))


async def notice(link: Link, hub: HubPlace) -> Mapping[str, int]:
    """Return what was lost of the record, now that the hub's memory says so too.

    Raises:
        BrokerError: `damaged`.
        TransportError: The server did not answer.
        KeyFileError: The memory cannot be read or written.
    """
    states = await stream_states(link, AUDIT)
    erased, before = read_erased(hub.erased_file), read_memory(hub.memory_file)
    after = before.before_repair(states, erased, now=clock.now())
    if after != before:
        write_memory(hub.memory_file, after)
    return after.lost


async def put_right(
    link: Link, state: LedgerState, key: SignKey, noticed: Mapping[str, int] | None = None
) -> Resumed:
    """Put back what was decided in every stream that was lost, and let the log read it anew.

    Args:
        link: On the hub's own account.
        state: The log's.
        key: The sequencer's.
        noticed: As `StreamMemory.lost`: also what the log had not read so far.

    Raises:
        BrokerError: `nothing-to-resume`; `no-stream`: it must be made anew first.
        TransportError: The server did not answer; the same again goes on.
    """
    positions = await state.positions()
    lost = await AuditReader(link, tuple, Witnessed(key)).lost(positions)
    states, subjects = await stream_states(link, AUDIT), 0
    names = {*lost, *await _not_marked(link, key, noticed or {}, states)}
    if not names:
        raise BrokerError("nothing-to-resume", "every stream is the one that was read")
    for name in sorted(names):
        if name not in states:
            raise BrokerError(
                "no-stream", f"{name} is not there: start the hub, which makes it", retry="later"
            )
        subjects += await Rebuilder(link, state, key).rebuild(name, states[name].created)
        if name in lost:
            await allow_reset(state, name, positions[name])
    return Resumed(tuple(sorted(names)), subjects)


async def _not_marked(
    link: Link, key: SignKey, noticed: Mapping[str, int], states: Mapping[str, StreamState]
) -> list[str]:
    """Return the streams in use that no mark of ours calls ready since they were lost."""
    open_now = {f"{AUDIT_PREFIX}{year}" for year in years_at(clock.now())}
    found = []
    for name in sorted(noticed.keys() & open_now):
        mark = await link.get_last(name, ready_subject(name)) if name in states else None
        if mark is None or mark.seq <= noticed[name]:
            found.append(name)
            continue
        try:
            check_ready(mark.payload, stream_id(name, states[name].created), key.public)
        except LogError:  # of the stream that was there before, in one that was put back
            found.append(name)
    return found
