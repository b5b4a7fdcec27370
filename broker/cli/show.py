"""`kentong show`."""

from pathlib import Path
from typing import Annotated

import typer

from broker.cli import progress, reading, screen
from broker.cli.desk import AsJSON, ask, client, reference
from broker.cli.text import say
from broker.errors import BrokerError
from schemas.desk import InboxItem


def command(
    ident: Annotated[str, typer.Argument(help="Id, as `kentong inbox` shows it.")],
    original: Annotated[
        Path | None, typer.Option(help="Write the original document to this file.")
    ] = None,
    attachment: Annotated[
        int | None,
        typer.Option(min=1, help="Write this attachment, numbered as shown, to --out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the attachment; asking again goes on.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Show one alert, all of it.

    Examples:
      kentong show 01a20c88-a66e-7000-8000-000000000001 --original report.pdf
      kentong show 01a20c88-a66e-7000-8000-000000000001 --attachment 1 --out film.mp4
    """
    if (attachment is None) != (out is None):
        raise typer.BadParameter(say("attachment-out", "--attachment and --out go together"))
    wanted = reference(ident)

    async def work() -> InboxItem:
        async with client() as desk:
            item = await desk.show(wanted)
            if original is not None:
                document = await desk.original(item.id)
                write_new(original, document.content)
            if attachment is not None and out is not None:
                with progress.shown(out.name) as tell:
                    await desk.save_attachment(item.id, attachment, out, progress=tell)
            return item

    item = ask(work())
    if as_json:
        screen.as_json("alert", alert=item.model_dump(mode="json"))
        return
    reading.show(item)
    if original is not None:
        screen.line(say("original-written", "Original written to {path}", path=original))
    if out is not None:
        screen.line(say("attachment-written", "Attachment written to {path}", path=out))


def write_new(path: Path, content: bytes) -> None:
    """Write a file that must not be there yet.

    Raises:
        BrokerError: `exists` or `cannot-write`.
    """
    try:
        with path.open("xb") as out:
            out.write(content)
    except FileExistsError:
        raise BrokerError("exists", f"{path} is there already; choose another name") from None
    except OSError as error:
        raise BrokerError("cannot-write", f"{path} cannot be written") from error
