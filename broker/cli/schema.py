"""`kentong schema`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from broker.cli import screen
from broker.cli.desk import AsJSON
from broker.cli.text import say
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
    """Show the fields of an alert type; its whole JSON Schema with --json.

    Example: kentong schema show drugs
    """
    model = model_for(alert_type, version)
    form = model.model_json_schema()
    if as_json:
        screen.as_json("schema", type=alert_type, version=version, json_schema=form)
        return
    screen.table(
        (say("head-field", "field"), say("head-needed", "needed"), say("head-what", "what")),
        [
            (name, say("yes", "yes") if name in form.get("required", ()) else "", what(field))
            for name, field in form["properties"].items()
        ],
    )


def what(field: Mapping[str, Any]) -> str:
    """Return in a few words what may stand in a field, given its part of a JSON Schema."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "const" in field:
        return str(field["const"])
    if "anyOf" in field:
        kinds = [what(each) for each in field["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if field.get("type") == "array":
        most = f", at most {field['maxItems']}" if "maxItems" in field else ""
        return f"list of {what(field.get('items', {}))}{most}"
    most = f", at most {field['maxLength']} characters" if "maxLength" in field else ""
    return str(field.get("format", field.get("type", ""))) + most


@app.command("list")
def list_(as_json: AsJSON = False) -> None:
    """List the types that this version reads.

    Example: kentong schema list
    """
    rows = [(name, str(version)) for name, version in sorted(known())]
    if as_json:
        screen.as_json("schemas", types=[{"type": n, "version": int(v)} for n, v in rows])
        return
    screen.table((say("head-type", "type"), say("head-version", "version")), rows)
