"""The committed description is the one that a node serves."""

from broker.api.description import OUT, description


def test_the_committed_description_is_in_step() -> None:
    assert OUT.read_text("utf-8") == description(), "run: make schemas"


def test_it_names_every_way_in() -> None:
    text = description()
    for path in ("/v1/drafts", "/v1/inbox", "/v1/events", "/v1/submissions/{reference}"):
        assert f'"{path}"' in text
