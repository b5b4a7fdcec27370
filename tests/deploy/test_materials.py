"""The bill of materials names every locked package by hash; the audit never passes in silence."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.deploy.programs import DEPLOY, ran
from tests.deploy.test_containers import locked

LOCK = DEPLOY / "requirements.lock"
BUILD_LOCK = DEPLOY / "build.lock"


def test_every_locked_package_stands_in_the_bill_with_its_hashes(tmp_path: Path) -> None:
    outs = [tmp_path / "a.json", tmp_path / "b.json"]
    for out in outs:
        code, said = ran([sys.executable, "sbom.py", str(out)])
        assert code == 0, said
    assert outs[0].read_bytes() == outs[1].read_bytes()
    bill = json.loads(outs[0].read_text("utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    shown = {
        part["name"]: (
            part["version"],
            frozenset(f"sha256:{digest['content']}" for digest in part["hashes"]),
        )
        for part in bill["components"]
    }
    tools = {part["name"] for part in bill["components"] if part["scope"] == "excluded"}
    assert shown == {**locked(BUILD_LOCK), **locked(LOCK)}
    assert tools == set(locked(BUILD_LOCK)) - set(locked(LOCK))
    references = {part["bom-ref"] for part in bill["components"]}
    assert len(references) == len(bill["components"])
    held = {part["bom-ref"] for part in bill["components"] if part["name"] not in tools}
    assert set(bill["dependencies"][0]["dependsOn"]) == held


@contextmanager
def database(weak: str, instead: bytes | None = None) -> Iterator[str]:
    """Answers as OSV does: one result for each question, in order; or with something else."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = [each["package"]["purl"] for each in json.loads(body)["queries"]]
            results = [
                {"vulns": [{"id": "TEST-1"}]} if weak and weak in purl else {} for purl in asked
            ]
            self.send_response(200)
            self.end_headers()
            told = json.dumps({"results": results}).encode()
            self.wfile.write(told if instead is None else instead)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("weak", "code"), [("", 0), ("/cryptography@", 1), ("/hatchling@", 1)])
def test_a_known_weakness_fails_the_audit(weak: str, code: int) -> None:
    with database(weak) as url:
        ended, said = ran([sys.executable, "audit.py", url])
    assert ended == code, said
    assert ("TEST-1" in said) == bool(weak)
    assert "packages" in said


def test_a_database_out_of_reach_is_said() -> None:
    code, said = ran([sys.executable, "audit.py", "http://127.0.0.1:1/"])
    assert code == 0
    assert said.startswith("SKIP: dependency audit: ")


@pytest.mark.parametrize(
    "instead",
    [
        b"<html>Please sign in</html>",
        b"",
        b"[]",
        b"{}",
        b'{"results": []}',
        b'{"results": null}',
        b'{"results": {}}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_something_else_in_the_databases_place_is_said(instead: bytes) -> None:
    with database("", instead) as url:
        code, said = ran([sys.executable, "audit.py", url])
    assert code == 0, said
    assert said == f"SKIP: dependency audit: {url}: what answers is not the database\n"
