"""Hardware tokens in software: real SoftHSM tokens, in a test's folder."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

PROGRAM: Final = shutil.which("softhsm2-util")
PLACES: Final = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"),
)
MODULE: Final = next((path for path in PLACES if path.is_file()), None)
PIN: Final = "24681357"
needs_softhsm: Final = pytest.mark.skipif(
    PROGRAM is None or MODULE is None, reason="softhsm2 of Debian's packages is not installed"
)


@dataclass(frozen=True)
class SoftTokens:
    """Tokens of one machine, as a process of it sees them."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *labels: str) -> "SoftTokens":
        """Initialise a token for each label, all under `PIN`."""
        tokens = cls(folder)
        tokens.store.mkdir(parents=True)
        tokens.settings.write_text(
            f"directories.tokendir = {tokens.store}\n"
            "objectstore.backend = file\nlog.level = ERROR\n"
        )
        tokens.pin_file.parent.mkdir(mode=0o700)
        tokens.offer(PIN)
        for label in labels:
            words = ("--init-token", "--free", "--label", label, "--so-pin", "1357", "--pin", PIN)
            subprocess.run(  # noqa: S603 - a program of the machine
                [str(PROGRAM), *words],
                env={**tokens.environment, "PATH": "/usr/bin:/bin"},
                check=True,
                capture_output=True,
                timeout=60,
            )
        return tokens

    @property
    def store(self) -> Path:
        return self.folder / "tokens"

    @property
    def settings(self) -> Path:
        return self.folder / "softhsm2.conf"

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin" / "pin"

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs in order to see these tokens and to open them."""
        return {
            "SOFTHSM2_CONF": str(self.settings),
            "KENTONG_PKCS11_PIN_FILE": str(self.pin_file),
            "KENTONG_PKCS11_MODULE": str(MODULE),
        }

    def offer(self, pin: str) -> None:
        """Put this PIN into the file that processes read."""
        self.pin_file.write_text(f"{pin}\n")
        self.pin_file.chmod(0o600)

    def unplug(self) -> None:
        """Take the tokens away."""
        self.store.rename(self.folder / "drawer")

    def plug_in(self) -> None:
        """Put them back."""
        (self.folder / "drawer").rename(self.store)

    @staticmethod
    def uri(label: str, key: str) -> str:
        """How a person names a key."""
        return f"pkcs11:token={label};object={key}"
