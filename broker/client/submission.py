"""One submission as a program follows it: its last known state, and waiting for a better one."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Literal, TypeAlias
from uuid import UUID

from pydantic import ValidationError
from typing_extensions import override

from broker.client.connection import Connection, Lost
from broker.client.errors import BadAnswer, NotAccepted, Unavailable, Undecided, Unreachable
from broker.client.events import EventReader
from broker.client.retrying import Backoff
from schemas.desk import RecipientOutcome, RecipientState, SubmissionState
from schemas.desk import Submission as SubmissionShown

Milestone: TypeAlias = Literal["queued", "accepted", "delivered"]
MILESTONES: Final = ("queued", "accepted", "delivered")


class Submission:
    """A submission that the node has queued; `shown` is how it was last seen."""

    def __init__(self, connection: Connection, shown: SubmissionShown) -> None:
        """Take what the node answered."""
        self._connection = connection
        self.shown = shown

    @override
    def __repr__(self) -> str:
        return f"Submission({self.id}, {self.state})"

    @property
    def id(self) -> UUID:
        """The submission's id: stable, for `status` and the command line."""
        return self.shown.submission_id

    @property
    def alert_id(self) -> UUID:
        """What people cite."""
        return self.shown.alert_id

    @property
    def state(self) -> SubmissionState:
        """Where the submission as a whole is."""
        return self.shown.state

    @property
    def recipients(self) -> tuple[RecipientOutcome, ...]:
        """What is known of each recipient's copy."""
        return self.shown.recipients

    @property
    def accepted(self) -> tuple[str, ...]:
        """Members to whom the gateway let a copy through."""
        return self.shown.accepted

    async def refresh(self) -> "Submission":
        """Ask the node, and return this.

        Raises:
            BrokerError: `Unreachable`, `NotFound`, `NotAuthorised` or `Unavailable`.
        """
        try:
            self.shown = await self._connection.ask(
                "GET", f"/v1/submissions/{self.id}", SubmissionShown
            )
        except Lost:
            raise Unreachable("the node does not answer") from None
        return self

    async def cancel(self) -> "Submission":
        """Withdraw what was not handed to the hub yet.

        Raises:
            BrokerError: `Conflict` if it was; else as `refresh`.
        """
        return await self._post("cancel")

    async def proceed(self) -> "Submission":
        """Let it go to those whom policy still permits, when it waits for a person.

        Raises:
            BrokerError: `Conflict` if it does not wait; else as `refresh`.
        """
        return await self._post("proceed")

    async def wait(
        self, until: Milestone = "accepted", *, timeout_s: float | None = None
    ) -> "Submission":
        """Return this when it has got so far.

        The connection may break and the node restart meanwhile.

        Args:
            until: `queued`: at once, for a submission that exists is queued. `accepted`: every
                recipient is decided and at least one was accepted. `delivered`: no more can come,
                and at least one recipient's node has kept it.
            timeout_s: How long to wait; no bound if not given.

        Raises:
            ValueError: Another milestone.
            NotAccepted: It can no longer get there: all refused, bounced, expired or cancelled.
            Undecided: `undecided` at the timeout, or `needs-attention` of a person. It stays
                queued, and waiting again is safe.
            BrokerError: `NotAuthorised` if the token is not valid any more.
        """
        if until not in MILESTONES:
            raise ValueError(f"wait until {', '.join(MILESTONES)}")
        if until == "queued":
            return self
        try:
            async with asyncio.timeout(timeout_s), aclosing(self.watch()) as states:
                async for shown in states:
                    if shown.state is SubmissionState.NEEDS_ATTENTION:
                        raise Undecided("needs-attention", shown)
                    if _reached(shown, until):
                        return self
        except TimeoutError:
            raise Undecided("undecided", self.shown) from None
        raise Undecided("undecided", self.shown)

    async def watch(self) -> AsyncGenerator[SubmissionShown, None]:
        """Yield its state now and at each change, until nothing more can change.

        Raises:
            BrokerError: `NotFound` or `NotAuthorised`; a lost node is waited for.
        """
        waits = Backoff().waits()
        seen = -1
        while True:
            reader: EventReader | None = None
            try:
                reader = await EventReader.open(
                    self._connection, f"/v1/submissions/{self.id}/events", {}
                )
                while (event := await reader.next()).name != "end":
                    shown = SubmissionShown.model_validate_json(event.data)
                    waits = Backoff().waits()
                    if shown.revision > seen:
                        seen = shown.revision
                        self.shown = shown
                        yield shown
            except (Lost, Unavailable):
                pass
            except ValidationError:
                raise BadAnswer from None
            else:
                return
            finally:
                if reader is not None:
                    await reader.close()
            await asyncio.sleep(next(waits))

    async def _post(self, what: str) -> "Submission":
        try:
            self.shown = await self._connection.ask(
                "POST", f"/v1/submissions/{self.id}/{what}", SubmissionShown, repeat=False
            )
        except Lost:
            raise Unreachable("the node's answer was lost; look at the submission") from None
        return self


def _reached(shown: SubmissionShown, until: Milestone) -> bool:
    if shown.state is SubmissionState.CANCELLED:
        raise NotAccepted("cancelled", shown)
    if not shown.decided:
        return False
    if not shown.accepted:
        raise NotAccepted("none-accepted", shown)
    if until == "accepted":
        return True
    if not all(each.state.final for each in shown.recipients):
        return False
    if not any(each.state is RecipientState.DELIVERED for each in shown.recipients):
        raise NotAccepted("not-delivered", shown)
    return True
