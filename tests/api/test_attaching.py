"""Files over HTTP: who may, in what form, and from where on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from broker import clock
from broker.api import Scope, TokenBook, create_app
from broker.envelope.chunks import file_key, seal_chunk
from broker.node.node import Node
from keys.primitives.hashing import sha256
from schemas.attachment import CHUNK_BYTES, MAX_ATTACHMENT_BYTES, Manifest
from schemas.desk import AttachmentUpload
from schemas.label import Facts
from tests.support.attachments import a_file, cut
from tests.support.envelopes import an_alert, delivery, label_for, seal_content, signed_content
from tests.support.hub import RunningHub, running_hub
from tests.support.nodes import opened_node
from tests.support.region import make_region

pytestmark = pytest.mark.hub
CONTENT = a_file(3)
FILM = Manifest("báo cáo.bin", "application/x-film", len(CONTENT), sha256(CONTENT))
DESKS = {
    "reader": (frozenset({Scope.READ}), frozenset[str]()),
    "sender": (frozenset({Scope.SUBMIT}), frozenset[str]()),
    "other": (frozenset({Scope.SUBMIT}), frozenset[str]()),
    "narrow": (frozenset({Scope.READ, Scope.SUBMIT}), frozenset({"wildlife"})),
}


@dataclass
class Desk:
    """The API of MY's node, asked with tokens of several desks."""

    hub: RunningHub
    node: Node
    http: httpx.AsyncClient
    tokens: dict[str, str]

    async def ask(
        self,
        method: str,
        path: str,
        who: str,
        *,
        json: object = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        sent = {"authorization": f"Bearer {self.tokens[who]}", **(headers or {})}
        return await self.http.request(method, path, headers=sent, json=json, content=content)

    async def code(self, method: str, path: str, who: str, **more: object) -> tuple[int, str]:
        answer = await self.ask(method, path, who, **more)  # type: ignore[arg-type]
        return answer.status_code, answer.json().get("code", "")


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    region = make_region(("SG", "MY"), now=clock.now())
    async with running_hub(region, tmp_path / "hub") as hub, opened_node(hub, "MY", tmp_path) as my:
        book = TokenBook(my.database)
        tokens = {
            name: (await book.add(name, scopes, types=types, now=clock.now()))[1]
            for name, (scopes, types) in DESKS.items()
        }
        transport = httpx.ASGITransport(app=create_app(my, book))
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as http:
            yield Desk(hub, my, http, tokens)


def announced(content: bytes = CONTENT) -> dict[str, object]:
    return {
        "name": "film.bin",
        "media_type": "video/mp4",
        "bytes": len(content),
        "sha256": sha256(content).hex(),
    }


async def begun(desk: Desk) -> AttachmentUpload:
    answer = await desk.ask("POST", "/v1/attachments", "sender", json=announced())
    assert answer.status_code == 201
    return AttachmentUpload.model_validate_json(answer.content)


async def test_a_file_is_handed_over_chunk_by_chunk(desk: Desk) -> None:
    upload = await begun(desk)
    assert (upload.chunk_bytes, upload.chunks, upload.next) == (CHUNK_BYTES, 3, 0)
    for index, chunk in enumerate(cut(CONTENT)):
        path = f"/v1/attachments/{upload.attachment_id}/chunks/{index}"
        answer = await desk.ask("PUT", path, "sender", content=chunk)
        assert answer.status_code == 200
        assert answer.json()["next"] == index + 1
    shown = await desk.ask("GET", f"/v1/attachments/{upload.attachment_id}", "sender")
    assert shown.json()["complete"] is True
    assert (await begun(desk)).attachment_id == upload.attachment_id  # the same again goes on


async def test_who_may_not_hand_over_is_told_nothing(desk: Desk) -> None:
    upload = await begun(desk)
    mine = f"/v1/attachments/{upload.attachment_id}"
    assert await desk.code("POST", "/v1/attachments", "reader", json=announced()) == (
        403,
        "scope-missing",
    )
    assert await desk.code("GET", mine, "reader") == (403, "scope-missing")
    for who, path in (("other", mine), ("sender", f"/v1/attachments/{uuid4()}")):
        assert await desk.code("GET", path, who) == (404, "not-found")
        assert await desk.code("PUT", f"{path}/chunks/0", who, content=b"x") == (404, "not-found")
    unknown = await desk.http.put(f"{mine}/chunks/0", content=b"x")
    assert unknown.status_code == 401


async def test_a_file_is_taken_back_by_its_own_desk_alone(desk: Desk) -> None:
    upload = await begun(desk)
    mine = f"/v1/attachments/{upload.attachment_id}"
    listed = await desk.ask("GET", "/v1/attachments", "sender")
    assert [(each["name"], each["next"]) for each in listed.json()["items"]] == [("film.bin", 0)]
    assert (await desk.ask("GET", "/v1/attachments", "other")).json() == {"items": []}
    for method, path in (("GET", "/v1/attachments"), ("DELETE", mine)):
        assert await desk.code(method, path, "reader") == (403, "scope-missing")
        assert (await desk.http.request(method, path)).status_code == 401
    assert await desk.code("DELETE", mine, "other") == (404, "not-found")
    assert await desk.code("DELETE", f"/v1/attachments/{uuid4()}", "sender") == (404, "not-found")
    assert await desk.code("DELETE", "/v1/attachments/..", "sender") != (204, "")
    answer = await desk.ask("DELETE", mine, "sender")
    assert (answer.status_code, answer.content) == (204, b"")
    assert await desk.code("DELETE", mine, "sender") == (404, "not-found")
    assert (await desk.ask("GET", "/v1/attachments", "sender")).json() == {"items": []}


async def test_what_does_not_fit_is_refused_with_its_code(desk: Desk) -> None:
    upload = await begun(desk)
    first = f"/v1/attachments/{upload.attachment_id}/chunks/0"
    long = bytes(CHUNK_BYTES + 1)
    assert await desk.code("PUT", first, "sender", content=long) == (413, "body-too-large")
    assert await desk.code("PUT", first, "sender", content=b"x") == (422, "no-such-chunk")
    second = first.replace("chunks/0", "chunks/1")
    assert await desk.code("PUT", second, "sender", content=cut(CONTENT)[1]) == (
        409,
        "out-of-order",
    )
    for index in ("-1", "4096", "x"):
        bad = first.replace("chunks/0", f"chunks/{index}")
        assert await desk.code("PUT", bad, "sender", content=b"x") == (422, "invalid-parameter")
    huge = {**announced(), "bytes": MAX_ATTACHMENT_BYTES + 1}
    answer = await desk.ask("POST", "/v1/attachments", "sender", json=huge)
    assert (answer.status_code, answer.json()["code"]) == (422, "attachment-too-large")
    assert str(MAX_ATTACHMENT_BYTES) in answer.json()["detail"]
    assert str(MAX_ATTACHMENT_BYTES + 1) in answer.json()["detail"]
    for wrong in ({"name": "../secret-plan"}, {"bytes": 0}, {"sha256": "00"}, {"more": 1}):
        answer = await desk.ask("POST", "/v1/attachments", "sender", json={**announced(), **wrong})
        assert answer.status_code == 422
        assert "secret-plan" not in answer.text


async def arrived(desk: Desk, *, chunks: int = 3) -> UUID:
    """An alert with a file, so much of which is here."""
    region, label_facts = (
        desk.hub.region,
        Facts(personal_data=True, victim=False, minor=False, biometrics=False),
    )
    label = label_for(region, an_alert(), facts=label_facts)
    content, audience = signed_content(region, label, an_alert(), ["MY"], manifests=(FILM,))
    sealed = seal_content(region, label, content, audience)
    assert await desk.node.incoming.take(delivery(region, sealed.raw, "MY"))
    key = file_key(sealed.attachments_key, 0)
    for index, plain in enumerate(cut(CONTENT)[:chunks]):
        raw = seal_chunk(key, FILM, 0, index, plain)
        desk.node.arrivals.files.keep(str(label.id), 0, index, raw)
    await desk.node.arrivals.fetch_due()
    return label.id


async def test_a_file_is_given_whole_or_from_a_place_on(desk: Desk) -> None:
    path = f"/v1/inbox/{await arrived(desk)}/attachments/1"
    whole = await desk.ask("GET", path, "reader")
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["content-type"] == FILM.media_type
    assert whole.headers["content-disposition"].startswith("attachment; filename*=UTF-8''b%C3%A1o")
    assert "sandbox" in whole.headers["content-security-policy"]
    for start in (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, len(CONTENT) - 1):
        part = await desk.ask("GET", path, "reader", headers={"range": f"bytes={start}-"})
        assert (part.status_code, part.content) == (206, CONTENT[start:])
        wanted = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        assert part.headers["content-range"] == wanted
    for start in (len(CONTENT), len(CONTENT) + 1, 9_999_999_999):
        beyond = {"range": f"bytes={start}-"}
        assert await desk.code("GET", path, "reader", headers=beyond) == (416, "beyond-the-end")


async def test_a_file_is_given_only_to_those_who_may_see_its_alert(desk: Desk) -> None:
    ident = await arrived(desk)
    path = f"/v1/inbox/{ident}/attachments/1"
    assert await desk.code("GET", path, "sender") == (403, "scope-missing")
    assert await desk.code("GET", path, "narrow") == (404, "not-found")
    assert await desk.code("GET", f"/v1/inbox/{ident}/attachments/2", "reader") == (
        404,
        "not-found",
    )
    for number in ("0", "9"):
        bad = f"/v1/inbox/{ident}/attachments/{number}"
        assert await desk.code("GET", bad, "reader") == (422, "invalid-parameter")


async def test_a_file_that_is_still_arriving_says_how_far_it_is(desk: Desk) -> None:
    path = f"/v1/inbox/{await arrived(desk, chunks=1)}/attachments/1"
    answer = await desk.ask("GET", path, "reader")
    assert (answer.status_code, answer.json()["code"]) == (503, "attachment-arriving")
    assert answer.json()["retry"] == "later"
    assert "1 of 3" in answer.json()["detail"]
