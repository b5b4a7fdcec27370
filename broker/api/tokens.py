"""Bearer tokens of desks: who may ask this node for what.

A token is `kentong_<id>_<secret>`; the secret is 256 random bits, of which the node keeps the
SHA-256 alone. A hash made for passwords would add nothing: such a secret cannot be guessed.
The database is asked at each request, so a revocation holds from the next one on.
"""

import base64
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.errors import BrokerError
from broker.store.database import Database
from broker.store.statements import Statement
from broker.store.tables import api_tokens
from keys.primitives.hashing import equal, random_bytes, sha256

SECRET_BYTES: Final = 32
_TOKEN: Final = re.compile(r"kentong_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_DESK: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")  # no dot: it divides desk and cursor name
_TYPE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOBODY: Final = bytes(32)  # compared where no token is known, so that both ways cost the same


_FOUND: Final = Statement(sa.select(api_tokens).where(api_tokens.c.id == sa.bindparam("of_id")))


class Scope(StrEnum):
    """What a token may be used for. None includes another."""

    READ = "read"  # inbox, cursors, submissions, directory
    SUBMIT = "submit"  # preview, drafts, submit, cancel
    MONITOR = "monitor"  # status and metrics: counts, never an alert


class TokenError(BrokerError):
    """A token cannot be made, is not known, or is not valid any more."""


@dataclass(frozen=True)
class Caller:
    """A desk that showed a valid token.

    Attributes:
        token_id: Of the token shown; not secret.
        desk: Owner of cursors and idempotency keys; a new token for the same desk keeps them.
        scopes: What it may do.
        types: Alert types it may see and send; empty for all.
    """

    token_id: str
    desk: str
    scopes: frozenset[Scope]
    types: frozenset[str]

    def may_see(self, alert_type: str) -> bool:
        """Whether alerts of this type exist for the caller."""
        return not self.types or alert_type in self.types


@dataclass(frozen=True)
class TokenRecord:
    """A token as the node keeps it, without its secret."""

    caller: Caller
    created_at: datetime
    not_after: datetime | None
    revoked_at: datetime | None


class TokenBook:
    """The tokens of one node, in its database."""

    def __init__(self, database: Database) -> None:
        """Take the node's database."""
        self._database = database

    async def add(
        self,
        desk: str,
        scopes: frozenset[Scope],
        *,
        now: datetime,
        types: frozenset[str] = frozenset(),
        valid_for: timedelta | None = None,
    ) -> tuple[TokenRecord, str]:
        """Make a token; return its record and the token, which is kept nowhere.

        Raises:
            TokenError: A name or type that is not well formed, or no scope.
        """
        if not _DESK.fullmatch(desk):
            raise TokenError("bad-desk-name", "a desk's name is a-z, 0-9, - and _, at most 31 long")
        if not scopes:
            raise TokenError("no-scope", "a token needs at least one scope")
        if not all(_TYPE.fullmatch(name) for name in types):
            raise TokenError("bad-type-name", "an alert type is written a-z, 0-9 and -")
        caller = Caller(secrets.token_hex(6), desk, scopes, types)
        secret = base64.urlsafe_b64encode(random_bytes(SECRET_BYTES)).rstrip(b"=").decode()
        record = TokenRecord(caller, now, now + valid_for if valid_for else None, None)
        values = {
            "id": caller.token_id,
            "desk": desk,
            "secret_hash": sha256(secret.encode()),
            "scopes": " ".join(sorted(scopes)),
            "types": " ".join(sorted(types)),
            "created_ms": _to_ms(now),
            "not_after_ms": _to_ms(record.not_after),
        }

        async def insert(connection: AsyncConnection) -> None:
            await connection.execute(sa.insert(api_tokens).values(values))

        await self._database.change(insert)
        return record, f"kentong_{caller.token_id}_{secret}"

    async def revoke(self, token_id: str, *, now: datetime) -> None:
        """Make a token invalid from now on; one revoked before keeps its first date.

        Raises:
            TokenError: No such token.
        """
        known = sa.select(api_tokens.c.id).where(api_tokens.c.id == token_id)
        change = (
            sa.update(api_tokens)
            .where(api_tokens.c.id == token_id, api_tokens.c.revoked_ms.is_(None))
            .values(revoked_ms=_to_ms(now))
        )

        async def end(connection: AsyncConnection) -> None:
            await connection.execute(change)
            if (await connection.execute(known)).first() is None:
                raise TokenError("unknown-token", "no token has this id")

        await self._database.change(end)

    async def records(self) -> tuple[TokenRecord, ...]:
        """Return all tokens, oldest first, revoked ones included."""
        async with self._database.read() as connection:
            query = sa.select(api_tokens).order_by(api_tokens.c.created_ms, api_tokens.c.id)
            rows = (await connection.execute(query)).all()
        return tuple(_record(row) for row in rows)

    async def authenticate(self, presented: str, *, now: datetime) -> Caller:
        """Return whose token `presented` is.

        Raises:
            TokenError: `bad-token` for anything but a known, valid token: no reason is told apart.
        """
        match = _TOKEN.fullmatch(presented)
        row = await self._row(match[1]) if match else None
        expected = row.secret_hash if row is not None else _NOBODY
        genuine = equal(expected, sha256(match[2].encode() if match else b""))
        if row is None or not genuine:
            raise TokenError("bad-token", "the token is not known or not valid any more")
        record = _record(row)
        if record.revoked_at is not None or (record.not_after and now >= record.not_after):
            raise TokenError("bad-token", "the token is not known or not valid any more")
        return record.caller

    async def _row(self, token_id: str) -> Any:  # noqa: ANN401 - a row or None
        async with self._database.read() as connection:
            return await _FOUND.first(connection, of_id=token_id)


def _record(row: Any) -> TokenRecord:  # noqa: ANN401 - a row
    caller = Caller(
        row.id,
        row.desk,
        frozenset(Scope(name) for name in row.scopes.split()),
        frozenset(row.types.split()),
    )
    created = _EPOCH + timedelta(milliseconds=row.created_ms)
    return TokenRecord(caller, created, _from_ms(row.not_after_ms), _from_ms(row.revoked_ms))


def _to_ms(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // timedelta(milliseconds=1)


def _from_ms(at: int | None) -> datetime | None:
    return None if at is None else _EPOCH + timedelta(milliseconds=at)
