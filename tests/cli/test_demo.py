"""The demonstration told about a given document, kept running, and taken away."""

import asyncio
import json
import re
import secrets
import shlex
from pathlib import Path

import pexpect
import pytest

from broker.cli.demo.hubview import MAX_PHRASE, phrases_of, search
from broker.importers.marking import UNMARKED
from tests.support.officers import COMMAND, heed_interrupts

DESCRIPTION = (
    "Fictional couriers of the Silver Kingfisher pay in gift cards bought at night markets."
)
BUNDLE = {
    "type": "bundle",
    "id": "bundle--11111111-0000-4000-8000-000000000001",
    "objects": [
        {
            "type": "campaign",
            "id": "campaign--11111111-0000-4000-8000-000000000002",
            "name": "Silver Kingfisher",
            "description": DESCRIPTION,
        }
    ],
}


def test_texts_are_looked_for_where_the_hub_stores(tmp_path: Path) -> None:
    body = {"title": "Silver Kingfisher", "texts": [{"value": DESCRIPTION}], "contact": DESCRIPTION}
    phrases = phrases_of(body)
    assert phrases == (DESCRIPTION[:MAX_PHRASE],)  # short ones are found anywhere, ours are none
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "1.blk").write_bytes(secrets.token_bytes(999))
    assert search(tmp_path, phrases) == (999, ())
    (tmp_path / "deep" / "2.blk").write_bytes(b"\0" + DESCRIPTION.encode() + b"\xff")
    assert search(tmp_path, phrases)[1] == phrases


def told_and_kept(source: Path) -> tuple[str, list[str]]:
    """The story, and what a command that it prints answers; then Ctrl-C."""
    words = [*COMMAND[1:], "demo", "--from", str(source), "--keep"]
    demo = pexpect.spawn(
        COMMAND[0],
        words,
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=450,
        preexec_fn=heed_interrupts,
    )
    demo.expect("Ctrl-C stops it")
    story = str(demo.before)
    inbox = next(line for line in story.splitlines() if line.endswith(" inbox"))
    home = shlex.split(inbox)[2]
    answer, end = pexpect.run(
        shlex.join([*COMMAND, "--home", home, "inbox", "--type", "cyber", "--json"]),
        withexitstatus=True,
        timeout=60,
        encoding="utf-8",
    )
    assert end == 0, answer
    demo.sendintr()
    demo.expect(pexpect.EOF)
    demo.close()
    assert demo.exitstatus == 130
    assert not Path(home).parent.exists()
    titles = [str(item["alert"]["title"]) for item in json.loads(answer)["items"]]
    return story, titles


@pytest.mark.processes
@pytest.mark.timeout(600)
async def test_a_given_document_is_told_and_found_in_no_file_of_the_hub(tmp_path: Path) -> None:
    source = tmp_path / "kingfisher.json"
    source.write_text(json.dumps(BUNDLE))
    story, titles = await asyncio.to_thread(told_and_kept, source)
    text = " ".join(story.split())
    assert f"Malaysia reads: 'Silver Kingfisher', TLP {UNMARKED.upper()}" in text
    assert "Malaysia reads: 'seized: methamphetamine'" in text
    labels = re.findall(r"SG/SPF, EXERCISE, (cyber|drugs), priority, TLP AMBER", text)
    assert set(labels) == {"cyber", "drugs"}
    assert re.search(r"Searched [0-9,]+ KiB of the hub's disk for [0-9]+ texts", text)
    assert DESCRIPTION not in text
    assert len(re.findall(r"ALARM log-broken", text)) == 3
    assert "FAIL tiles" in text
    assert "exit 1" in text
    assert "Silver Kingfisher" in titles
