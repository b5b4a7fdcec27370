"""`kentong status`."""

from typing import Annotated

import typer

from broker.cli import screen
from broker.cli.desk import AsJSON, ask, client, exit_for, reference
from broker.cli.desk import show_submission as show
from broker.cli.text import say
from broker.cli.words import alarm_line, clock, clock_word, reason
from schemas.desk import NodeStatus, Submission


def command(
    ident: Annotated[
        str, typer.Argument(help="Id of a submission or an alert; without it, of the node.")
    ] = "",
    as_json: AsJSON = False,
) -> None:
    """Show where an alert of yours is, or how the node is.

    Examples:
      kentong status
      kentong status 01a20c88-a66e-7000-8000-000000000001
    """
    if not ident:
        _node(as_json=as_json)
        return
    wanted = reference(ident)

    async def work() -> Submission:
        async with client() as desk:
            return (await desk.status(wanted)).shown

    submission = ask(work())
    if as_json:
        shown = submission.model_dump(mode="json")
        screen.as_json("submission", ok=exit_for(submission) == 0, submission=shown)
    else:
        show(submission)
    if code := exit_for(submission):
        raise typer.Exit(code)


def _node(*, as_json: bool) -> None:
    async def work() -> NodeStatus:
        async with client() as desk:
            return await desk.node_status()

    status = ask(work())
    if as_json:
        screen.as_json("node", ok=not status.sealing, node=status.model_dump(mode="json"))
        return
    directory = status.directory
    waiting = sum(count for state, count in status.outbox.items() if str(state) != "decided")
    screen.pairs(
        [
            (say("node-member", "member"), status.member),
            (
                say("node-hub", "hub"),
                say("hub-yes", "connected") if status.connected else say("hub-no", "NOT REACHED"),
            ),
            (
                say("node-directory", "directory"),
                say("directory-none", "none yet")
                if directory is None
                else f"{directory.snapshot}, {clock(directory.fresh_until)}",
            ),
            (say("node-clock", "clock"), clock_word(status.clock.state)),
            (
                say("node-sealing", "sealing"),
                reason(status.sealing) if status.sealing else say("ok", "ok"),
            ),
            (say("node-waiting", "waiting to go"), str(waiting)),
            (
                say("node-inbox", "inbox"),
                say(
                    "inbox-counts",
                    "{real} (+{exercise} exercise)",
                    real=status.inbox,
                    exercise=status.exercise_inbox,
                ),
            ),
            (say("node-quarantine", "quarantined"), str(status.quarantined)),
            (say("node-gaps", "gaps"), str(sum(status.gap_counts.values()))),
        ]
    )
    for alarm in status.alarms:
        screen.line(alarm_line(alarm))
