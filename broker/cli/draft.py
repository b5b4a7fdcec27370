"""`kentong draft`: alerts that were begun at the form and not sent."""

from pathlib import Path
from typing import Annotated

import typer

from broker.cli import screen
from broker.cli.desk import AsJSON, ask, client, reference
from broker.cli.form import Draft
from broker.cli.send import filled_in, go
from broker.cli.text import say
from broker.cli.words import clock
from broker.client import Profiles
from broker.errors import BrokerError
from broker.settings import home
from schemas.desk import WaitingFiles

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name, as `list` shows it; without it the newest.")]


@app.callback()
def draft() -> None:
    """Go on with an alert you began."""


@app.command()
def resume(name: Name = "", wait: int = 15, as_json: AsJSON = False) -> None:
    """Go on where the answers end, and send.

    Example: kentong draft resume
    """
    kept = _find(name)
    profile = Profiles.load().get()
    fields = filled_in(kept, profile)
    go(
        fields,
        profile,
        changes={},
        original=None,
        wait=wait,
        yes=False,
        as_json=as_json,
        draft=kept,
    )


@app.command("list")
def list_(as_json: AsJSON = False) -> None:
    """List the drafts on this desk.

    Example: kentong draft list
    """
    drafts = [Draft.load(path) for path in _paths()]
    rows = [(each.path.stem, str(len(each.answers))) for each in drafts]
    if as_json:
        screen.as_json("drafts", drafts=[{"name": n, "answers": int(c)} for n, c in rows])
        return
    if not rows:
        screen.line(say("no-drafts", "No drafts."))
        return
    screen.table((say("head-name", "name"), say("head-answers", "answers")), rows)


@app.command()
def drop(name: Name) -> None:
    """Throw a draft away.

    Example: kentong draft drop 20261124-101500-3f9a
    """
    _find(name).forget()
    screen.line(say("draft-dropped", "{name} is gone.", name=name))


@app.command()
def files(as_json: AsJSON = False) -> None:
    """List the files that your node keeps for alerts you did not send.

    Example: kentong draft files
    """

    async def work() -> WaitingFiles:
        async with client() as desk:
            return await desk.attachments_waiting()

    waiting = ask(work()).items
    if as_json:
        screen.as_json("files", files=[each.model_dump(mode="json") for each in waiting])
        return
    if not waiting:
        screen.line(say("no-files", "No files."))
        return
    screen.table(
        (say("head-id", "id"), say("head-name", "name"), say("head-kept-until", "kept until")),
        [(str(each.attachment_id), each.name, clock(each.expires_at)) for each in waiting],
    )


@app.command()
def withdraw(ident: Annotated[str, typer.Argument(help="Id, as `files` shows it.")]) -> None:
    """Take back a file that your node keeps and that went with no alert.

    Example: kentong draft withdraw 01a20c88-a66e-7000-8000-000000000001
    """
    wanted = reference(ident)

    async def work() -> None:
        async with client() as desk:
            await desk.withdraw_attachment(wanted)

    ask(work())
    screen.line(say("draft-dropped", "{name} is gone.", name=str(wanted)))


def _paths() -> list[Path]:
    return sorted((home() / "drafts").glob("*.json"))


def _find(name: str) -> Draft:
    for path in reversed(_paths()):
        kept = Draft.load(path)
        if not name or kept.path.stem == name:
            return kept
    raise BrokerError("no-draft", "there is no such draft: kentong draft list")
