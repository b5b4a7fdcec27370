"""Writes the API's description for other languages: `python -m broker.api.description`."""

import json
from pathlib import Path
from typing import Final, cast

from broker.api.app import create_app
from broker.api.tokens import TokenBook
from broker.node.service import NodeService

OUT: Final = Path(__file__).parents[2] / "docs" / "openapi.json"


def description() -> str:
    """Return the OpenAPI document as text, the same for the same software."""
    # The document is made of the routes alone; nothing is served.
    app = create_app(cast("NodeService", None), cast("TokenBook", None))
    return json.dumps(app.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the document."""
    OUT.write_text(description(), "utf-8")


if __name__ == "__main__":
    main()
