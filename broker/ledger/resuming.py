"""What an operator allows a log that stopped: `kentong log resume`. Each use of it is a leaf.

The command marks its permission in the log's database, and the running log, or its next start,
uses it up in the same transaction as the leaf. A permission speaks of one place in one stream, so
that one which was left over allows nothing later.
"""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from broker.ledger.intake import Noticed
from broker.ledger.state import Beside, LedgerState, Position
from broker.log.announcement import RESUMED_WITHOUT_WITNESSES, resumed_after_reset, stream_id
from broker.log.leaf import LeafKind
from broker.logs import get_logger
from broker.transport.streams import StreamState

LOOK_S: Final = 0.5  # how soon a permission is seen while the log waits for witnesses
_WITNESSES: Final = "resume/without-witnesses"
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
    """Let the log grow after this start although too few witnesses showed what they cosigned.

    Raises:
        StoreError: Nothing was kept.
    """
    await state.read_on({}, Beside(marks={_WITNESSES: "allowed"}))


async def agreed_or_allowed(agreed: Coroutine[Any, Any, None], state: LedgerState) -> Allowed:
    """Return once witnesses agree, or an operator lets the log go on without them.

    What a witness did show counts all the same: a fork, or leaves that are missing here, stop it.

    Raises:
        LedgerError: As `agreed` does.
    """
    waiting = asyncio.get_running_loop().create_task(agreed)
    try:
        while True:
            done, _ = await asyncio.wait((waiting,), timeout=LOOK_S)
            if done:
                await waiting
                return Allowed()
            if _WITNESSES in await state.marks():
                _log.error("resumed-without-witnesses", alarm="resumed-without-witnesses")
                said = Noticed(LeafKind.STREAM, RESUMED_WITHOUT_WITNESSES)
                return Allowed((said,), marks={_WITNESSES: None})
    finally:
        waiting.cancel()


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
