"""`kentong log serve`: the log's files over HTTP, read-only."""

from typing import Annotated

import typer
import uvicorn

from broker.api.logfiles import log_app
from broker.cli import screen
from broker.cli.text import say
from broker.ledger.place import LedgerPlace
from broker.settings import home


def serve(
    host: Annotated[str, typer.Option(help="Address; put a TLS proxy before any other.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8787,
) -> None:
    """Serve the log's files over HTTP, read-only, in the layout of C2SP tlog-tiles.

    Example: kentong log serve --port 8787
    """
    place = LedgerPlace(home())
    origin = place.config().origin
    text = say(
        "log-served", "{origin} at http://{host}:{port}/", origin=origin, host=host, port=port
    )
    screen.line(text)
    uvicorn.run(log_app(place.files), host=host, port=port, log_level="warning")
