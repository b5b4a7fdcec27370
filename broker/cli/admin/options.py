"""Options that several administrators' commands have, apart from what they need to act on them.

A command shows its options before it runs, and what it needs to run is loaded only then.
"""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

AsJSON: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
PassphraseFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        envvar="KENTONG_PASSPHRASE_FILE",
        help="File whose first line opens the key store; else you are asked.",
    ),
]
