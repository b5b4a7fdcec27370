"""What an alert says stands nowhere but in the two officers' hands: everything written is searched.

A marker is planted in every free text of alerts of the three types; they are sent, refused, and
quarantined. Then logs, errors, metrics, the hub's whole disk and the nodes' databases with their
write-ahead logs are searched for it.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker import clock
from broker.cli.admin.node_place import NodePlace
from broker.cli.demo.region import NODES, DemoRegion
from broker.client import BrokerError, Client, NotAccepted
from broker.transport.link import Link
from keys.directory.source import PublishedDirectory
from keys.home import Home
from keys.identity import MemberIdentity
from keys.primitives.signing import SignKey
from schemas.common import Alert
from schemas.desk import (
    AlertBody,
    ArrivalState,
    DraftRequest,
    NodeStatus,
    OriginalDocument,
    RecipientState,
)
from schemas.vocabulary import TLP, Precedence, Purpose, Status
from tests.secrecy.planting import MARK, planted
from tests.support.alerts import every_alert
from tests.support.envelopes import Made, label_for, seal_content, signed_content
from tests.support.gateway import submit
from tests.support.hub import BOUND_S
from tests.support.labels import NOTHING
from tests.support.processes import running_region
from tests.support.region import TestMember, TestRegion

pytestmark = pytest.mark.processes
MORE: dict[str, Any] = {
    "texts": [{"value": "a text", "lang": "en"}],
    "links": [{"kind": "case", "ref": "A-1"}],
}


def marked() -> list[Alert]:
    """Alerts of the three types with the marker in every free text."""
    found = []
    for alert in every_alert():
        body = {**alert.model_dump(mode="json", exclude_none=True), **MORE}
        full = type(alert).model_validate_json(json.dumps(body))
        marked, places = planted(full)
        expected = {"national_ref", "unit", "contact.function", "texts.*.value", "links.*.ref"}
        assert expected <= places
        assert len(places) > 10
        found.append(marked)
    assert {alert.TYPE for alert in found} == {"cyber", "drugs", "trafficking"}
    return found


def asked(alert: Alert, *to: str) -> DraftRequest:
    """A request of it; with an original where one may travel."""
    body = alert.model_dump(mode="json", exclude_none=True)
    original = None
    if alert.TYPE == "cyber":
        original = OriginalDocument(
            content=f"original {MARK}".encode(), media_type="text/plain", name=f"{MARK}.txt"
        )
    return DraftRequest(
        status=Status.ACTUAL,
        alert=AlertBody(type=alert.TYPE, body=body),
        recipients=to,
        agency="POLICE",
        tlp=TLP.AMBER,
        purposes=(Purpose.WARN,),
        precedence=Precedence.IMMEDIATE,
        original=original,
    )


def places(folder: Path) -> dict[str, int]:
    """Files under `folder` that hold the marker, in any of the forms it is written in."""
    raw = MARK.encode()
    forms = {raw, raw.upper(), raw.hex().encode(), MARK.encode("utf-16-le")}
    for shift in range(3):  # inside base64 it may begin at any of three places
        forms.add(base64.b64encode(b"x" * shift + raw)[4:-4])
    found: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            hits = sum(content.count(form) for form in forms)
            if hits:
                found[str(path.relative_to(folder))] = hits
    return found


def cheating(region: DemoRegion) -> TestRegion:
    """SG's keys and the directory, in the hands of a node that keeps no rule."""
    identity = MemberIdentity.load(Home(region.home("SG")).node_keys, region.passphrase)
    officer = region.officer("SG").sign_key
    held = TestMember(
        code="SG",
        sign_key=identity.sign_key,
        open_keys=identity.open_keys,
        storage_key=identity.storage_key,
        officer_key=officer,
        system_key=officer,
        nats_account=SignKey(identity.nats_account_seed),
        nats_user=SignKey(identity.nats_user_seed),
        witness_seed=identity.witness_seed,
    )
    view = PublishedDirectory.at(region.hub).view()
    return TestRegion(clock.now(), view, {"SG": held}, SignKey.generate(), {})


async def send_understated(region: DemoRegion, alert: Alert) -> None:
    """Submit an alert whose label denies what it holds: its recipient keeps it apart."""
    cheat = cheating(region)
    made = label_for(cheat, alert, facts=NOTHING, precedence=Precedence.IMMEDIATE)
    content, audience = signed_content(cheat, made, alert, ["MY"])
    sealed = seal_content(cheat, made, content, audience, counter=1000)
    place = NodePlace(region.home("SG"))
    identity = MemberIdentity.load(Home(region.home("SG")).node_keys, region.passphrase)
    async with Link(place.credentials(place.config(), identity)) as link:
        await link.wait_connected(BOUND_S)
        await submit(link, Made(made, content, audience, sealed))


async def quarantined(client: Client) -> NodeStatus:
    async with asyncio.timeout(BOUND_S):
        while not (status := await client.node_status()).quarantined:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.05)
    return status


def at_the_terminal(region: DemoRegion, folder: Path, alert: Alert) -> str:
    """What the commands say of files that are wrong in several ways."""
    body = alert.model_dump(mode="json", exclude_none=True)
    request = {"status": "actual", "tlp": "amber", "purposes": ["warn"], "to": ["MY"]}
    wrong: dict[str, dict[str, object]] = {
        "field.json": {**request, "alert": {"type": alert.TYPE, "body": {**body, MARK: MARK}}},
        "value.json": {**request, "alert": {"type": alert.TYPE, "body": {**body, "as_of": MARK}}},
        "label.json": {**request, "tlp": MARK, "alert": {"type": alert.TYPE, "body": body}},
        "bundle.json": {"type": "bundle", "id": MARK, "objects": [{"type": MARK, "name": MARK}]},
        "event.json": {"Event": {"info": MARK, "Attribute": [{"type": MARK, "value": 7}]}},
    }
    said = ""
    for name, content in wrong.items():
        path = folder / name
        path.write_text(json.dumps(content))
        command = ("send", "--yes") if "alert" in content else ("import",)
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "broker.cli", *command, str(path)],
            env={
                **os.environ,  # noqa: TID251 - handed on to a child
                "KENTONG_HOME": str(region.home("SG")),
                "KENTONG_PASSPHRASE_FILE": str(region.passphrase_file),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0, name
        assert "Traceback" not in done.stderr
        said += done.stdout + done.stderr
    return said


async def send_file(
    region: DemoRegion, clients: dict[str, Client], alert: Alert, folder: Path
) -> None:
    """A file full of the marker, named by it, from SG to MY; searched for on its whole way."""
    film = folder / f"film-{MARK}.bin"  # at the desk, not among what is searched
    film.write_bytes(MARK.encode() * 100_000)  # several chunks
    file = await clients["SG"].attach(film)
    assert places(region.folder) == {}  # sealed from the moment it is at the node
    request = asked(alert, "MY").model_copy(update={"attachments": (file,)})
    submission = await clients["SG"].send(request)
    async with asyncio.timeout(40):
        await submission.wait("delivered")
        envelope = submission.shown.id
        assert envelope is not None
        item = await clients["MY"].show(envelope)
        while item.attachments[0].state is ArrivalState.ARRIVING:
            assert places(region.hub / "hub" / "attachments") == {}
            item = await clients["MY"].show(envelope)
    assert MARK in item.attachments[0].name
    out = folder / "out.bin"
    await clients["MY"].save_attachment(envelope, 1, out)
    assert out.read_bytes() == film.read_bytes()


async def test_content_is_written_nowhere_in_clear(tmp_path: Path) -> None:
    sent = marked()
    async with running_region(tmp_path / "r") as (region, processes, clients):
        for alert in sent:
            submission = await clients["SG"].send(asked(alert, "MY"))
            async with asyncio.timeout(40):
                await submission.wait("delivered")
            envelope = submission.shown.id
            assert envelope is not None
            item = await clients["MY"].show(envelope)
            assert MARK in str(item.alert)  # it did arrive

        cyber = next(alert for alert in sent if alert.TYPE == "cyber")
        await send_file(region, clients, cyber, tmp_path)
        refused = await clients["SG"].send(asked(cyber, "TH"))
        with pytest.raises(NotAccepted):
            await refused.wait("accepted", timeout_s=40)
        assert refused.recipients[0].state is RecipientState.REFUSED

        await send_understated(region, next(a for a in sent if a.TYPE == "drugs"))
        status = await quarantined(clients["MY"])
        assert "quarantined-facts-understated" in {alarm.code for alarm in status.alarms}

        for alert in sent:
            request = asked(alert, "MY")
            broken = {**request.alert.body, "colour": MARK, "as_of": MARK}
            body = AlertBody(type=alert.TYPE, body=broken)
            with pytest.raises(BrokerError) as caught:
                await clients["SG"].send(request.model_copy(update={"alert": body}))
            assert MARK not in str(caught.value)
        said = await asyncio.to_thread(at_the_terminal, region, tmp_path, sent[0])
        assert len(said) > 100
        assert MARK not in said

        for code in NODES:
            socket = str(region.home(code) / "node" / "api.sock")
            transport = httpx.AsyncHTTPTransport(uds=socket)
            headers = {"authorization": f"Bearer {region.tokens[code]}"}
            async with httpx.AsyncClient(transport=transport, headers=headers) as http:
                for path in ("/metrics", "/healthz", "/v1/status"):
                    answer = await http.get(f"http://node{path}")
                    assert answer.status_code in {200, 403}
                    assert MARK not in answer.text
        assert places(region.folder) == {}
        await processes.kill("MY")
        assert places(region.folder) == {}
    assert (tmp_path / "r" / "hub.log").stat().st_size > 0
    assert (tmp_path / "r" / "SG.log").stat().st_size > 0
    assert places(tmp_path / "r") == {}
