"""`kentong auditors`: the key to which decisions are sealed, made offline and held in shares."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.cli import screen
from broker.cli.admin.changes import read_file
from broker.cli.admin.secret import PassphraseFile, passphrase
from broker.cli.desk import AsJSON
from broker.cli.text import say
from broker.errors import BrokerError
from broker.settings import settings
from keys.auditors import MAX_FILE_BYTES, joined_key, parse_auditors, share_new_key
from keys.files import make_private_folder, write_private
from keys.keystore import Entry, KeyStore
from keys.passphrase import check_passphrase, read_passphrase

PUBLIC: Final = "auditors.json"
SHARE: Final = "auditors/share"
KEY: Final = "auditors/key"
Passphrases = Annotated[
    Path | None,
    typer.Option(
        help="Folder with a file for each member, named like it, whose first line opens its share;"
        " else each is asked in turn."
    ),
]
app = typer.Typer(no_args_is_help=True)


@app.callback()
def auditors() -> None:
    """Make and join the key that opens decisions, on a machine without a network."""


@app.command()
def init(
    members: Annotated[list[str], typer.Argument(help="Who gets a share.")],
    threshold: Annotated[int, typer.Option(help="How many of them open together.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    passphrases: Passphrases = None,
    as_json: AsJSON = False,
) -> None:
    """Make a key and cut it into shares; the key itself is kept nowhere.

    Each member takes its own file home, and none of the others.

    Example: kentong auditors init --threshold 3 --out auditors SG MY VN TH
    """
    if out.exists():
        raise BrokerError("exists", f"{out} exists already")
    secrets = {member: _secret_of(member, passphrases, new=True) for member in members}
    shared = share_new_key(members, threshold=threshold)
    make_private_folder(out)
    for member, share in shared.shares.items():
        facts = {"holder": member, "key": shared.file.kid.hex()}
        KeyStore.create(
            _store(out, member),
            secrets[member],
            {SHARE: Entry("share", share, facts)},
            log2n=settings().scrypt_log2n,
        )
    public = out / PUBLIC
    write_private(public, shared.file.to_bytes())
    if as_json:
        screen.as_json(
            "auditors-init", file=str(public), key=shared.file.kid.hex(), threshold=threshold
        )
        return
    screen.line(
        say(
            "auditors-made",
            "Any {threshold} of {count} shares in {folder} open decisions. Give each member its"
            " own, then empty this folder.",
            threshold=threshold,
            count=len(members),
            folder=out,
        )
    )
    screen.line(
        say(
            "auditors-made-next",
            "Next: kentong directory propose --auditors {file} --out auditors-key.json",
            file=public,
        )
    )


@app.command()
def combine(
    shares: Annotated[list[Path], typer.Argument(help="Shares, one file for each member.")],
    public: Annotated[
        Path, typer.Option("--public", help="auditors.json, as the region has it; not a holder's.")
    ],
    out: Annotated[Path, typer.Option(help="Key store to make, in a private folder.")],
    passphrases: Passphrases = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJSON = False,
) -> None:
    """Join shares to the auditors' private key. Destroy its file when the audit is over.

    Example: kentong auditors combine SG.keystore VN.keystore --public auditors.json --out a.key
    """
    file = parse_auditors(read_file(public, MAX_FILE_BYTES))
    key = joined_key(file, _opened(shares, passphrases))
    entry = Entry("suite-1", key.secret(), {"kid": file.kid.hex()})
    KeyStore.create(out, passphrase(passphrase_file), {KEY: entry}, log2n=settings().scrypt_log2n)
    if as_json:
        screen.as_json("auditors-combine", file=str(out), key=file.kid.hex())
        return
    screen.line(
        say(
            "auditors-joined",
            "The key is in {file}. Next: kentong audit open OPENINGS BUNDLE --key {file}",
            file=out,
        )
    )


def _opened(shares: list[Path], passphrases: Path | None) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for path in shares:
        entry = KeyStore.open(path, _secret_of(path.stem, passphrases, new=False)).get(
            SHARE, "share"
        )
        found[entry.facts.get("holder", path.stem)] = entry.secret
    return found


def _store(folder: Path, member: str) -> Path:
    return folder / f"{member}.keystore"


def _secret_of(member: str, passphrases: Path | None, *, new: bool) -> bytes:
    """Return a holder's own passphrase: from its file, or typed by the holder."""
    if passphrases is not None:
        return read_passphrase(passphrases / member)
    text = say("ask-share-passphrase", "{member}: passphrase of your share", member=member)
    given = str(typer.prompt(text, hide_input=True, confirmation_prompt=new)).encode()
    check_passphrase(given)
    return given
