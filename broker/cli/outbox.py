"""`kentong outbox`."""

from typing import Annotated

import typer

from broker.cli import screen
from broker.cli.desk import AsJSON, ask, client, reference
from broker.cli.desk import show_submission as show
from broker.cli.text import say
from broker.cli.words import clock, outcome_word, status_word, submission_word
from schemas.desk import Submission, SubmissionPage, SubmissionState

app = typer.Typer(invoke_without_command=True)


@app.callback()
def outbox(
    context: typer.Context,
    state: Annotated[
        list[SubmissionState] | None, typer.Option(help="Only in this state; repeat.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 20,
    as_json: AsJSON = False,
) -> None:
    """List what you sent, newest first.

    Examples:
      kentong outbox --state queued
      kentong outbox cancel 01a20c88-a66e-7000-8000-000000000001
    """
    if context.invoked_subcommand is not None:
        return

    async def work() -> SubmissionPage:
        async with client() as desk:
            return await desk.outbox(states=state or (), limit=limit)

    page = ask(work())
    if as_json:
        screen.as_json("outbox", items=[item.model_dump(mode="json") for item in page.items])
        return
    screen.table(
        (
            say("head-status", "status"),
            say("head-queued", "queued"),
            say("head-type", "type"),
            say("head-state", "state"),
            say("head-recipients", "recipients"),
            say("head-id", "id"),
        ),
        [
            (
                status_word(item.status),
                clock(item.queued_at),
                item.type,
                submission_word(item),
                " ".join(f"{each.recipient}:{outcome_word(each)}" for each in item.recipients),
                str(item.submission_id),
            )
            for item in page.items
        ],
    )


@app.command()
def cancel(
    ident: Annotated[str, typer.Argument(help="Id, as `kentong outbox` shows it.")],
    as_json: AsJSON = False,
) -> None:
    """Withdraw what was not handed to the hub yet.

    Example: kentong outbox cancel 01a20c88-a66e-7000-8000-000000000001
    """
    _change(ident, "cancel", as_json=as_json)


@app.command()
def proceed(
    ident: Annotated[str, typer.Argument(help="Id, as `kentong outbox` shows it.")],
    as_json: AsJSON = False,
) -> None:
    """Let an alert that needs your attention go to those whom the rules still permit.

    Example: kentong outbox proceed 01a20c88-a66e-7000-8000-000000000001
    """
    _change(ident, "proceed", as_json=as_json)


def _change(ident: str, what: str, *, as_json: bool) -> None:
    wanted = reference(ident)

    async def work() -> Submission:
        async with client() as desk:
            submission = await desk.status(wanted)
            changed = await (submission.cancel() if what == "cancel" else submission.proceed())
            return changed.shown

    shown = ask(work())
    if as_json:
        screen.as_json("submission", submission=shown.model_dump(mode="json"))
        return
    show(shown)
    screen.line(say("outbox-next", "Next: kentong outbox"))
