"""`kentong log openings`: what the hub keeps of decisions, for those who may see it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from broker.cli import screen
from broker.cli.admin.secret import PassphraseFile, passphrase
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.hub.place import HubPlace
from broker.ledger.openings import sealed_openings
from broker.ledger.place import LedgerPlace
from broker.settings import home
from broker.transport.link import Link
from keys.files import make_private_folder

CONNECT_S = 20.0


def openings(
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day, in UTC; else all on record."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Write the openings of decisions for auditors, sealed to their key; the hub cannot open them.

    Example: kentong log openings --out sealed --since 2026-11-01
    """
    if out.exists():
        raise BrokerError("exists", f"{out} exists already")
    since_s = 0 if since is None else int(since.replace(tzinfo=UTC).timestamp())
    hub, place = HubPlace(home()), LedgerPlace(home())
    credentials = place.open_sequencer(passphrase(passphrase_file)).credentials(
        hub.config().own_url, hub.authority_pem()
    )
    make_private_folder(out)
    for path in sorted(place.erasures.glob("*.erasure")):
        _write(out / path.name, path.read_bytes())

    async def work() -> int:
        found = 0
        async with Link(credentials) as link:
            await link.wait_connected(CONNECT_S)
            async for opening in sealed_openings(link, since_s=since_s):
                _write(out / f"{opening.name}.sealed", opening.to_bytes())
                found += 1
        return found

    count = asyncio.run(work())
    if as_json:
        screen.as_json("log-openings", folder=str(out), count=count)
        return
    screen.line(
        say(
            "openings-written",
            "{count} sealed openings are in {out}. Auditors open them with: kentong audit open",
            count=count,
            out=out,
        )
    )


def _write(path: Path, raw: bytes) -> None:
    try:
        path.write_bytes(raw)
    except OSError as error:
        raise BrokerError("bad-file", f"{path} cannot be written") from error
