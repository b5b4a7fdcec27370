"""What a key management service needs, kept in a backup and put back for a person to look at.

Without the wrapped passphrase no key store of the backup would ever open. It comes back beside the
place where it is in force: nobody signs a backup, and the settings name a program that is run.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from broker.cli import screen
from broker.cli.text import say
from keys.directory.toml_text import toml
from keys.files import read_private, write_private
from keys.home import Home
from keys.kms import MAX_WRAPPED_BYTES, read_kms_settings

_KMS: Final = "kms/kms.toml"
_WRAPPED: Final = "kms/wrapped"


def key_service_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name in the archive and place of what gives this home's passphrase, if a service does.

    Raises:
        KeyFileError: It is missing, or open to others.
    """
    settings_file = Home(folder).kms_file
    if settings_file.exists():
        wrapped = Path(read_kms_settings(settings_file).wrapped)
        read_private(wrapped, max_bytes=MAX_WRAPPED_BYTES)
        yield from ((_KMS, settings_file), (_WRAPPED, wrapped))


def put_key_service_back(put: Path, into: Path) -> Path | None:
    """Write `restored.kms.toml` and what it names; return the former, None if there is none.

    Args:
        put: Folder of what was in the backup.
        into: Home folder that is put back.

    Raises:
        KeyFileError: It is damaged, or cannot be written.
    """
    if not (put / _KMS).exists():
        return None
    wrapped, settings_file = into / "restored.wrapped", into / "restored.kms.toml"
    found = read_kms_settings(put / _KMS).model_copy(update={"wrapped": str(wrapped)})
    write_private(wrapped, read_private(put / _WRAPPED, max_bytes=MAX_WRAPPED_BYTES))
    write_private(settings_file, toml(found.model_dump(mode="json")))
    return settings_file


def say_key_service(settings_file: Path | None) -> None:
    """Tell a person what is left to do with the settings that were put back."""
    if settings_file is not None:
        text = (
            "{file} names the program that gives the passphrase: read it, then rename it kms.toml"
        )
        screen.line(say("node-kms-put-back", text, file=settings_file))
