"""Requests made up from the API's description, to a real node: answers as described, no fault.

The description decides what is asked and what may be answered; the node behind the app has a real
database, a real hub and an inbox with mail. Event streams have no end and are left to tests/faults.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from broker import clock
from broker.api import Limits, Scope, TLSPort, TokenBook, create_app, serving
from keys.primitives.certificates import issue_server, make_ca
from schemas.label import Sender
from tests.support.envelopes import delivery, make
from tests.support.hub import BOUND_S, running_hub
from tests.support.nodes import opened_node, request, send
from tests.support.region import make_region

DESCRIPTION = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text("utf-8"))
ENDLESS = {"/v1/events", "/v1/submissions/{reference}/events"}
OPERATIONS = [
    (method, path)
    for path, methods in DESCRIPTION["paths"].items()
    for method in methods
    if path not in ENDLESS
]
ID_NAMES = frozenset({"draft_id", "reference", "item_id"})
FAULT = 500
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
FREE = Limits(requests_per_s=1e6, burst=10**6, failures_per_s=1e6)


@dataclass
class Place:
    """Where the node's API is served, and what opens it."""

    url: str
    token: str
    ca: str
    known: tuple[str, ...]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The API of a node of SG, served by a loop of its own for as long as the module runs."""
    folder = tmp_path_factory.mktemp("api")
    started: list[Place] = []
    ready, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    failed: list[BaseException] = []

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            started.append(await _served(stack, folder))
            ready.set()
            await ended.wait()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(BOUND_S)
    if failed:
        raise failed[0]
    yield started[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(BOUND_S)
    loop.close()
    assert not failed


async def _served(stack: AsyncExitStack, folder: Path) -> Place:
    region = make_region(("SG", "MY", "VN"), now=clock.now())
    hub = await stack.enter_async_context(running_hub(region, folder / "hub"))
    node = await stack.enter_async_context(opened_node(hub, "SG", folder))
    made = make(region, ("SG",), sender=Sender(member="MY", agency="PDRM"))
    assert await node.incoming.take(delivery(region, made.sealed.raw, "SG"))
    draft = await node.create_draft(request(region, ("MY",)))
    kept = await send(node, region, request(region, ("MY", "VN")))
    book = TokenBook(node.database)
    _, token = await book.add("fuzz", frozenset(Scope), now=clock.now())
    ca, ca_key = make_ca("Kentong test", clock.now(), 2)
    certificate, key = issue_server(ca, ca_key, ["localhost"], clock.now(), 2)
    for name, pem in (("ca.pem", ca), ("node.pem", certificate), ("node.key", key)):
        (folder / name).write_bytes(pem)
    app = create_app(node, book, limits=FREE)
    tls = TLSPort("localhost", 0, folder / "node.pem", folder / "node.key")
    served = await stack.enter_async_context(serving(app, tls=tls))
    item = (await node.inbox()).items[0]
    known = tuple(
        str(each) for each in (draft.draft_id, kept.submission_id, kept.alert_id, item.id)
    )
    return Place(f"https://localhost:{served.port}", token, str(folder / "ca.pem"), known)


@pytest.mark.hub
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda part: part)
def test_every_answer_is_as_described_and_none_is_a_fault(
    place: Place, method: str, path: str
) -> None:
    operation = schemathesis.openapi.from_dict(DESCRIPTION)[path][method.upper()]
    cases = st.one_of(operation.as_strategy(mode) for mode in GenerationMode)
    ids = st.sampled_from(place.known)

    @settings(
        max_examples=min(settings().max_examples, 300) // 4,
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        case = data.draw(cases)
        for name in sorted(ID_NAMES & set(case.path_parameters or ())):
            if data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(ids)
        answer = case.call(
            base_url=place.url,
            headers={"authorization": f"Bearer {place.token}"},
            verify=place.ca,
            timeout=BOUND_S,
        )
        assert answer.status_code != FAULT, answer.text
        case.validate_response(answer, checks=CHECKS)

    check()
