"""Profiles: one private file that says what need not be typed."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.client.errors import LocalError
from broker.client.profiles import (
    FILE_NAME,
    Profile,
    ProfileBasis,
    ProfileContact,
    Profiles,
    _toml,
    token_of,
)
from schemas.vocabulary import TLP, Purpose, Status

FULL = Profile(
    url="unix:///run/kentong/api.sock",
    token="kentong_0123456789ab_" + "A" * 43,
    ca_file="~/ca.pem",
    officer_key="~/officer.keystore",
    member="SG",
    agency="SPF",
    contact=ProfileContact(function='Duty "desk" Ω', phones=("+6562355000",)),
    legal_basis=(ProfileBasis(instrument="asean-mlat-2004", provision="art. 1\\2"),),
    purposes=(Purpose.INVESTIGATION_HISTORY, Purpose.WARN),
    language="en",
    status=Status.EXERCISE,
    tlp=TLP.AMBER,
    retention_days=365,
    to=("MY", "VN"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def test_what_was_added_is_read_again(folder: Path) -> None:
    profiles = Profiles.load(folder)
    assert profiles.names == ()
    profiles.add("case", FULL)
    profiles.add("plain", Profile(url="https://node:8443", token_file=FILE_NAME))
    again = Profiles.load(folder)
    assert again.names == ("case", "plain")
    assert again.default == "case"
    assert again.get() == FULL
    assert again.get("plain").token_file == FILE_NAME
    again.use("plain")
    assert Profiles.load(folder).get().url == "https://node:8443"
    again.remove("plain")
    assert Profiles.load(folder).names == ("case",)


def test_the_file_is_private_and_an_open_one_is_refused(folder: Path) -> None:
    Profiles.load(folder).add("case", FULL)
    path = folder / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(LocalError) as caught:
        Profiles.load(folder)
    assert caught.value.code == "too-open"


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "default = 3",
        "profile = 3",
        "[profile.a]\nurl = 3",
        "[profile.a]\nurl = 'unix:///x'\nstatus = 'actual'",
        "[profile.a]\nurl = 'unix:///x'\ntoken = 'a'\ntoken_file = 'b'",
        "[profile.a]\nurl = 'unix:///x'\nagencie = 'SPF'",
        "[other]\nx = 1",
        "[profile.a]\nurl = 2026-11-24",
        "\xff",
    ],
)
def test_a_damaged_file_is_a_local_error(folder: Path, text: str) -> None:
    path = folder / FILE_NAME
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(LocalError) as caught:
        Profiles.load(folder)
    assert caught.value.code == "bad-profile"


def test_choosing_among_none_or_unknown_ones_says_so(folder: Path) -> None:
    profiles = Profiles.load(folder)
    with pytest.raises(LocalError, match="profile add"):
        profiles.get()
    for act in (profiles.get, profiles.use, profiles.remove):
        with pytest.raises(LocalError) as caught:
            act("nobody")
        assert caught.value.code == "unknown-profile"
    with pytest.raises(ValueError, match="name"):
        profiles.add("No Name", FULL)


def test_a_token_comes_from_its_private_file(folder: Path) -> None:
    path = folder / "token"
    profile = Profile(url="unix:///x", token_file=str(path))
    with pytest.raises(LocalError) as caught:
        token_of(profile)
    assert caught.value.code == "no-token"
    path.write_text("kentong_x\n")
    path.chmod(0o644)
    with pytest.raises(LocalError):
        token_of(profile)
    path.chmod(0o600)
    assert token_of(profile) == "kentong_x"
    with pytest.raises(LocalError):
        token_of(Profile(url="unix:///x"))
    assert token_of(FULL) == FULL.token


_text = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)))


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), _text | st.lists(_text)))
def test_what_is_written_is_toml(table: dict[str, object]) -> None:
    assert tomllib.loads(f"x = {_toml(table)}")["x"] == table
