"""This node's monthly encryption keys: enough published ahead, and none kept past its time.

Without the coming month's key nobody can seal to this member; a private key kept longer than it
must be opens what is past its time everywhere else.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from broker.logs import get_logger
from broker.node.present import Present
from keys.directory.view import DirectoryView
from keys.epochs import bounds, past_keeping, wanted
from keys.errors import KeysError
from keys.identity import MemberIdentity, destroy_past_keys, identity_in
from keys.keystore import KeyStore
from keys.token import PINSource, no_pin
from schemas.desk import Alarm

FEW: Final = "encryption-keys-few"
OVERDUE: Final = "private-keys-overdue"
ENOUGH: Final = 2  # months ahead: one ministry's signature and one publication fit well into it
EVERY_S: Final = 3600.0
_log = get_logger()


def key_alarms(
    view: DirectoryView, member: str, epochs: Iterable[str], *, now: datetime
) -> tuple[Alarm, ...]:
    """Return what a person must do about the keys of `member`.

    Args:
        view: The directory.
        member: Whose node.
        epochs: Those of its private keys, as far as they are known here.
        now: The current time.
    """
    listed = view.member_views[member].encryption.values() if member in view.member_views else ()
    usable = {entry.epoch for entry in listed if entry.standing.revoked_at is None}
    ahead = [epoch for epoch in wanted(now)[1:] if epoch in usable]
    found = []
    if len(ahead) < ENOUGH:
        last = max((bounds(each)[1] for each in usable), default=now)
        found.append(_alarm(FEW, f"until {last.date().isoformat()}: kentong keys rotate", now))
    overdue = sorted({epoch for epoch in epochs if past_keeping(epoch, now=now)})
    if overdue:
        found.append(_alarm(OVERDUE, f"{', '.join(overdue)}: kentong keys destroy", now))
    return tuple(found)


async def keep_keys(
    present: Present, store: KeyStore, pin: PINSource, take: Callable[[MemberIdentity], None]
) -> None:
    """For ever: destroy the private keys that are past their time, and say when few are left.

    Args:
        present: The node's clock and directory.
        store: The node's key store, opened.
        pin: As `identity_in`.
        take: Called with what is left once keys were destroyed.
    """
    while True:
        destroy_past(present, store, take, pin)
        if present.has_directory:
            kept = identity_in(store).epochs.values()
            for alarm in key_alarms(present.view, present.member, kept, now=present.now()):
                _log.warning(alarm.code, member=present.member)
        await asyncio.sleep(EVERY_S)


def destroy_past(
    present: Present,
    store: KeyStore,
    take: Callable[[MemberIdentity], None],
    pin: PINSource = no_pin,
) -> None:
    """Destroy the private keys that are past their time, on disk and in the running node."""
    try:
        gone = destroy_past_keys(store, now=present.now())
    except KeysError as error:  # the disk is full, or the store was changed: the alarm stays
        _log.error("keys-not-destroyed", error_code=error.code)
        return
    if gone:
        _log.info("keys-destroyed", count=len(gone))
        take(identity_in(store, pin))


def _alarm(code: str, detail: str, now: datetime) -> Alarm:
    return Alarm(code=code, count=1, first_at=now, last_at=now, detail=detail)
