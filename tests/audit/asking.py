"""The auditor's commands, asked in tests as at a terminal."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from broker.cli.main import build
from tests.audit.bundles import GATEWAYS, policy_text


@dataclass(frozen=True)
class Desk:
    """Where an auditor has a policy and the gateways' keys."""

    folder: Path

    def verify(self, bundle: Path, *words: str, quorum: int | None = None) -> tuple[int, str]:
        return self.ask("verify", str(bundle), "--gateways", str(self.gateways()), *words,
                        quorum=quorum)  # fmt: skip

    def report(self, bundle: Path, *words: str) -> tuple[int, str]:
        return self.ask("report", str(bundle), "--gateways", str(self.gateways()), *words)

    def told(self, bundle: Path, *words: str, quorum: int | None = None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.verify(bundle, "--json", *words, quorum=quorum)[1])
        return found

    def ask(self, *words: str, quorum: int | None = None) -> tuple[int, str]:
        policy = self.folder / f"policy-{quorum}"
        policy.write_text(policy_text(quorum=quorum))
        asked = ["audit", *words, "--policy", str(policy)]
        result = CliRunner().invoke(build(chosen="audit"), asked)
        ended = result.exception is None or isinstance(result.exception, SystemExit)
        assert ended, result.exception
        return result.exit_code, result.output

    def gateways(self) -> Path:
        path = self.folder / "gateways"
        path.write_text(GATEWAYS)
        return path


def line_of(output: str, check: str) -> str:
    """The one line about a check."""
    lines = [line for line in output.splitlines() if line[5:].startswith(f"{check}:")]
    assert len(lines) == 1, output
    return lines[0]
