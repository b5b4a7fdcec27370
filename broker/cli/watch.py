"""`kentong watch`."""

from typing import Annotated

import typer

from broker.cli import reading, screen
from broker.cli.desk import AsJSON, ask, client
from broker.cli.text import say
from broker.client import Client


def command(
    alert_type: Annotated[
        list[str] | None, typer.Option("--type", help="Only this type; repeat.")
    ] = None,
    cursor: Annotated[
        str, typer.Option(help="Remember the place under this name, and go on from there.")
    ] = "",
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0 for never.")] = 0,
    as_json: AsJSON = False,
) -> None:
    """Show alerts as they arrive, until Ctrl-C; with a cursor, those missed since as well.

    Example: kentong watch --type cyber --cursor night-shift
    """

    async def work() -> None:
        seen = 0
        async with client() as desk:
            place = {"cursor": cursor} if cursor else {"since": await _now(desk)}
            if not as_json:
                screen.line(say("watching", "Watching. Ctrl-C ends it."), err=True)
            async with desk.subscribe(*(alert_type or ()), **place) as items:
                async for item in items:
                    if as_json:
                        screen.as_json("alert", alert=item.shown.model_dump(mode="json"))
                    else:
                        screen.line("  ".join(reading.row(item.shown)))
                    if cursor:
                        await item.ack()
                    seen += 1
                    if count and seen >= count:
                        return

    ask(work())


async def _now(desk: Client) -> int:
    """Return the newest position, so that nothing already there is shown as arriving."""
    return (await desk.node_status()).last_position
