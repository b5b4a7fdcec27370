"""Which model reads a type and version. A published version never changes; a new one is added."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from schemas.common import Alert
from schemas.cyber import CyberAlert
from schemas.drugs import DrugsAlert
from schemas.errors import UnknownVersionError
from schemas.trafficking import TraffickingAlert

_MODELS: Final[Mapping[tuple[str, int], type[Alert]]] = MappingProxyType(
    {(model.TYPE, model.VERSION): model for model in (DrugsAlert, TraffickingAlert, CyberAlert)}
)


def known() -> Mapping[tuple[str, int], type[Alert]]:
    """Return every (type, version) this software reads, with its model."""
    return _MODELS


def reads() -> dict[str, list[int]]:
    """Return the versions read of each type, as a member publishes them in the directory."""
    types = sorted({name for name, _ in _MODELS})
    return {name: sorted(v for known_name, v in _MODELS if known_name == name) for name in types}


def model_for(name: str, version: int) -> type[Alert]:
    """Return the model of a type and version.

    Raises:
        UnknownVersionError: This software does not read it; a newer one may.
    """
    try:
        return _MODELS[name, version]
    except KeyError:
        raise UnknownVersionError(
            "unknown-type", "this type and version of alert is not read here", field="type"
        ) from None
