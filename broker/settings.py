"""What the environment may say. Everything else is a file or an option."""

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The variables named KENTONG_..., read once.

    Attributes:
        home: Where this machine keeps its keys and databases.
        profile: Which desk profile a command uses.
        passphrase_file: File whose first line opens the key stores.
        database_password_file: File whose first line is the password of a database in PostgreSQL.
        pkcs11_pin_file: File whose first line is the PIN of the hardware token.
        pkcs11_module: The token's library, for commands whose URI of a key names none.
        scrypt_log2n: Cost of new key stores, log2 of scrypt's n. 15 is for small machines and
            demonstrations, which say so.
        language: Language of the officer's texts; empty means the locale's.
        log_level: Least severe level that is written.
        trial_time_s: Most seconds for judging a suspicious submission in a child process.
        trial_memory_mib: Most address space of that child.
    """

    model_config = SettingsConfigDict(env_prefix="KENTONG_", extra="ignore")

    home: Path | None = None
    profile: str = ""
    passphrase_file: Path | None = None
    database_password_file: Path | None = None
    pkcs11_pin_file: Path | None = None
    pkcs11_module: str = ""
    scrypt_log2n: Annotated[int, Field(ge=15, le=20)] = 17
    language: str = ""
    log_level: str = "info"
    trial_time_s: Annotated[int, Field(ge=1, le=300)] = 10
    trial_memory_mib: Annotated[int, Field(ge=64, le=65536)] = 1024


class _Supervisor(BaseSettings):
    credentials_directory: Path | None = None  # systemd.exec(5), LoadCredential=


class _XDG(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="XDG_", extra="ignore")

    data_home: Path | None = None


_overrides: dict[str, Any] = {}  # Owned by the command line's main(), set once before any use.


def override_settings(*, home: Path | None, profile: str) -> None:
    """Let the command line's options stand above the environment."""
    if home is not None:
        _overrides["home"] = home
    if profile:
        _overrides["profile"] = profile
    settings.cache_clear()


@cache
def settings() -> Settings:
    """Return the settings of this process."""
    return Settings(**_overrides)


def supervisors_credential(name: str) -> Path | None:
    """Return the file of a credential that systemd handed to this process, if it did."""
    folder = _Supervisor().credentials_directory
    if folder is None or not (folder / name).is_file():
        return None
    return folder / name


def variables(prefix: str) -> list[str]:
    """Return the names of this process's variables that begin so: what a library would read."""
    return sorted(name for name in os.environ if name.startswith(prefix))  # noqa: TID251 - here


def home(given: Path | None = None) -> Path:
    """Return the home folder: the one given, else KENTONG_HOME, else the XDG data folder."""
    chosen = given or settings().home
    if chosen is not None:
        return chosen.expanduser().absolute()
    return (_XDG().data_home or Path.home() / ".local" / "share") / "kentong"
