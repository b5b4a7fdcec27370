"""`kentong schema`."""

import json
from typing import Annotated

import typer

from broker.cli import screen
from broker.cli.desk import AsJSON
from schemas.registry import known, model_for

app = typer.Typer(no_args_is_help=True)


@app.callback()
def schema() -> None:
    """Show the form of an alert type."""


@app.command()
def show(
    alert_type: Annotated[str, typer.Argument(help="For example drugs.")],
    version: Annotated[int, typer.Option(min=1, help="Version of the type.")] = 1,
    as_json: AsJSON = False,
) -> None:
    """Print the JSON Schema with --json, else its fields.

    Example: kentong schema show drugs --json > drugs-1.json
    """
    model = model_for(alert_type, version)
    if as_json:
        typer.echo(json.dumps(model.model_json_schema(), ensure_ascii=False, indent=1))
        return
    screen.table(
        ("field", "needed", "what"),
        [
            (name, "yes" if field.is_required() else "", field.description or "")
            for name, field in model.model_fields.items()
        ],
    )


@app.command("list")
def list_(as_json: AsJSON = False) -> None:
    """List the types that this version reads.

    Example: kentong schema list
    """
    rows = [(name, str(version)) for name, version in sorted(known())]
    if as_json:
        screen.as_json("schemas", types=[{"type": n, "version": int(v)} for n, v in rows])
        return
    screen.table(("type", "version"), rows)
