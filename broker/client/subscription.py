"""Alerts as they come, across restarts of the node and of the reader.

At least once, always under the same id. The place is kept by the node under the cursor's name and
moves when the reader acknowledges, never by reading.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote
from uuid import UUID

from pydantic import ValidationError

from broker.client.connection import Connection, Lost, Query
from broker.client.errors import BadAnswer, Unavailable, Unreachable
from broker.client.events import EventReader
from broker.client.retrying import Backoff
from schemas.common import Alert
from schemas.desk import Cursor, CursorAck, InboxItem
from schemas.errors import UnknownVersionError
from schemas.registry import model_for

MAX_UNACKNOWLEDGED: Final = 10_000  # given to the reader and remembered until acknowledged


class Item:
    """One alert that arrived; `shown` is all that the node says of it."""

    def __init__(self, shown: InboxItem, subscription: "Subscription") -> None:
        """Take what the stream brought."""
        self.shown = shown
        self._subscription = subscription

    @property
    def id(self) -> UUID:
        """Stable: the same alert has the same id however often it comes."""
        return self.shown.id

    @property
    def position(self) -> int:
        """Place in the inbox."""
        return self.shown.position

    @property
    def alert(self) -> Alert | None:
        """The typed content; none if this software does not read its type and version.

        Raises:
            BadAnswer: The content does not have the form of its type.
        """
        return typed_alert(self.shown)

    async def ack(self) -> None:
        """Say that this alert is dealt with.

        The cursor moves up to the first alert that was given and not acknowledged, so the order
        of acknowledgements does not matter.

        Raises:
            ValueError: The subscription has no cursor.
            BrokerError: `Unreachable` or a refusal. Asking again is safe.
        """
        await self._subscription.acknowledge(self.position)


class Subscription:
    """An asynchronous iterator of items; it reconnects by itself and never ends."""

    def __init__(
        self,
        connection: Connection,
        *,
        types: Sequence[str],
        cursor: str | None,
        since: int | None,
    ) -> None:
        """Take where to read. Either a cursor or a position is needed.

        Raises:
            ValueError: Neither is given.
        """
        if cursor is None and since is None:
            raise ValueError("name a cursor, or a position to begin after")
        self._connection = connection
        self._types = tuple(types)
        self._cursor = cursor
        self._since = since
        self._reader: EventReader | None = None
        self._waits = Backoff().waits()
        self._open: dict[int, bool] = {}  # position given -> acknowledged, in order

    @property
    def connected(self) -> bool:
        """Whether a stream is open now."""
        return self._reader is not None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        """Return the next alert, however long it takes.

        Raises:
            BrokerError: A refusal that waiting does not mend, such as `NotAuthorised`.
            ValueError: `MAX_UNACKNOWLEDGED` alerts were given and none acknowledged.
        """
        if len(self._open) >= MAX_UNACKNOWLEDGED:
            raise ValueError(f"{MAX_UNACKNOWLEDGED} alerts were given and not acknowledged")
        while True:
            try:
                shown = await self._next()
            except (Lost, Unavailable):
                await self.close()
                await asyncio.sleep(next(self._waits))
                continue
            except BaseException:
                await self.close()  # a cancelled read leaves half an event behind
                raise
            if self._since is not None and shown.position <= self._since:
                continue
            self._since = shown.position
            if self._cursor is not None:
                self._open[shown.position] = False
            return Item(shown, self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the stream; iterating again opens another after what was given last."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def acknowledge(self, position: int) -> None:
        """Note that the alert at `position` is dealt with, and move the cursor as far as it goes.

        Raises:
            ValueError: The subscription has no cursor.
            BrokerError: `Unreachable` or a refusal. Asking again is safe.
        """
        if self._cursor is None:
            raise ValueError("a subscription without a cursor has nothing to acknowledge")
        if position in self._open:
            self._open[position] = True
        reached = 0
        for given, done in self._open.items():
            if not done:
                break
            reached = given
        if not reached:
            return
        try:
            await self._connection.ask(
                "POST",
                f"/v1/cursors/{quote(self._cursor, safe='')}/ack",
                Cursor,
                body=CursorAck(position=reached),
            )
        except Lost:
            raise Unreachable("the node does not answer; acknowledge again") from None
        for given in [each for each in self._open if each <= reached]:
            del self._open[given]

    async def _next(self) -> InboxItem:
        if self._reader is None:
            self._reader = await EventReader.open(self._connection, "/v1/events", self._query())
        while True:
            event = await self._reader.next()
            if event.name != "alert":
                continue  # a newer node may say more; this program needs to know alerts alone
            self._waits = Backoff().waits()
            try:
                return InboxItem.model_validate_json(event.data)
            except ValidationError:
                raise BadAnswer from None

    def _query(self) -> Query:
        query: dict[str, str | int | Sequence[str]] = {"type": self._types}
        if self._since is not None:
            query["since"] = self._since
        elif self._cursor is not None:
            query["cursor"] = self._cursor
        return query


def typed_alert(shown: InboxItem) -> Alert | None:
    """Return the typed content of an item; none if this software does not read it.

    Raises:
        BadAnswer: The content does not have the form of its type.
    """
    if shown.alert is None:
        return None
    with suppress(UnknownVersionError):
        model = model_for(shown.type, shown.type_version)
        try:
            return model.model_validate_json(json.dumps(shown.alert))
        except ValidationError:
            raise BadAnswer from None
    return None
