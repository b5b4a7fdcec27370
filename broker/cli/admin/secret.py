"""Where an administrator's command gets the passphrase of a key store and the PIN of a token."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from broker.cli.admin import options
from broker.cli.text import say
from broker.settings import home, settings, supervisors_credential
from keys.directory.signers import PIN
from keys.errors import KeyFileError
from keys.home import Home
from keys.kms import read_kms_settings, unwrapped_passphrase
from keys.passphrase import check_passphrase, read_given_passphrase, read_passphrase
from keys.token import TokenKey, token_key
from keys.tokenuri import TokenURI, parse_token_uri

CREDENTIAL: Final = "passphrase"  # its name in LoadCredential=
PIN_CREDENTIAL: Final = "pkcs11-pin"  # likewise
AsJSON: TypeAlias = options.AsJSON
PassphraseFile: TypeAlias = options.PassphraseFile

TokenOption = Annotated[
    str,
    typer.Option(
        "--pkcs11", metavar="URI", help="A key in a hardware token: pkcs11:token=...;object=..."
    ),
]
MinistryTokenOption = Annotated[
    str,
    typer.Option("--ministry-pkcs11", metavar="URI", help="Likewise the ministry's directory key."),
]


def passphrase(file: Path | None) -> bytes:
    """Return the passphrase from `file`, the environment's file, systemd, a KMS, or the person.

    Raises:
        KeyFileError: There is none, or it is empty; or the KMS does not give it.
    """
    if (found := _from_no_person(file)) is not None:
        return found
    if not sys.stdin.isatty():
        raise KeyFileError(
            "no-passphrase", "name a file with the passphrase: --passphrase-file FILE"
        )
    typed = typer.prompt(say("ask-passphrase", "Passphrase of the key store"), hide_input=True)
    given = str(typed).encode()
    check_passphrase(given)
    return given


def shared_passphrase(file: Path | None) -> bytes:
    """Return the passphrase as `passphrase` does, for a command whose children need it as well.

    They cannot ask: they have no terminal of their own, and start again at any hour.

    Raises:
        KeyFileError: As `passphrase`; `no-passphrase` too where a person would be asked.
    """
    if (found := _from_no_person(file)) is None:
        raise KeyFileError(
            "no-passphrase",
            "the processes that this command starts need the passphrase too, and cannot ask for"
            " it: --passphrase-file FILE",
        )
    return found


def children_environment(file: Path | None) -> Mapping[str, str] | None:
    """Return the environment in which a child finds the passphrase of `file`; None for ours."""
    if file is None:
        return None
    chosen = {"KENTONG_PASSPHRASE_FILE": str(file.expanduser().absolute())}
    return {**os.environ, **chosen}  # noqa: TID251 - handed on to children, not read


def pin() -> bytes:
    """Return the PIN of the token, from the environment's file, systemd, or the person.

    Raises:
        KeyFileError: `no-pin`, or the file is missing or open to others.
    """
    if (chosen := settings().pkcs11_pin_file) is not None:
        return read_passphrase(chosen.expanduser())
    if (given_file := supervisors_credential(PIN_CREDENTIAL)) is not None:
        return read_given_passphrase(given_file)
    if not sys.stdin.isatty():
        raise KeyFileError(
            "no-pin",
            "name a file with the token's PIN: KENTONG_PKCS11_PIN_FILE=FILE, pin-source=file:FILE"
            " in the key's URI, or systemd's credential pkcs11-pin",
        )
    typed = str(typer.prompt(say("ask-pin", "PIN of the token"), hide_input=True)).encode()
    check_passphrase(typed)
    return typed


def place_of_key(uri: str) -> TokenURI:
    """Return which key of which token a person named.

    Raises:
        KeyFileError: `bad-token-uri`.
    """
    return parse_token_uri(uri).with_module(settings().pkcs11_module)


def named_key(uri: str) -> TokenKey | None:
    """Return the key of a token that a command's option names; None if it names none.

    Raises:
        KeyFileError: `bad-token-uri`, `no-pin`, or as `keys.token.token_key`.
    """
    return token_key(place_of_key(uri), pin) if uri else None


def answers(given: bytes | Path | None) -> Callable[[str], bytes]:
    """Return what answers a signer that asks for its passphrase, or for the PIN of its token.

    Args:
        given: The passphrase, if it was asked for already; else its file, as `passphrase` has it.
    """

    def answer(name: str) -> bytes:
        if name == PIN:
            return pin()
        return given if isinstance(given, bytes) else passphrase(given)

    return answer


def _from_no_person(file: Path | None) -> bytes | None:
    chosen = file or settings().passphrase_file
    if chosen is not None:
        return read_passphrase(chosen.expanduser())
    if (given_file := supervisors_credential(CREDENTIAL)) is not None:
        return read_given_passphrase(given_file)
    if (kms := Home(home()).kms_file).exists():
        return unwrapped_passphrase(read_kms_settings(kms))
    return None
