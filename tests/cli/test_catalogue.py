"""Every text that an officer sees can be translated: the template is in step with the code."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "broker" / "locale" / "kentong.pot"


def test_the_template_holds_every_text(tmp_path: Path) -> None:
    made = tmp_path / "made.pot"
    done = subprocess.run(  # noqa: S603 - our own tool
        [
            str(Path(sys.executable).parent / "pybabel"),
            *("-q", "extract", "-F", "broker/locale/extract.cfg"),
            *("--no-default-keywords", "-k", "say:1c,2", "-k", "phrase:1c,2"),
            *("--omit-header", "--no-location", "--sort-output", "-o", str(made)),
            *("broker/cli", "schemas/doubts.py"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert made.read_text("utf-8") == TEMPLATE.read_text("utf-8"), "run: make schemas"
    assert "warning" not in done.stderr
