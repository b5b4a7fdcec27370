"""`kentong log restore`: a hub that was put back from a backup gets its leaves from a member."""

from pathlib import Path
from typing import Annotated

import typer

from broker import clock
from broker.audit.bundle import opened
from broker.cli import screen
from broker.cli.admin.processes import run_until_stopped
from broker.cli.admin.secret import PassphraseFile, passphrase
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.ledger.place import LedgerPlace
from broker.ledger.restoring import ProvenCopy, restore
from broker.ledger.signer import Signer
from broker.ledger.signer_socket import serving
from broker.ledger.state import metadata
from broker.log.regional import regional_policy
from broker.settings import home
from broker.store.database import open_database
from keys.directory.source import PublishedDirectory


def restore_from(
    source: Annotated[
        Path,
        typer.Option(
            "--from", help="A member's copy: the folder node/log of its home, or a tar of it."
        ),
    ],
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Take from a member's copy the leaves that this log had signed before a backup was put back.

    Stop the log first. Ask the member whose node cosigned most: the alarm witness-ahead names it.
    All of the copy is hashed again and must be what a quorum of members cosigned, and must begin
    with what is here; nothing is signed before. A copy that does not begin so ends with fork: keep
    both, and tell the members. Decisions that stood on the AUDIT stream alone are not in any copy.

    Example: kentong log restore --from /media/from-SG/log
    """
    place = LedgerPlace(home())
    policy = regional_policy(PublishedDirectory.at(home()).view(), at=clock.now())
    with opened(source) as bundle:
        copy = ProvenCopy.of(bundle.read, policy)
    sizes: list[int] = []

    async def work(signer: Signer) -> None:
        with place.files.written():
            async with (
                serving(signer, place.socket),
                open_database(place.database_url, metadata, sole=True) as database,
            ):
                sizes.extend(await restore(place.committer(database), copy))

    with place.open_signer(passphrase(passphrase_file)) as signer:
        run_until_stopped(work(signer))
    old, new = sizes
    if as_json:
        screen.as_json("log-restore", old=old, new=new, witnessed=copy.witnessed)
        return
    screen.line(
        say(
            "log-restored",
            "The log had {old} leaves and has {new} again; a quorum stands behind {witnessed}.",
            old=old,
            new=new,
            witnessed=copy.witnessed,
        )
    )
