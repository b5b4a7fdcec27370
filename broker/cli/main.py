"""`kentong`: finds the command's module, and turns what was raised into a sentence and a code."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from broker.cli.commands import COMMANDS
from broker.cli.exits import EXIT_DONE, EXIT_MISUSE
from broker.errors import BrokerError
from broker.hardening import forbid_core_dumps, forget_secrets
from keys.errors import KeysError
from schemas.errors import SchemaError

_COMPLETION: Final = "_KENTONG_COMPLETE"  # set by the shell while it asks for completions
_Misused = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])  # Any error of usage.


def main() -> None:
    """Run the command line and exit with its code."""
    forbid_core_dumps()
    forget_secrets()
    completing = _COMPLETION in os.environ  # noqa: TID251 - the shell's protocol, not a setting
    as_json = "--json" in sys.argv[1:]
    chosen = next((word for word in sys.argv[1:] if word in COMMANDS), None)
    try:
        app = build(load_all=completing, chosen=chosen)
        run = translated(app)
        sys.exit(_run_for_a_program(run) if as_json else run())
    except (BrokerError, KeysError, SchemaError) as error:
        sys.exit(_failed(error, as_json=as_json))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our pipe has gone, for example `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_DONE)


def _run_for_a_program(run: Callable[..., Any]) -> int:
    """Run the command and return its exit code; a misused one is told in JSON as well."""
    try:
        code = run(standalone_mode=False)
    except _Misused as error:
        screen = importlib.import_module("broker.cli.screen")
        told = error.format_message()
        screen.as_json("error", ok=False, code="bad-usage", retry="never", text=told)
        typer.echo(f"kentong: {told} [bad-usage]", err=True)
        return EXIT_MISUSE
    return code if isinstance(code, int) else EXIT_DONE


def _failed(error: BrokerError | KeysError | SchemaError, *, as_json: bool) -> int:
    """Say what went wrong, to a person and to a program, and return the exit code.

    The words are loaded only now: a command that goes well does not wait for them.
    """
    errors = importlib.import_module("broker.cli.errors")
    told = errors.sentence(error)
    if as_json:
        retry = getattr(error, "retry", "never")
        screen = importlib.import_module("broker.cli.screen")
        screen.as_json("error", ok=False, code=error.code, retry=retry, text=told)
    typer.echo(f"kentong: {told} [{error.code}]", err=True)
    code: int = errors.exit_code(error)
    return code


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


def translated(app: typer.Typer) -> Callable[..., Any]:
    """Return the application with its help in the officer's language."""
    command = typer.main.get_command(app)
    importlib.import_module("broker.cli.helptexts").translate(command)
    return command


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
    # Each process that checks signatures imports this module again, and reads no settings.
    importlib.import_module("broker.settings").override_settings(home=home, profile=profile)
