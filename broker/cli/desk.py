"""What every officer's command shares: the desk's profile, its client, and exit codes."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer

from broker.cli import screen
from broker.cli.exits import EXIT_REFUSED, EXIT_UNDECIDED
from broker.cli.text import country, say
from broker.cli.words import (
    attachment_line,
    outcome_detail,
    outcome_word,
    reason,
    status_word,
    submission_word,
)
from broker.client import Client
from broker.errors import BrokerError
from schemas.desk import Submission

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
ResultT = TypeVar("ResultT")


def ask(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run what a command asks of the node."""
    return asyncio.run(work)


def client() -> Client:
    """Return a client for the chosen profile.

    Raises:
        BrokerError: There is no profile, or it cannot be used.
    """
    return Client(profile="")


def reference(text: str) -> UUID:
    """Return the id that an officer typed.

    Raises:
        BrokerError: `bad-id`.
    """
    try:
        return UUID(text.strip())
    except ValueError:
        raise BrokerError(
            "bad-id", f"{text[:40]!r} is no id; copy one from `kentong outbox` or `kentong inbox`"
        ) from None


def show_submission(submission: Submission) -> None:
    """Print ACTUAL or EXERCISE, and for each recipient one word and the reason beside it."""
    screen.line(f"{status_word(submission.status)}  {submission_word(submission)}", bold=True)
    screen.table(
        (say("head-recipient", "recipient"), say("head-state", "state"), ""),
        [
            (
                f"{country(each.recipient)} ({each.recipient})",
                outcome_word(each),
                outcome_detail(each),
            )
            for each in submission.recipients
        ],
    )
    for sent in submission.attachments:
        screen.line(attachment_line(sent))
    if submission.waiting_for:
        screen.line(say("waiting-for", "It waits: {why}", why=reason(submission.waiting_for)))


def exit_for(submission: Submission) -> int:
    """Return the exit code that tells a script how a submission stands."""
    if not submission.decided:
        return EXIT_UNDECIDED
    return 0 if submission.accepted else EXIT_REFUSED
