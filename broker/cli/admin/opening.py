"""`kentong audit open`: what the hub exported for auditors, opened with their joined key."""

import importlib
from pathlib import Path
from typing import Annotated

import typer

from broker.audit.bundle import opened
from broker.cli import screen
from broker.cli.admin.options import AsJSON, PassphraseFile
from broker.cli.text import say
from broker.errors import BrokerError
from keys.files import make_private_folder


def open_sealed(
    sealed: Annotated[Path, typer.Argument(help="Folder that `kentong log openings` wrote.")],
    bundle: Annotated[Path, typer.Argument(help="Folder or tar of the log.")],
    key: Annotated[Path, typer.Option(help="Key store that `auditors combine` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder to make: an opening for each leaf.")],
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Open the decisions that the leaves of a log speak of. Offline, like the auditors' key.

    Put the folder into the bundle as `openings`, and `kentong audit verify` holds each against its
    leaf. Ends with 1 if one does not open.

    Example: kentong audit open sealed log.tar --key a.key --out openings
    """
    if out.exists():
        raise BrokerError("exists", f"{out} exists already")
    opening_key = importlib.import_module("broker.cli.admin.opening_key")
    joined = opening_key.joined_key(key, passphrase_file)
    make_private_folder(out)
    count = 0
    with opened(bundle) as files:
        unsealing = opening_key.unsealing(sealed, files, joined)
        for index, raw in unsealing.openings():
            try:
                (out / str(index)).write_bytes(raw)
            except OSError as error:
                raise BrokerError("bad-file", f"{out} cannot be written") from error
            count += 1
    refused = unsealing.refused
    if as_json:
        screen.as_json("audit-open", ok=not refused, opened=count, refused=refused)
    else:
        screen.line(say("unsealed", "{count} openings are in {out}.", count=count, out=out))
        for name, code in sorted(refused.items()):
            screen.line(f"FAIL {name} [{code}]")
    if refused:
        raise typer.Exit(1)
