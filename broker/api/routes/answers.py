"""Answers in JSON, written by the model itself."""

from pydantic import BaseModel
from starlette.responses import Response


def json_answer(model: BaseModel, *, status: int = 200) -> Response:
    """Return `model` as it stands; it was validated when it was made."""
    return Response(model.model_dump_json(), status_code=status, media_type="application/json")
