"""`kentong directory`: shows and verifies the directory that a hub publishes or a node holds."""

from pathlib import Path

import typer

from broker import clock
from broker.cli import screen
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.cli.words import clock as clock_text
from broker.errors import BrokerError
from broker.settings import home
from keys.directory.client import DirectoryClient
from keys.directory.source import PublishedDirectory
from keys.directory.view import DirectoryView
from keys.home import Home

app = typer.Typer(no_args_is_help=True)


@app.callback()
def directory() -> None:
    """Show and verify the directory of members, keys and policies."""


@app.command()
def show(as_json: AsJSON = False) -> None:
    """Show the members as the verified directory names them.

    Example: kentong directory show
    """
    view = _view(home())
    members = [view.member(code) for code in view.members()]
    if as_json:
        screen.as_json(
            "directory",
            root=view.version.root,
            snapshot=view.version.snapshot,
            hash=view.version.hash.hex(),
            fresh_until=view.fresh_until.isoformat(),
            members=[
                {
                    "code": member.code,
                    "kind": str(member.kind),
                    "groups": sorted(member.groups),
                    "officers": len(member.certified),
                    "policy": member.policy_hash.hex(),
                    "suspended_at": member.suspended_at and member.suspended_at.isoformat(),
                }
                for member in members
            ],
        )
        return
    screen.pairs(
        [
            (say("directory-version", "version"), f"{view.version.root}.{view.version.snapshot}"),
            (say("directory-hash", "hash"), view.version.hash.hex()),
            (say("directory-fresh", "fresh until"), clock_text(view.fresh_until)),
        ]
    )
    screen.table(
        ("member", "kind", "groups", "officers", "policy"),
        [
            (
                member.code,
                str(member.kind),
                ",".join(sorted(member.groups)),
                str(len(member.certified)),
                member.policy_hash.hex()[:16],
            )
            for member in members
        ],
    )


@app.command()
def verify(as_json: AsJSON = False) -> None:
    """Verify every signature, threshold and hash again, from the region's root down.

    Ends with 0 if all verify and the directory is fresh.

    Example: kentong directory verify
    """
    view = _view(home())
    view.check_fresh(clock.now())
    if as_json:
        screen.as_json("directory-verify", snapshot=view.version.snapshot)
        return
    text = say("directory-good", "Version {version} verifies.", version=view.version.snapshot)
    screen.line(text)


def _view(folder: Path) -> DirectoryView:
    place = Home(folder)
    if place.directory.is_dir():
        return PublishedDirectory.at(folder).view()
    client = DirectoryClient(place.node_directory, pinned_root=place.pinned_root())
    copy = client.load()
    if copy is None:
        raise BrokerError("no-directory", f"{folder} holds no directory: run the node once")
    return copy.view
