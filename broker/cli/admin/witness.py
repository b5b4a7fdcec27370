"""`kentong witness`: how the log of decisions stands with this member's node."""

from typing import Annotated

import typer

from broker import clock
from broker.cli import screen
from broker.cli.desk import AsJSON, ask, client
from broker.cli.text import say
from broker.cli.words import alarm_line
from broker.errors import BrokerError
from broker.log.policyfile import write_policy
from broker.log.regional import leaf_vkeys, regional_policy
from broker.settings import home
from keys.directory.client import DirectoryClient
from keys.home import Home
from schemas.desk import LogShown, NodeStatus

LOG_ALARMS = (
    "log-fork",
    "log-broken",
    "log-inconsistent",
    "evidence-not-kept",
    "log-not-proven",
    "log-leaf-mismatch",
    "log-stalled",
    "log-copy-damaged",
    "mail-awaits-log",
    "witness-restored",
    "directory-unproven",
)
app = typer.Typer(no_args_is_help=True)


@app.callback()
def witness() -> None:
    """See how the log stands with this member's node."""


@app.command()
def status(
    as_json: AsJSON = False,
    quiet: Annotated[bool, typer.Option(help="Print nothing; the exit code tells.")] = False,
) -> None:
    """Show what this node cosigned, copied and proved. Ends with 1 if the log raised an alarm.

    Example: kentong witness status
    """

    async def work() -> NodeStatus:
        async with client() as desk:
            return await desk.node_status()

    found = ask(work())
    if found.log is None:
        raise BrokerError("no-log", "the directory names no log of decisions")
    raised = [alarm for alarm in found.alarms if alarm.code in LOG_ALARMS]
    if as_json:
        screen.as_json(
            "witness-status",
            ok=not raised,
            log=found.log.model_dump(mode="json"),
            alarms=[alarm.model_dump(mode="json") for alarm in raised],
        )
    elif not quiet:
        _show(found.log)
        for alarm in raised:
            screen.line(alarm_line(alarm))
    if raised:
        raise typer.Exit(1)


@app.command()
def policy(
    gateways: Annotated[
        bool, typer.Option("--gateways", help="The keys that sign leaves, for --gateways, instead.")
    ] = False,
) -> None:
    """Print the trust that this member can give an auditor: the log's keys, witnesses, quorum.

    It comes from the directory as this member's node verified it, and not from the hub.

    Example: kentong witness policy > trust.policy
    """
    place = Home(home())
    copy = DirectoryClient(place.node_directory, pinned_root=place.pinned_root()).load()
    if copy is None:
        raise BrokerError("no-directory", "this node has no directory yet: kentong node run")
    found = write_policy(regional_policy(copy.view, at=clock.now()))  # or there is no log
    if not gateways:
        typer.echo(found.decode(), nl=False)
        return
    for key in leaf_vkeys(copy.view.hub):
        typer.echo(key.to_text())  # whole, however long


def _show(log: LogShown) -> None:
    never = say("never", "never")
    screen.pairs(
        [
            (say("witness-origin", "log"), log.origin),
            (say("witness-size", "cosigned here"), str(log.cosigned_size)),
            (
                say("witness-when", "last cosigned"),
                log.cosigned_at.isoformat() if log.cosigned_at else never,
            ),
            (say("witness-copied", "leaves copied"), str(log.copied)),
            (say("witness-proven", "leaves proven"), str(log.proven)),
            (
                say("witness-by", "by witnesses"),
                f"{len(log.cosigned_by)} / {log.witnesses}: {' '.join(log.cosigned_by)}",
            ),
            (
                say("witness-newest", "newest"),
                log.witnessed_at.isoformat() if log.witnessed_at else never,
            ),
            (
                say("witness-first", "trusted unseen"),
                f"{log.first_size}: {log.first_root}" if log.first_size else never,
            ),
            (say("witness-own", "own mail proved"), str(log.own_proved)),
            (say("witness-waiting", "not proved yet"), str(log.own_waiting)),
            (say("witness-overdue", "not proved in time"), str(log.own_overdue)),
        ]
    )
