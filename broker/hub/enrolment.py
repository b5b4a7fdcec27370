"""Keeps the broker's accounts as the directory has them: enrols and cuts off with no restart.

What an account may do stands in its JWT, which the running server takes over at once: a member
that is suspended, or has left, loses its live connections within milliseconds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from broker.hub.suspensions import Suspensions
from broker.logs import get_logger
from broker.transport.accounts import (
    MAX_CONNECTIONS,
    HubKeys,
    deletion_request,
    hub_account_jwt,
    member_account_jwt,
    public_nkey,
)
from broker.transport.errors import Refused
from broker.transport.link import Link
from broker.transport.streams import Sizes, ensure_streams, years_at
from keys.directory.view import DirectoryView
from keys.errors import DirectoryError

PUSH_TIMEOUT_S: Final = 5.0
_log = get_logger()


@dataclass(frozen=True)
class Standing:
    """One member's account, and whether it may connect."""

    account: bytes
    admitted: bool


def wanted(view: DirectoryView, suspensions: Suspensions, *, now: datetime) -> dict[str, Standing]:
    """Return who shall have an account, and who may connect.

    A member whose documents lapsed keeps its connection: it needs it to sign and fetch them anew.
    """
    cut = suspensions.in_force(now)
    return {
        code: Standing(
            view.member(code).document.nats.account,
            admitted=code not in cut and not _suspended(view, code, now),
        )
        for code in view.members()
    }


@dataclass
class Enrolment:
    """Puts accounts and streams into force; one task uses it."""

    keys: HubKeys
    system: Link
    hub: Link
    sizes: Sizes
    revoked: tuple[str, ...] = ()  # the hub's own users that are let in no more
    _applied: dict[str, Standing] = field(default_factory=dict)
    _generation: int = -1  # of the connection over which `_applied` was said
    _streams: tuple[frozenset[str], tuple[int, ...]] | None = None  # for whom, for which years

    async def apply(self, members: Mapping[str, Standing], *, now: datetime) -> bool:
        """Bring the server to `members`; return whether there was anything to do.

        Accounts come first: who is cut off is cut off even if the disk has no room for the streams
        of somebody new. Everything is said again on a new connection: a server that was down
        meanwhile may have forgotten, or kept what was taken back.

        Raises:
            TransportError: The server did not answer or refused; call again.
        """
        generation = self.system.generation
        anew = generation != self._generation
        streams = (frozenset(members), years_at(now))
        if not anew and members == self._applied and streams == self._streams:
            return False
        if anew or members != self._applied:
            await self._apply_accounts(members, anew=anew, now=now)
            self._applied, self._generation = dict(members), generation
        if anew or streams != self._streams:
            self._streams = None
            await ensure_streams(self.hub, sorted(members), now=now, sizes=self.sizes)
            self._streams = streams
        return True

    async def _apply_accounts(
        self, members: Mapping[str, Standing], *, anew: bool, now: datetime
    ) -> None:
        for code, standing in members.items():
            if not standing.admitted and (anew or self._applied.get(code) != standing):
                await self._enrol(code, standing, now=now)
        if anew or set(members) != set(self._applied):
            own = hub_account_jwt(self.keys, sorted(members), now=now, revoked=self.revoked)
            await self._push(own)
        for code, standing in members.items():
            if standing.admitted and (anew or self._applied.get(code) != standing):
                await self._enrol(code, standing, now=now)
        await self._forget_others(members, now=now)

    async def _enrol(self, code: str, standing: Standing, *, now: datetime) -> None:
        connections = MAX_CONNECTIONS if standing.admitted else 0
        jwt = member_account_jwt(
            self.keys, code, standing.account, now=now, connections=connections
        )
        await self._push(jwt)
        _log.info("enrolled" if standing.admitted else "cut-off", member=code)

    async def _forget_others(self, members: Mapping[str, Standing], *, now: datetime) -> None:
        """Delete every account that nobody in the directory has: old keys, members that left."""
        known = {public_nkey("account", standing.account) for standing in members.values()}
        for own in (self.keys.system, self.keys.account):
            known.add(public_nkey("account", own.public.raw))
        listed = await self._order("LIST", b"")
        others = sorted({str(account) for account in listed} - known)
        if others:
            await self._order("DELETE", deletion_request(self.keys, others, now=now).encode())
            _log.info("accounts-forgotten", count=len(others))

    async def _push(self, jwt: str) -> None:
        await self._order("UPDATE", jwt.encode())

    async def _order(self, what: str, payload: bytes) -> list[object]:
        raw = await self.system.request(
            f"$SYS.REQ.CLAIMS.{what}", payload, timeout_s=PUSH_TIMEOUT_S
        )
        answer = json.loads(raw)
        if "error" in answer:
            raise Refused(int(answer["error"].get("code", 0)), "the account was not taken")
        found = answer.get("data", [])
        return found if isinstance(found, list) else []


def _suspended(view: DirectoryView, code: str, now: datetime) -> bool:
    try:
        view.member(code).check_in_force(at=now)
    except DirectoryError as error:
        return error.code == "member-suspended"
    return False
