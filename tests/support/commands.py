"""Commands run to their end on a machine of a test's region, as an administrator runs them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker.cli.demo.region import LOG2N


@dataclass(frozen=True)
class Machine:
    """One machine: its home folder, a file of its passphrase, and more of an environment."""

    home: Path
    passphrase_file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run one command; it must end by itself."""
        environment = {
            **os.environ,  # noqa: TID251 - handed on to a child
            "KENTONG_HOME": str(self.home),
            "KENTONG_SCRYPT_LOG2N": str(LOG2N),
            **self.environment,
        }
        environment.pop("KENTONG_PASSPHRASE_FILE", None)
        if self.passphrase_file is not None:
            environment["KENTONG_PASSPHRASE_FILE"] = str(self.passphrase_file)
        return subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-c", "from broker.cli import main; main()", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def good(self, *words: str) -> str:
        """What a command prints that must succeed."""
        done = self.run(*words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def refused(self, *words: str) -> tuple[str, str]:
        """The code with which a command is refused, and all that it says."""
        done = self.run(*words)
        assert done.returncode != 0, (words, done.stdout)
        return done.stderr.rpartition("[")[2].rstrip("]\n"), done.stderr
