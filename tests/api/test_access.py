"""What a desk may not do over HTTP, and how a stream goes on or ends."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
import trustme

from broker import clock
from broker.api import Limits, Scope, TLSPort
from broker.api.access import REPEATED
from tests.support.desks import Desks, Stage, offered, one_of, running_stage
from tests.support.hub import BOUND_S
from tests.support.nodes import request

pytestmark = [pytest.mark.hub, pytest.mark.asyncio(loop_scope="module")]
TYPES = ("drugs", "cyber", "drugs")
SMALL = Limits(max_body_bytes=64 * 1024, max_small_body_bytes=512, heartbeat_s=0.05)
NOBODY = UUID(int=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with running_stage(tmp_path_factory.mktemp("stage")) as stage:
        await stage.arrive(*TYPES)
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desks(stage: Stage) -> AsyncIterator[Desks]:
    async with offered(stage.my, stage.folder / "my.sock", limits=SMALL) as desks:
        yield desks


def draft(stage: Stage, alert_type: str = "cyber") -> dict[str, Any]:
    asked = request(stage.hub.region, ("SG",), alert=one_of(alert_type))
    kid = stage.hub.region.members["MY"].officer_kid
    return asked.model_copy(update={"officer_kid": kid}).model_dump(mode="json")


def code_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    code: str = answer.json()["code"]
    return code


NEEDS = [
    ("GET", "/v1/inbox", {Scope.READ}),
    ("GET", f"/v1/inbox/{NOBODY}", {Scope.READ}),
    ("GET", f"/v1/inbox/{NOBODY}/original", {Scope.READ}),
    ("GET", "/v1/events?since=0", {Scope.READ}),
    ("GET", "/v1/cursors/mine", {Scope.READ}),
    ("POST", "/v1/cursors/mine/ack", {Scope.READ}),
    ("POST", "/v1/preview", {Scope.SUBMIT}),
    ("POST", "/v1/drafts", {Scope.SUBMIT}),
    ("POST", f"/v1/drafts/{NOBODY}/submit", {Scope.SUBMIT}),
    ("POST", f"/v1/submissions/{NOBODY}/cancel", {Scope.SUBMIT}),
    ("POST", f"/v1/submissions/{NOBODY}/proceed", {Scope.SUBMIT}),
    ("GET", "/v1/submissions", {Scope.READ, Scope.SUBMIT}),
    ("GET", f"/v1/submissions/{NOBODY}", {Scope.READ, Scope.SUBMIT}),
    ("GET", f"/v1/submissions/{NOBODY}/events", {Scope.READ, Scope.SUBMIT}),
    ("POST", "/v1/attachments", {Scope.SUBMIT}),
    ("GET", f"/v1/attachments/{NOBODY}", {Scope.SUBMIT}),
    ("PUT", f"/v1/attachments/{NOBODY}/chunks/0", {Scope.SUBMIT}),
    ("GET", f"/v1/inbox/{NOBODY}/attachments/1", {Scope.READ}),
    ("GET", "/metrics", {Scope.MONITOR}),
]


@pytest.mark.parametrize(("method", "path", "scopes"), NEEDS, ids=[f"{m} {p}" for m, p, _ in NEEDS])
async def test_nothing_is_done_without_a_token_of_the_right_scope(
    desks: Desks, method: str, path: str, scopes: set[Scope]
) -> None:
    async with desks.http() as nobody:
        assert code_of(await nobody.request(method, path), 401) == "bad-token"
    others = set(Scope) - scopes
    async with desks.http(await desks.token("narrow", tuple(others))) as narrow:
        headers = {"idempotency-key": str(uuid4())}
        answer = await narrow.request(method, path, headers=headers)
        assert code_of(answer, 403) == "scope-missing"


async def test_every_path_that_says_anything_of_alerts_is_in_that_table(desks: Desks) -> None:
    async with desks.http() as nobody:
        paths = (await nobody.get("/openapi.json")).json()["paths"]
    known = {path.partition("?")[0].replace(str(NOBODY), "{}") for _, path, _ in NEEDS}
    open_to_all = {"/v1/status", "/v1/directory/members", "/v1/schemas/{}/{}"}
    for path in paths:
        plain = "/".join("{}" if part.startswith("{") else part for part in path.split("/"))
        named = plain.replace("cursors/{}", "cursors/mine").replace("chunks/{}", "chunks/0")
        named = named.replace("{}/attachments/{}", "{}/attachments/1")
        assert named in known | open_to_all or not named.startswith("/v1/"), path


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method, path, _ in NEEDS]
    + [("GET", path) for path in ("/v1/status", "/healthz", "/readyz", "/readyz?for=desks")],
)
async def test_a_parameter_that_an_endpoint_does_not_know_is_refused(
    desks: Desks, method: str, path: str
) -> None:
    beside = "&" if "?" in path else "?"
    async with desks.http(await desks.token("all", tuple(Scope))) as desk:
        headers = {"idempotency-key": str(uuid4())}
        answer = await desk.request(method, f"{path}{beside}tpye=drugs", headers=headers)
    assert code_of(answer, 422) == "invalid-parameter"
    assert answer.json()["detail"] == "A parameter is not known here."
    assert "tpye" not in answer.text  # it may be content


async def test_only_a_parameter_that_is_a_list_may_be_given_twice(desks: Desks) -> None:
    async with desks.http(await desks.token("all", tuple(Scope))) as desk:
        described = (await desk.get("/openapi.json")).json()["paths"]
        met = set()
        for path, methods in described.items():
            for each in methods.get("get", {}).get("parameters", ()):
                if each["in"] != "query":
                    continue
                schema = each["schema"]
                kinds = {part.get("type") for part in (schema, *schema.get("anyOf", ()))}
                met.add((each["name"], "array" in kinds))
                place = path.replace("{reference}", str(NOBODY))
                name = each["name"]
                value = {"type": "drugs", "for": "all"}.get(name, "1")
                said = (await desk.get(f"{place}?{name}={value}&{name}={value}")).text
                assert ("It may be given once." in said) == ("array" not in kinds), (path, said)
    assert {name for name, is_list in met if is_list} == REPEATED
    assert len(met) > len(REPEATED)


WRONG = {
    "/readyz?for": ("", "nobody", "ALL"),
    "/v1/events?cursor": ("", "A", "-a", "a" * 33),
    "/v1/events?since": ("", "-1", "1.5", "x", str(2**63)),
    "/v1/inbox?since": ("", "-1", "1.5", "x", str(2**63)),
    "/v1/inbox?limit": ("", "0", "501", "-1", "1.5", "x"),
    "/v1/submissions?state": ("", "bogus", "SENT"),
    "/v1/submissions?before": ("", "x", "1"),
    "/v1/submissions?limit": ("", "0", "501", "-1", "1.5", "x"),
}
FREE = {"/v1/events?type", "/v1/inbox?type"}  # lists of texts, of which one may be unknown here


@pytest.mark.parametrize("place", WRONG)
async def test_a_value_in_the_query_that_is_none_of_its_kind_is_refused(
    desks: Desks, place: str
) -> None:
    async with desks.http(await desks.token("all")) as desk:
        for value in WRONG[place]:
            answer = await desk.get(f"{place}={value}")
            assert answer.is_client_error, (place, value, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


async def test_each_parameter_of_a_query_has_such_values(desks: Desks) -> None:
    async with desks.http(await desks.token("all")) as desk:
        described = (await desk.get("/openapi.json")).json()["paths"]
    there = {
        f"{path}?{each['name']}"
        for path, methods in described.items()
        for method in methods.values()
        for each in method.get("parameters", ())
        if each["in"] == "query"
    }
    assert there == WRONG.keys() | FREE


async def test_a_token_for_one_type_sees_and_sends_that_one_alone(
    desks: Desks, stage: Stage
) -> None:
    async with (
        desks.http(await desks.token("all")) as full,
        desks.http(await desks.token("cyber-desk", types=["cyber"])) as narrow,
    ):
        items = (await full.get("/v1/inbox")).json()["items"]
        assert [item["type"] for item in items] == list(TYPES)
        seen = (await narrow.get("/v1/inbox")).json()["items"]
        assert [item["type"] for item in seen] == ["cyber"]
        hidden = items[0]["id"]
        for path in (f"/v1/inbox/{hidden}", f"/v1/inbox/{hidden}/original"):
            assert code_of(await narrow.get(path), 404) == "not-found"
        for path in ("/v1/inbox?type=drugs", "/v1/events?since=0&type=drugs"):
            assert code_of(await narrow.get(path), 403) == "type-not-allowed"
        for path in ("/v1/preview", "/v1/drafts"):
            refused = await narrow.post(path, json=draft(stage, "drugs"))
            assert code_of(refused, 403) == "type-not-allowed"
            assert (await narrow.post(path, json=draft(stage))).status_code in {200, 201}
        sent = (await full.post("/v1/drafts", json=draft(stage, "drugs"))).json()
        async with narrow.stream("GET", "/v1/events?since=0") as stream:
            async for line in stream.aiter_lines():
                if line.startswith("event: alert"):
                    break
                assert not line.startswith("id: 1")
        assert sent["draft_id"]


async def test_a_cursor_belongs_to_its_desk(desks: Desks) -> None:
    async with (
        desks.http(await desks.token("one")) as one,
        desks.http(await desks.token("two")) as two,
        desks.http(await desks.token("one")) as again,
    ):
        moved = await one.post("/v1/cursors/case/ack", json={"position": 2})
        assert moved.json()["position"] == 2
        assert (await two.get("/v1/cursors/case")).json()["position"] == 0
        assert (await again.get("/v1/cursors/case")).json()["position"] == 2
        assert (await two.get("/v1/cursors/one.case")).json()["position"] == 0  # no way around it
        beyond = await one.post("/v1/cursors/case/ack", json={"position": 99})
        assert code_of(beyond, 422) == "beyond-the-inbox"
        back = await one.post("/v1/cursors/case/ack", json={"position": 1})
        assert back.json()["position"] == 2


async def test_a_submission_needs_its_idempotency_key(desks: Desks, stage: Stage) -> None:
    async with desks.http(await desks.token("sender")) as desk:
        kept = (await desk.post("/v1/drafts", json=draft(stage))).json()
        body = {"signature": kept["bytes_to_sign"], "officer_kid": kept["officer_kid"]}
        path = f"/v1/drafts/{kept['draft_id']}/submit"
        assert code_of(await desk.post(path, json=body), 400) == "idempotency-key-missing"
        for key in ("short", "with a blank", "x" * 97):
            answer = await desk.post(path, json=body, headers={"idempotency-key": key})
            assert code_of(answer, 400) == "idempotency-key-invalid"
        assert (await desk.get("/v1/submissions")).json()["items"] == []


async def positions(stream: httpx.Response, count: int) -> list[int]:
    """The ids of the first `count` alerts of a stream."""
    found: list[int] = []
    async for line in stream.aiter_lines():
        if line.startswith("id: "):
            found.append(int(line.removeprefix("id: ")))
        if len(found) == count:
            break
    return found


@pytest.mark.parametrize(
    ("query", "last", "expected"),
    [
        ("cursor=fresh", None, [1, 2, 3]),
        ("cursor=fresh", "1", [2, 3]),
        ("cursor=fresh", "2", [3]),
        ("cursor=fresh&since=0", "2", [1, 2, 3]),  # what the caller asks for itself wins
        ("cursor=fresh", "-1", [1, 2, 3]),
        ("cursor=fresh", "9" * 30, [1, 2, 3]),
    ],
)
async def test_a_reconnecting_browser_goes_on_after_its_last_event(
    desks: Desks, query: str, last: str | None, expected: list[int]
) -> None:
    headers = {} if last is None else {"last-event-id": last}
    async with (
        asyncio.timeout(BOUND_S),
        desks.http(await desks.token("browser")) as desk,
        desk.stream("GET", f"/v1/events?{query}", headers=headers) as stream,
    ):
        assert await positions(stream, len(expected)) == expected


async def test_a_stream_needs_a_place_to_begin(desks: Desks) -> None:
    async with desks.http(await desks.token("browser")) as desk:
        assert code_of(await desk.get("/v1/events"), 400) == "no-place"


async def test_a_stream_ends_when_its_token_is_revoked(desks: Desks) -> None:
    record, token = await desks.tokens.add("leaver", frozenset({Scope.READ}), now=clock.now())
    async with asyncio.timeout(BOUND_S), desks.http(token) as desk:
        async with desk.stream("GET", "/v1/events?since=2") as stream:
            lines = stream.aiter_lines()
            async for line in lines:
                if line.startswith("id: 3"):
                    await desks.tokens.revoke(record.caller.token_id, now=clock.now())
                    break
            rest = [line async for line in lines]  # it ends, or the time is up
            assert "event: end" not in rest  # cut off, not finished
        assert code_of(await desk.get("/v1/inbox"), 401) == "bad-token"


async def chunks(size: int) -> AsyncIterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(0, size, 1024):
        yield b" " * 1024


async def test_a_body_beyond_its_bound_is_not_read(desks: Desks) -> None:
    json = {"content-type": "application/json"}
    limits = {"/v1/drafts": SMALL.max_body_bytes, "/v1/cursors/c/ack": SMALL.max_small_body_bytes}
    async with desks.http(await desks.token("sender")) as desk:
        for path, limit in limits.items():
            said = await desk.post(path, content=b" " * (limit + 1), headers=json)
            assert code_of(said, 413) == "body-too-large"
            silent = await desk.post(path, content=chunks(limit + 4096), headers=json)
            assert code_of(silent, 413) == "body-too-large"
            fits = await desk.post(path, content=b" " * limit, headers=json)
            assert fits.status_code == 422
            assert code_of(await desk.post(path, content=b"{}"), 415) == "not-json"


async def test_a_desk_above_its_rate_waits_and_others_do_not(stage: Stage) -> None:
    slow = Limits(requests_per_s=0.01, burst=3, failures_per_s=0.01, streams_per_desk=1)
    async with offered(stage.my, stage.folder / "slow.sock", limits=slow) as desks:
        eager, calm = await desks.token("eager"), await desks.token("calm")
        async with desks.http(eager) as desk, desks.http(calm) as other, desks.http() as stranger:
            for _ in range(slow.burst):
                assert (await desk.get("/v1/cursors/c")).status_code == 200
            refused = await desk.get("/v1/cursors/c")
            assert code_of(refused, 429) == "too-many-requests"
            assert refused.json()["retry"] == "later"
            assert int(refused.headers["retry-after"]) > 0
            for _ in range(slow.burst):
                assert code_of(await stranger.get("/v1/inbox"), 401) == "bad-token"
            assert code_of(await stranger.get("/v1/inbox"), 429) == "too-many-requests"
            async with other.stream("GET", "/v1/events?since=0") as stream:
                lines = stream.aiter_lines()  # held: let go, it would end the stream
                assert await anext(lines) == "retry: 1000"
                second = await other.get("/v1/events?since=0")
                assert code_of(second, 429) == "too-many-streams"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TLSPort:
    folder = tmp_path_factory.mktemp("tls")
    ministry = trustme.CA()
    issued = ministry.issue_cert("localhost")
    ministry.cert_pem.write_to_path(folder / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return TLSPort("127.0.0.1", 0, folder / "server.pem", folder / "key.pem")


async def test_the_tls_port_takes_tls_1_3_and_a_token_and_nothing_less(
    stage: Stage, tls: TLSPort
) -> None:
    trusted = ssl.create_default_context(cafile=tls.certificate.with_name("ca.pem"))
    old = ssl.create_default_context(cafile=tls.certificate.with_name("ca.pem"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with offered(stage.my, stage.folder / "tls.sock", tls=tls) as desks:
        url = f"https://localhost:{desks.port}/v1/inbox"
        headers = {"authorization": f"Bearer {await desks.token('remote')}"}
        async with httpx.AsyncClient(verify=trusted) as desk:
            assert len((await desk.get(url, headers=headers)).json()["items"]) == len(TYPES)
            assert code_of(await desk.get(url), 401) == "bad-token"
        for refused in (old, ssl.create_default_context()):
            async with httpx.AsyncClient(verify=refused) as desk:
                with pytest.raises(httpx.ConnectError):
                    await desk.get(url, headers=headers)
        async with httpx.AsyncClient() as desk:
            with pytest.raises(httpx.HTTPError):
                await desk.get(url.replace("https", "http"), headers=headers)


async def test_a_port_that_wants_certificates_lets_nobody_in_without(
    stage: Stage, tls: TLSPort
) -> None:
    ca = tls.certificate.with_name("ca.pem")
    strict = TLSPort(tls.host, 0, tls.certificate, tls.key, client_ca=ca)
    plain = ssl.create_default_context(cafile=ca)
    with_certificate = ssl.create_default_context(cafile=ca)
    with_certificate.load_cert_chain(tls.certificate, tls.key)
    async with offered(stage.my, stage.folder / "mtls.sock", tls=strict) as desks:
        url = f"https://localhost:{desks.port}/v1/inbox"
        headers = {"authorization": f"Bearer {await desks.token('remote')}"}
        async with httpx.AsyncClient(verify=plain) as desk:
            with pytest.raises(httpx.HTTPError):
                await desk.get(url, headers=headers)
        async with httpx.AsyncClient(verify=with_certificate) as desk:
            assert (await desk.get(url, headers=headers)).status_code == 200


async def test_the_socket_is_of_the_node_alone(desks: Desks) -> None:
    assert desks.socket.stat().st_mode & 0o777 == 0o600
