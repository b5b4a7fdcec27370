"""Every part of an alert with its path: for facts, doubts and whoever must see all of it."""

from collections.abc import Iterator

from schemas.label import Strict


def parts(model: Strict, path: str = "") -> Iterator[tuple[str, Strict]]:
    """Yield `model` and every model inside it, depth first, with its dotted path."""
    yield path, model
    for name in type(model).model_fields:
        value = getattr(model, name)
        inner = f"{path}.{name}" if path else name
        if isinstance(value, Strict):
            yield from parts(value, inner)
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                if isinstance(item, Strict):
                    yield from parts(item, f"{inner}.{index}")
