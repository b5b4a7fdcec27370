"""What an operator allows a log that stopped: `kentong log resume`. Each use of it is a leaf.

The command marks its permission in the log's database, and the log uses it up in the same
transaction as the leaf. A permission speaks of one place in one stream, or of one start that waits
for its witnesses, so that one which was left over, be it in a backup, allows nothing later.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from broker.ledger.errors import LedgerError
from broker.ledger.intake import Noticed
from broker.ledger.state import Beside, LedgerState, Position
from broker.log.announcement import RESUMED_WITHOUT_WITNESSES, resumed_after_reset, stream_id
from broker.log.leaf import LeafKind
from broker.logs import get_logger
from broker.store.errors import StoreError
from broker.transport.streamstates import StreamState
from keys.primitives.hashing import random_bytes

LOOK_S: Final = 0.5  # how soon a permission is seen while the log waits for witnesses
_WITNESSES: Final = "resume/without-witnesses"
_WAITS: Final = "resume/waits"  # which start waits for its witnesses now, and from what size
_START_BYTES: Final = 16
_STREAM: Final = "resume/stream/"
_log = get_logger()


@dataclass(frozen=True)
class Allowed:
    """What follows from permissions: leaves, positions to read from, and marks used up."""

    noticed: tuple[Noticed, ...] = ()
    read: Mapping[str, Position] = field(default_factory=dict)
    marks: Mapping[str, str | None] = field(default_factory=dict)


async def allow_reset(state: LedgerState, name: str, position: Position) -> None:
    """Let the log read stream `name` from its beginning, if it was read up to `position`.

    Raises:
        StoreError: Nothing was kept.
    """
    mark = {f"{_STREAM}{name}": _encode(position)}
    await state.read_on({}, Beside(marks=mark))


async def allow_without_witnesses(state: LedgerState) -> None:
    """Let the log that waits now grow although too few witnesses showed what they cosigned.

    Raises:
        LedgerError: `not-waiting`: no start of it waits, and a later one must ask by itself.
        StoreError: Nothing was kept.
    """
    waits = (await state.marks()).get(_WAITS)
    if waits is None:
        raise LedgerError(
            "not-waiting", "the log does not wait for its witnesses now: start it", retry="later"
        )
    await state.read_on({}, Beside(marks={_WITNESSES: waits}))


async def agreed_or_allowed(
    agreed: Coroutine[Any, Any, None],
    state: LedgerState,
    size: int,
    *,
    refuted: Callable[[], bool] = lambda: False,
) -> Allowed:
    """Return once witnesses agree, or an operator lets this start go on without them.

    What a witness did show counts all the same: a fork, or leaves that are missing here, stop it.

    Args:
        agreed: Returns once they do.
        state: The log's.
        size: Its leaves.
        refuted: Whether something that a witness showed speaks against growth; asked last.

    Raises:
        LedgerError: As `agreed` does.
        StoreError: The database failed.
    """
    waiting = asyncio.get_running_loop().create_task(agreed)
    own = json.dumps({"size": size, "start": random_bytes(_START_BYTES).hex()}, sort_keys=True)
    used: Mapping[str, str | None] = {_WAITS: None, _WITNESSES: None}
    try:
        await state.read_on({}, Beside(marks={_WAITS: own, _WITNESSES: None}))
        while True:
            done, _ = await asyncio.wait((waiting,), timeout=LOOK_S)
            if done:
                await waiting
                return Allowed(marks=used)
            if (await state.marks()).get(_WITNESSES) == own and not refuted():
                _log.error("resumed-without-witnesses", alarm="resumed-without-witnesses")
                said = Noticed(LeafKind.STREAM, RESUMED_WITHOUT_WITNESSES)
                return Allowed((said,), marks=used)
    except (LedgerError, asyncio.CancelledError):
        with suppress(StoreError):  # this start waits no more; the next forgets it too
            await state.read_on({}, Beside(marks=used))
        raise
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


def after_reset(
    positions: Mapping[str, Position],
    marks: Mapping[str, str],
    states: Mapping[str, StreamState],
) -> Allowed:
    """Return what the permissions among `marks` allow for the streams as they are now."""
    noticed: list[Noticed] = []
    read: dict[str, Position] = {}
    used: dict[str, str | None] = {}
    for mark, value in sorted(marks.items()):
        name = mark.removeprefix(_STREAM)
        if name == mark or name not in states:
            continue
        used[mark] = None
        before = positions.get(name)
        if before is None or _encode(before) != value:
            continue  # left over from another time
        about = resumed_after_reset(stream_id(name, before.created), before.next_seq)
        created = states[name].created
        noticed.append(Noticed(LeafKind.STREAM, about, stream_id(name, created)))
        read[name] = Position(created, 1)
        _log.error("resumed-after-reset", stream=name, alarm="resumed-after-reset")
    return Allowed(tuple(noticed), read, used)


def _encode(position: Position) -> str:
    return json.dumps(vars(position), sort_keys=True)
