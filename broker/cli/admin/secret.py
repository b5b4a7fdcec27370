"""Where an administrator's command gets the passphrase of a key store."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.cli.text import say
from broker.settings import settings, supervisors_credential
from keys.errors import KeyFileError
from keys.passphrase import check_passphrase, read_given_passphrase, read_passphrase

CREDENTIAL: Final = "passphrase"  # its name in LoadCredential=
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        envvar="KENTONG_PASSPHRASE_FILE",
        help="File whose first line opens the key store; else you are asked.",
    ),
]


def passphrase(file: Path | None) -> bytes:
    """Return the passphrase from `file`, the environment's file, systemd, or the person.

    Raises:
        KeyFileError: There is none, or it is empty.
    """
    chosen = file or settings().passphrase_file
    if chosen is not None:
        return read_passphrase(chosen.expanduser())
    if (given_file := supervisors_credential(CREDENTIAL)) is not None:
        return read_given_passphrase(given_file)
    if not sys.stdin.isatty():
        raise KeyFileError(
            "no-passphrase", "name a file with the passphrase: --passphrase-file FILE"
        )
    typed = typer.prompt(say("ask-passphrase", "Passphrase of the key store"), hide_input=True)
    given = str(typed).encode()
    check_passphrase(given)
    return given
