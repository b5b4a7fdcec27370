"""What answers a desk runs in the node's loop: the framework gives anything else to a thread.

A thread takes two switches, each of which waits for a processor: on a busy machine that was the
longest wait of a request.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from broker.api.routes import attaching, node, probes, receiving, sending

ROUTERS = [part.router for part in (attaching, node, probes, receiving, sending)]


def called(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    """An endpoint, and all that it depends on."""
    if dependant.call is not None:
        yield dependant.call
    for each in dependant.dependencies:
        yield from called(each)


@pytest.mark.parametrize("router", ROUTERS, ids=lambda router: str(router.tags))
def test_no_request_takes_a_threads_turn_before_it_is_answered(router: APIRouter) -> None:
    routes = [route for route in router.routes if isinstance(route, APIRoute)]
    assert routes
    for route in routes:
        for call in called(route.dependant):
            runs = call if inspect.isroutine(call) else type(call).__call__
            assert inspect.iscoroutinefunction(runs), f"{route.path}: {call}"
