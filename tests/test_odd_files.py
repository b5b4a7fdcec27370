"""TOML and JSON that nobody would write, in every file that a person or another state hands in."""

from collections.abc import Callable
from pathlib import Path

import pytest

from broker.cli.admin.hub_status import _state
from broker.cli.admin.node_place import NodePlace
from broker.cli.form import AnswerError, Draft
from broker.client.profiles import FILE_NAME, Profiles
from broker.errors import BrokerError
from broker.hub.place import HubPlace
from broker.ledger.commit import _decode
from broker.ledger.place import LedgerPlace
from broker.policy.question import parse_cases
from keys.files import make_private_folder, write_private
from schemas.directory import RegionMembers, parse_toml_document
from schemas.errors import SchemaError
from schemas.policy import parse_policy

ODD = {
    "brackets": b"a = " + b"[" * 3000,
    "digits": b"a = " + b"9" * 5000,
    "no UTF-8": b"a = '\xff'",
    "dots": b"format = 1\n" + b"a." * 2000 + b"b = 1\n",
}
JSON = {"brackets": b"[" * 100_000, "digits": b"9" * 5000, "no UTF-8": b'"\xff"'}
Reader = Callable[[bytes, Path], object]


def _placed(folder: Path, name: str, raw: bytes) -> Path:
    make_private_folder(folder / name)
    write_private(folder / name / "config.toml", raw)
    return folder


def _profiles(raw: bytes, folder: Path) -> object:
    folder.chmod(0o700)
    write_private(folder / FILE_NAME, raw)
    return Profiles.load(folder)


def _draft(raw: bytes, folder: Path) -> object:
    (folder / "draft.json").write_bytes(raw)
    return Draft.load(folder / "draft.json")


def _hub_state(raw: bytes, folder: Path) -> object:
    make_private_folder(folder / "hub")
    place = HubPlace(folder)
    place.state_file.write_bytes(raw)
    assert _state(place) == {}
    raise BrokerError("nothing", "it counts as no state at all")


TOML_READERS: dict[str, Reader] = {
    "policy": lambda raw, _: parse_policy(raw),
    "document": lambda raw, _: parse_toml_document(RegionMembers, raw),
    "cases": lambda raw, _: parse_cases(raw),
    "profiles": _profiles,
    "hub": lambda raw, folder: HubPlace(_placed(folder, "hub", raw)).config(),
    "node": lambda raw, folder: NodePlace(_placed(folder, "node", raw)).config(),
    "log": lambda raw, folder: LedgerPlace(_placed(folder, "log", raw)).config(),
}
JSON_READERS: dict[str, Reader] = {
    "draft": _draft,
    "hub's state": _hub_state,
    "staged": lambda raw, _: _decode(raw),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", TOML_READERS)
def test_odd_toml_is_refused_with_an_error_of_ours(tmp_path: Path, name: str, odd: str) -> None:
    with pytest.raises((BrokerError, SchemaError)):
        TOML_READERS[name](ODD[odd], tmp_path)


@pytest.mark.parametrize("odd", JSON)
@pytest.mark.parametrize("name", JSON_READERS)
def test_odd_json_is_refused_with_an_error_of_ours(tmp_path: Path, name: str, odd: str) -> None:
    with pytest.raises((BrokerError, AnswerError)):
        JSON_READERS[name](JSON[odd], tmp_path)
