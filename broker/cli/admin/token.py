"""`kentong token`: admits desks to the node, each with a token that says what it may do."""

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from broker import clock
from broker.api.tokens import Scope, TokenBook
from broker.cli import screen
from broker.cli.admin.node_place import NodePlace
from broker.cli.admin.secret import AsJSON
from broker.cli.text import say
from broker.settings import home

app = typer.Typer(no_args_is_help=True)


@app.callback()
def token() -> None:
    """Admit desks to this node, and turn them away."""


@app.command()
def add(
    desk: Annotated[str, typer.Argument(help="Name of the desk: a-z, 0-9, - and _.")],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; by default all.")
    ] = None,
    alert_type: Annotated[
        list[str] | None, typer.Option("--type", help="Only these types of alert.")
    ] = None,
    days: Annotated[int, typer.Option(min=0, help="Valid for so many days; 0 for ever.")] = 365,
    as_json: AsJSON = False,
) -> None:
    """Make a token and show it once: the node keeps only its hash.

    Example: kentong token add case-system --scope read --type drugs
    """

    async def work() -> tuple[str, str]:
        async with NodePlace(home()).database() as database:
            book = TokenBook(database)
            record, secret = await book.add(
                desk,
                frozenset(scope or Scope),
                now=clock.now(),
                types=frozenset(alert_type or ()),
                valid_for=timedelta(days=days) if days else None,
            )
            return record.caller.token_id, secret

    ident, secret = asyncio.run(work())
    if as_json:
        screen.as_json("token", id=ident, desk=desk, token=secret)
        return
    screen.line(say("token-once", "This token is shown once; the node keeps only its hash:"))
    typer.echo(secret)


@app.command()
def revoke(
    ident: Annotated[str, typer.Argument(help="The token's id, as `list` shows it.")],
) -> None:
    """Turn a token away from now on.

    Example: kentong token revoke 3f9a0c1d2e4b
    """

    async def work() -> None:
        async with NodePlace(home()).database() as database:
            book = TokenBook(database)
            await book.revoke(ident, now=clock.now())

    asyncio.run(work())
    screen.line(say("token-revoked", "Token {ident} is revoked.", ident=ident))


@app.command("list")
def list_(as_json: AsJSON = False) -> None:
    """List the tokens of this node.

    Example: kentong token list --json
    """

    async def work() -> list[list[str]]:
        async with NodePlace(home()).database() as database:
            book = TokenBook(database)
            return [
                [
                    record.caller.token_id,
                    record.caller.desk,
                    " ".join(sorted(record.caller.scopes)),
                    "revoked" if record.revoked_at else "",
                ]
                for record in await book.records()
            ]

    rows = asyncio.run(work())
    head = ["id", "desk", "scopes", "state"]
    if as_json:
        screen.as_json("tokens", tokens=[dict(zip(head, row, strict=True)) for row in rows])
        return
    screen.table(head, rows)
