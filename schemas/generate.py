"""Write the JSON Schemas: `python -m schemas.generate [DIR]`, by default into schemas/json/.

For readers and for desks that are not written in Python. The models stay the authority: a check
digit or a rule between fields is not expressible there.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from schemas.label import Label
from schemas.registry import known

FOLDER: Final = Path(__file__).parent / "json"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def documents() -> Mapping[str, str]:
    """Return the text of every schema file by its name."""
    models: dict[str, type[BaseModel]] = {"label-1": Label}
    models |= {f"{name}-{version}": model for (name, version), model in known().items()}
    return {f"{name}.json": _text(name, model) for name, model in models.items()}


def main(folder: Path) -> None:
    """Write every schema into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)


def _text(name: str, model: type[BaseModel]) -> str:
    schema = {"$schema": _DIALECT, "$id": f"urn:kentong:schema:{name}"}
    schema |= model.model_json_schema(mode="validation")
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
