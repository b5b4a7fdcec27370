"""What desks follow of what they sent: its state, and a change of mind while there is time."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.node import submissions
from broker.node.changes import Changes, wait_for_change
from broker.node.errors import NodeError
from broker.node.present import Present
from broker.store.database import Database
from schemas.desk import RecipientState, Submission, SubmissionPage, SubmissionState

WATCH_S: Final = 5.0  # a watcher looks again after this long even if nothing woke it


@dataclass(frozen=True)
class Tracking:
    """The submissions of one node, as its desks see and steer them."""

    present: Present
    database: Database
    changes: Changes

    async def find(self, reference: UUID) -> Submission:
        """Return one submission, as `NodeService.submission` says."""
        async with self.database.read() as connection:
            return await submissions.find(connection, reference)

    async def page(
        self,
        *,
        states: Collection[SubmissionState] = (),
        before: UUID | None = None,
        limit: int = 50,
    ) -> SubmissionPage:
        """Return submissions, newest first; all states if none is named.

        One that the disk changed is left out, and said by the alarm `database-damaged`.
        """
        async with self.database.read() as connection:
            page, damaged = await submissions.page(
                connection, states=states, before=before, limit=limit
            )
        if damaged:
            self.database.met_damage()
        return page

    async def cancel(self, submission_id: UUID) -> Submission:
        """Withdraw what was not handed to the hub yet, as `NodeService.cancel` says."""

        async def change(connection: AsyncConnection) -> Submission:
            submission = await submissions.find(connection, submission_id)
            if submission.state not in {SubmissionState.QUEUED, SubmissionState.NEEDS_ATTENTION}:
                raise NodeError(
                    "already-submitted", "it was handed to the hub already", kind="conflict"
                )
            waiting = submissions.waiting_recipients(submission)
            withdrawn: dict[str, dict[str, object]] = {
                code: {
                    "state": RecipientState.REFUSED,
                    "code": "cancelled",
                    "refused_by": "desk",
                }
                for code in waiting
            }
            moved = submissions.with_outcomes(submission, withdrawn, now=self.present.now())
            done = moved.model_copy(
                update={"state": SubmissionState.CANCELLED, "waiting_for": "", "attention": ""}
            )
            return await submissions.save(connection, done)

        return await self._changed(change)

    async def proceed(self, submission_id: UUID) -> Submission:
        """Let one that needs attention go, as `NodeService.proceed` says."""

        async def change(connection: AsyncConnection) -> Submission:
            submission = await submissions.find(connection, submission_id)
            if submission.state is not SubmissionState.NEEDS_ATTENTION:
                raise NodeError(
                    "no-attention-needed", "it does not wait for a person", kind="conflict"
                )
            going = {"state": SubmissionState.QUEUED, "attention": "proceed"}
            return await submissions.save(connection, submission.model_copy(update=going))

        return await self._changed(change)

    async def watch(self, submission_id: UUID) -> AsyncIterator[Submission]:
        """Yield a submission at each change until the last, as `NodeService.watch` says."""
        seen = 0
        while True:
            ticket = self.changes.ticket()
            submission = await self.find(submission_id)
            if submission.revision > seen:
                seen = submission.revision
                yield submission
            if _is_over(submission):
                return
            await wait_for_change(ticket, WATCH_S)

    async def _changed(self, change: Any) -> Submission:  # noqa: ANN401 - a change of one submission
        submission: Submission = await self.database.change(change)
        self.changes.happened()
        return submission


def _is_over(submission: Submission) -> bool:
    return submission.state is SubmissionState.CANCELLED or (
        all(outcome.state.final for outcome in submission.recipients)
        and all(each.state.final for each in submission.attachments)
    )
