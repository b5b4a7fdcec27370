"""Whoever refuses has words for it, and officers who read another language have theirs."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import typer
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo

from broker.admission.codes import RETRY
from broker.cli import doctor, text
from broker.cli.errors import sentence
from broker.cli.helptexts import CONTEXT, translate
from broker.cli.main import build
from broker.cli.reasons import REASONS
from broker.cli.words import reason
from broker.envelope.errors import CODES
from broker.errors import BrokerError
from schemas.doubts import WORDS

ADMISSION = Path(__file__).parents[2] / "broker" / "admission"
POLICY = {
    f"policy-{stage}-{why}"
    for stage in ("export", "agreement", "import")
    for why in ("forbid", "default", "unknown-name")
}


def refusals() -> set[str]:
    """Every code with which the gateway's rules refuse, as the source has them."""
    sources = "".join(path.read_text("utf-8") for path in ADMISSION.glob("*.py"))
    pattern = r'(?:RefusedWhole|NotNow|_refuse|Refusal)\(\s*"([a-z0-9-]+)"'
    return set(re.findall(pattern, sources))


def test_every_code_has_its_sentence() -> None:
    codes = {*CODES, *RETRY, *POLICY, *refusals()}
    assert len(codes) > 60
    missing = sorted(code for code in codes if f"reason-{code}" not in REASONS)
    assert not missing, missing
    for code in codes:
        assert " " in reason(code)
        assert len(reason(code)) <= 78


def test_a_code_of_tomorrow_is_shown_as_it_is() -> None:
    assert reason("something-new") == "something-new"


@pytest.fixture
def malay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue with one text, as a ministry would bring it."""
    catalogue = Catalog(locale="ms", domain=text.DOMAIN)
    catalogue.add("the hub is busy; the node sends it later", "hab sibuk", context="reason-busy")
    catalogue.add("Only this type; repeat.", "Jenis ini sahaja.", context=CONTEXT)
    catalogue.add("WRONG", "SALAH", context="finding-wrong")
    catalogue.add("home", "rumah", context="doctor-home")
    catalogue.add("the home folder cannot be used", "tiada folder", context="error-no-home")
    catalogue.add("Send an alert.", "Hantar amaran.", context=CONTEXT)
    folder = tmp_path / "ms" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    with (folder / f"{text.DOMAIN}.mo").open("wb") as file:
        write_mo(file, catalogue)
    monkeypatch.setattr(text, "CATALOGUES", tmp_path)
    monkeypatch.setattr(text, "language", lambda: "ms")
    text._catalogue.cache_clear()


@pytest.mark.usefixtures("malay")
def test_another_language_is_spoken_and_english_fills_the_gaps() -> None:
    try:
        assert reason("busy") == "hab sibuk"
        assert reason("own-member") == "nobody sends to itself"
        said = sentence(BrokerError("busy", "the node is busy"))
        assert said == "hab sibuk (the node is busy)"  # whoever is called reads English
    finally:
        text._catalogue.cache_clear()


def test_every_doubt_has_its_words() -> None:
    sources = (ADMISSION.parents[1] / "schemas").rglob("*.py")
    bodies = re.findall(
        r"def doubts\(self\).*?(?=\n\n|\Z)",
        "\n\n".join(p.read_text("utf-8") for p in sources),
        re.DOTALL,
    )
    codes = set(re.findall(r'\("([a-z-]+)",\)', "".join(bodies)))
    assert {f"doubt-{code}" for code in codes} == set(WORDS)


@pytest.mark.usefixtures("malay")
def test_help_is_in_the_officers_language_too() -> None:
    try:
        shown = {name: words_of_help(name) for name in ("inbox", "")}
    finally:
        text._catalogue.cache_clear()
    assert "Jenis ini sahaja." in shown["inbox"]
    assert "Only this type" not in shown["inbox"]
    assert "At most so many." in shown["inbox"]
    assert "Hantar amaran." in shown[""]


@pytest.mark.usefixtures("malay")
def test_the_doctor_speaks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "home", lambda: tmp_path / "nowhere")
    try:
        with pytest.raises(typer.Exit):
            doctor.command()
    finally:
        text._catalogue.cache_clear()
    line = next(each for each in capsys.readouterr().out.splitlines() if "no-home" in each)
    assert line.startswith("rumah")
    assert "SALAH" in line
    assert "tiada folder" in line


def words_of_help(name: str) -> str:
    """The help of a command, or of `kentong` itself, as it is printed."""
    words = [name, "--help"] if name else ["--help"]
    command = typer.main.get_command(build(chosen=name))
    translate(command)
    printed = StringIO()
    with redirect_stdout(printed), pytest.raises(SystemExit):
        command(words)
    return printed.getvalue()
