"""The node's local API for desks."""

from broker.api.app import create_app
from broker.api.limits import Limits
from broker.api.serving import Served, ServingError, TLSPort, serving
from broker.api.tokens import Caller, Scope, TokenBook, TokenError

__all__ = [
    "Caller",
    "Limits",
    "Scope",
    "Served",
    "ServingError",
    "TLSPort",
    "TokenBook",
    "TokenError",
    "create_app",
    "serving",
]
