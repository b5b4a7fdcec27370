"""The committed description is the one that a node serves."""

import json
import re

from broker.api.description import OUT, description


def test_the_committed_description_is_in_step() -> None:
    assert OUT.read_text("utf-8") == description(), "run: make schemas"


def test_it_names_every_way_in() -> None:
    text = description()
    for path in ("/v1/drafts", "/v1/inbox", "/v1/events", "/v1/submissions/{reference}"):
        assert f'"{path}"' in text


def test_it_refers_to_nothing_that_it_does_not_say() -> None:
    text = description()
    schemas = json.loads(text)["components"]["schemas"]
    referred = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', text))
    assert referred - schemas.keys() == set()
    assert {"DraftRequest", "Problem"} <= referred


def test_every_call_with_a_token_says_that_the_store_may_fail() -> None:
    paths = json.loads(description())["paths"]
    found = {
        f"{method} {path}": said["responses"].keys()
        for path, methods in paths.items()
        for method, said in methods.items()
        if "401" in said["responses"]
    }
    assert len(found) > 20
    assert [call for call, answers in found.items() if not {"500", "503"} <= answers] == []
