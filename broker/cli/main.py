"""`kentong`: finds the command's module, and turns what was raised into a sentence and a code."""

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.cli.commands import COMMANDS
from broker.errors import BrokerError
from broker.settings import override_settings
from keys.errors import KeysError
from schemas.errors import SchemaError

EXIT_DONE: Final = 0
EXIT_REFUSED: Final = 1
EXIT_MISUSE: Final = 2
EXIT_UNDECIDED: Final = 3
EXIT_UNREACHABLE: Final = 4
EXIT_FAULT: Final = 5

_LOCAL_FAULTS: Final = frozenset({"disk-full", "database-damaged", "database-locked"})
_COMPLETION: Final = "_KENTONG_COMPLETE"  # set by the shell while it asks for completions


def main() -> None:
    """Run the command line and exit with its code."""
    completing = _COMPLETION in os.environ  # noqa: TID251 - the shell's protocol, not a setting
    chosen = next((word for word in sys.argv[1:] if word in COMMANDS), None)
    try:
        build(load_all=completing, chosen=chosen)()
    except (BrokerError, KeysError, SchemaError) as error:
        typer.echo(f"kentong: {error} [{error.code}]", err=True)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our pipe has gone, for example `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_DONE)


def exit_code(error: BrokerError | KeysError | SchemaError) -> int:
    """Return the exit code that tells a script what kind of failure `error` is."""
    if isinstance(error, SchemaError):
        return EXIT_MISUSE
    if isinstance(error, KeysError) or error.code in _LOCAL_FAULTS:
        return EXIT_FAULT
    if error.code == "unreachable":
        return EXIT_UNREACHABLE
    return EXIT_REFUSED


def build(*, chosen: str | None = None, load_all: bool = False) -> typer.Typer:
    """Return the application with the chosen command loaded, or all of them."""
    app = typer.Typer(
        name="kentong",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,  # a traceback with locals would show content
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    )
    app.callback()(_options)
    for name, entry in COMMANDS.items():
        if name != chosen and not load_all:
            app.command(name, help=entry.summary, rich_help_panel=entry.panel)(_not_loaded)
            continue
        module = importlib.import_module(entry.module)
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name, help=entry.summary, rich_help_panel=entry.panel)
        else:
            app.command(name, rich_help_panel=entry.panel)(module.command)
    return app


def _not_loaded() -> None:
    """Stand in for a command in the list of help; it is loaded when it is the one to run."""
    raise typer.Exit(EXIT_MISUSE)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kentong {importlib.import_module('importlib.metadata').version('kentong')}")
        raise typer.Exit


def _options(
    home: Annotated[
        Path | None,
        typer.Option(help="Folder of this machine's keys and data.", envvar="KENTONG_HOME"),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="Desk profile to use.", envvar="KENTONG_PROFILE")
    ] = "",
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Send typed, sealed alerts between national police forces.

    Begin with [bold]kentong demo[/bold], which runs a whole region on this machine.
    Every command explains itself: [bold]kentong send --help[/bold].
    """
    override_settings(home=home, profile=profile)
