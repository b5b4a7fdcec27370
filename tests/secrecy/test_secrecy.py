"""What an alert says stands nowhere but in the two officers' hands: everything written is searched.

A marker is planted in every field of the content that takes free words. Then logs, metrics, the
hub's whole disk and the nodes' databases with their write-ahead logs are searched for it.
"""

import asyncio
import base64
from pathlib import Path

import httpx
import pytest

from broker import clock
from broker.cli.demo import alerts
from broker.cli.demo.region import NODES
from broker.client import BrokerError
from schemas.desk import AlertBody, DraftRequest, OriginalDocument
from schemas.vocabulary import TLP, Purpose, Status
from tests.support.processes import running_region

pytestmark = pytest.mark.processes
MARK = "quokka7forty"  # a word that no library, certificate or path holds


def planted() -> AlertBody:
    """A cyber alert in which every free text, name, reference and value holds the marker."""
    alert = alerts.cyber(clock.now().date())
    body = {
        **alert.body,
        "title": f"title {MARK}",
        "national_ref": f"REF/{MARK}",
        "unit": f"unit {MARK}",
        "contact": {"function": f"desk {MARK}", "emails": [f"{MARK}@police.example"]},
        "texts": [{"value": f"text {MARK}", "lang": "en"}],
        "observables": [
            {"type": "domain", "value": f"{MARK}.example", "to_ids": True},
            {"type": "url", "value": f"https://{MARK}.example/{MARK}"},
        ],
        "accounts": [{"service": "telegram", "handle": f"@{MARK}"}],
    }
    return AlertBody(type="cyber", body=body)


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


async def test_content_is_written_nowhere_in_clear(tmp_path: Path) -> None:
    async with running_region(tmp_path / "r") as (region, processes, clients):
        request = DraftRequest(
            status=Status.ACTUAL,
            alert=planted(),
            recipients=("MY", "VN"),
            agency="POLICE",
            tlp=TLP.AMBER,
            purposes=(Purpose.WARN,),
            original=OriginalDocument(
                content=f"original {MARK}".encode(), media_type="text/plain", name=f"{MARK}.txt"
            ),
        )
        submission = await clients["SG"].send(request)
        async with asyncio.timeout(40):
            await submission.wait("delivered")
        envelope = submission.shown.id
        assert envelope is not None
        item = await clients["MY"].show(envelope)
        assert MARK in str(item.alert)  # it did arrive

        broken = {**planted().body, "colour": MARK, "as_of": MARK}
        bad = request.model_copy(update={"alert": AlertBody(type="cyber", body=broken)})
        with pytest.raises(BrokerError) as caught:
            await clients["SG"].send(bad)
        assert MARK not in str(caught.value)

        for code in NODES:
            socket = str(region.home(code) / "node" / "api.sock")
            transport = httpx.AsyncHTTPTransport(uds=socket)
            headers = {"authorization": f"Bearer {region.tokens[code]}"}
            async with httpx.AsyncClient(transport=transport, headers=headers) as http:
                for path in ("/metrics", "/healthz", "/v1/status"):
                    answer = await http.get(f"http://node{path}")
                    assert MARK not in answer.text
        assert places(region.folder) == {}
        await processes.kill("MY")
        assert places(region.folder) == {}
    assert (tmp_path / "r" / "hub.log").stat().st_size > 0
    assert (tmp_path / "r" / "SG.log").stat().st_size > 0
    assert places(tmp_path / "r") == {}
