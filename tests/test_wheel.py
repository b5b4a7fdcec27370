"""What is installed: three packages and nothing else, and no other project's under their names."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    built = subprocess.run(  # noqa: S603 - our own
        command, cwd=ROOT, capture_output=True, check=False, timeout=120
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_its_top_level_names_are_exactly_these(wheel: zipfile.ZipFile) -> None:
    names = {name.split("/")[0] for name in wheel.namelist()}
    (info,) = (name for name in names if name.endswith(".dist-info"))
    assert names - {info} == {"broker", "schemas", "keys"}
    assert info.startswith("kentong-")


def test_what_is_not_python_is_in_it_too(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {f"broker/cli/demo/policies/{code}.toml" for code in ("agreement", "SG", "TL")} <= names
    assert "broker/locale/kentong.pot" in names
    steps = ("broker/store/migrations/node", "broker/ledger/migrations")
    assert {
        "broker/store/migrations/env.py",
        *(f"{each}/r0001_first.py" for each in steps),
    } <= names
    assert not [name for name in names if name.endswith(".pyc") or "/tests/" in name]


def start(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,  # noqa: TID251 - handed on to a child
        "PYTHONPATH": str(folder),
        "KENTONG_HOME": str(folder / "home"),
    }
    return subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", ["schemas", "keys"])
def test_another_projects_package_under_our_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    done = start(tmp_path, "import broker")
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert f"'{name}' is not Kentong's" in done.stderr
    assert "virtual environment of its own" in done.stderr


def test_the_doctor_finds_a_package_that_another_distribution_brought_too(tmp_path: Path) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("schemas\n")
    (info / "RECORD").write_text("schemas/__init__.py,,\n")
    code = "import sys; sys.argv[1:] = ['doctor', '--json']; from broker.cli import main; main()"
    done = start(tmp_path, code)
    assert done.returncode == 1
    assert "package-overwritten" in done.stdout
    assert "other" in done.stdout
