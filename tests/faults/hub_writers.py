"""Writers of the hub's own small files, of its keys, and of a hub that is put back or mended."""

import shutil
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from broker import clock
from broker.cli.admin import hub_backup, hub_mend, hub_restore
from broker.gateway.boots import Run, _Runs, read_runs
from broker.hub.broker_keys import (
    broker_keys_wait,
    take_up_broker_keys,
    with_next_broker_keys,
)
from broker.hub.erased import note_erased, read_erased
from broker.hub.founding import init_hub
from broker.hub.memory import Known, StreamMemory, read_memory, write_memory
from broker.hub.place import AUTHORITY, GATEWAY_STORE, HUB_STORE, HubPlace
from broker.hub.recordkeys import rotate
from broker.hub.rekeying import (
    give_up_next_authority,
    take_up_authority,
    with_next_authority,
)
from broker.hub.settings import SMALL, HubConfig
from broker.hub.timekeeping import believe, read_time
from broker.settings import override_settings
from broker.store.digested import write_digested
from broker.store.scratch import remove_unused
from broker.transport.accounts import public_nkey
from keys.files import make_private_folder
from keys.home import Home
from keys.keystore import FLOOR_LOG2N, KeyStore
from keys.primitives.hashing import sha256
from schemas.directory import HubDocument
from tests.faults.writer import Writer, nothing
from tests.support.directory import found as found_region
from tests.support.region import NOW

PASSPHRASE = b"correct horse battery staple"
LATER = NOW + timedelta(days=1)
STREAM = "AUDIT_2026"
_MEMORY = StreamMemory(streams={STREAM: Known(created="2026-11-01", last_seq=7)})


# --- small files ---


def _keep_place(folder: Path) -> None:
    make_private_folder(folder / "runs")
    run = Run(boot="0" * 16, low=7, after={STREAM: 12})
    write_digested(folder / "runs" / "gateway-1.json", _Runs(runs=(run,)))


def _make_erased(folder: Path) -> None:
    note_erased(folder / "erased.json", STREAM, [3])


def _is_noted(folder: Path) -> bool:
    found = read_erased(folder / "erased.json")
    assert found.count(STREAM) in {1, 2}
    return found.count(STREAM) == 2


# --- keys ---


def _place(folder: Path) -> HubPlace:
    return HubPlace(folder / "home")


def _make_hub(folder: Path) -> HubDocument:
    place = _place(folder)
    make_private_folder(place.home)
    config = HubConfig(store=SMALL)
    return init_hub(place.home, PASSPHRASE, config, now=NOW, log2n=FLOOR_LOG2N)


def _documents(folder: Path) -> HubDocument:
    """What the hub's document was at first, or is once the change is published."""
    return HubDocument.model_validate_json((folder / "document.json").read_bytes())


def _note_document(folder: Path, document: HubDocument) -> None:
    (folder / "document.json").write_text(document.model_dump_json())


def _make_authority(folder: Path) -> None:
    _note_document(folder, _make_hub(folder))


def _begin_authority(folder: Path) -> None:
    """As `kentong hub rekey --authority --again` does it."""
    give_up_next_authority(_place(folder), PASSPHRASE)
    with_next_authority(_place(folder), PASSPHRASE, _documents(folder), now=LATER)


def _has_next_authority(folder: Path) -> bool:
    """The one in force is whole; the next one has its key, once its certificate is there."""
    place = _place(folder)
    store = KeyStore.open(place.keys / HUB_STORE, PASSPHRASE)
    assert _belong(place.authority_file, store, AUTHORITY)
    if not place.next_authority_file.exists():
        return False
    return _belong(place.next_authority_file, store, f"next/{AUTHORITY}")


def _belong(certificate: Path, store: KeyStore, name: str) -> bool:
    key = load_pem_private_key(store.get(name, "pem").secret, None)
    return key.public_key() == load_pem_x509_certificate(certificate.read_bytes()).public_key()


def _make_next_authority(folder: Path) -> None:
    place, document = _place(folder), _make_hub(folder)
    _note_document(folder, with_next_authority(place, PASSPHRASE, document, now=LATER))


def _take_up_authority(folder: Path) -> None:
    assert take_up_authority(_place(folder), PASSPHRASE, _documents(folder))


def _has_taken_up_authority(folder: Path) -> bool:
    """Key and certificate belong together, or the next start makes them so."""
    place = _place(folder)
    store = KeyStore.open(place.keys / HUB_STORE, PASSPHRASE)
    if not place.next_authority_file.exists():
        assert place.authority_pem() == _documents(folder).tls_ca_pem
        assert f"next/{AUTHORITY}" not in store.entries
        return _belong(place.authority_file, store, AUTHORITY)
    assert place.next_authority_file.read_text() == _documents(folder).tls_ca_pem
    waits = f"next/{AUTHORITY}" in store.entries
    held = place.authority_file if waits else place.next_authority_file
    assert _belong(held, store, AUTHORITY)
    return False


def _streams(folder: Path) -> Path:
    place = _place(folder)
    return place.server(place.config()).store / "jetstream"


def _make_next_broker_keys(folder: Path) -> None:
    """Streams of the hub's account, and other keys that the directory names by now."""
    place, document = _place(folder), _make_hub(folder)
    old = _streams(folder) / public_nkey("account", document.account_key) / "streams"
    old.mkdir(parents=True)
    (old / "message").write_bytes(b"kept")
    (place.server(place.config()).folder / "accounts").mkdir()
    changed = with_next_broker_keys(place, place.config(), PASSPHRASE, document)
    _note_document(folder, changed)


def _take_up_broker_keys(folder: Path) -> None:
    place, document = _place(folder), _documents(folder)
    assert take_up_broker_keys(place, place.config(), PASSPHRASE, document, now=LATER)


def _has_taken_up_broker_keys(folder: Path) -> bool:
    """The streams are there once, and with the new keys in force they are the new account's."""
    place, document = _place(folder), _documents(folder)
    (kept,) = _streams(folder).glob("*/streams/message")
    assert kept.read_bytes() == b"kept"
    waits = broker_keys_wait(place, PASSPHRASE, document)
    account = place.open_hub(PASSPHRASE).keys.account.public.raw
    assert waits == (account != document.account_key)
    mine = public_nkey("account", document.account_key)
    assert waits or kept.parents[1].name == mine
    return not waits


def _rotate(folder: Path) -> None:
    rotate(_place(folder).keys / GATEWAY_STORE, PASSPHRASE, now=LATER)


def _has_rotated(folder: Path) -> bool:
    """What was sealed before still opens, whichever key seals now."""
    held = _place(folder).open_records(PASSPHRASE)._held
    return bool(held.older)


# --- a whole hub ---


def _make_backup(folder: Path) -> None:
    """A hub with a directory and a file of each kind, in a backup that the command wrote."""
    region = found_region(folder / "region")
    home = region.folder / "hub"
    HubPlace(home).folder.chmod(0o700)
    init_hub(home, PASSPHRASE, HubConfig(store=SMALL), now=NOW, log2n=FLOOR_LOG2N)
    Home(home).pin_root(region.founded.root)
    write_memory(HubPlace(home).memory_file, _MEMORY)
    override_settings(home=home, profile="")
    hub_backup.backup(folder / "hub.tar", as_json=True)
    (folder / "whole").write_text(_listed(home / "hub"))
    shutil.rmtree(region.folder)
    make_private_folder(folder / "home")


def _put_back(folder: Path) -> None:
    override_settings(home=folder / "home", profile="")
    hub_restore.restore(folder / "hub.tar", as_json=True)


def _is_put_back(folder: Path) -> bool:
    """All of the hub is there, or nothing that a start would take for one."""
    place = _place(folder)
    remove_unused(place.home)  # as a start does
    if not place.folder.exists():
        return False
    assert _listed(place.folder) == (folder / "whole").read_text()
    return Home(place.home).root_file.exists()


def _listed(folder: Path) -> str:
    """Every file of a folder with its hash, but for those that are only there to be locked."""
    files = (each for each in sorted(folder.rglob("*")) if each.is_file())
    return "\n".join(
        f"{each.relative_to(folder)} {sha256(each.read_bytes()).hex()}"
        for each in files
        if each.suffix != ".lock" and each.name != ".lock"
    )


def _make_damaged(folder: Path) -> None:
    place = _place(folder)
    make_private_folder(place.folder)
    write_memory(place.memory_file, _MEMORY)
    raw = place.memory_file.read_bytes()
    (folder / "damaged").write_bytes(raw.replace(b"7", b"8"))
    place.memory_file.write_bytes(raw.replace(b"7", b"8"))


def _mend(folder: Path) -> None:
    override_settings(home=folder / "home", profile="")
    hub_mend.mend(as_json=True)


def _is_mended(folder: Path) -> bool:
    """The damaged file stays, in its place or beside what was begun anew."""
    place, damaged = _place(folder), (folder / "damaged").read_bytes()
    kept = [each.read_bytes() for each in place.folder.glob("streams.json.damaged-*")]
    assert set(kept) <= {damaged}
    if place.memory_file.read_bytes() == damaged:
        return False
    assert read_memory(place.memory_file) == StreamMemory(begun_anew=True)
    return bool(kept)


HUBS = {
    "when the hub's clock was believed": Writer(
        nothing,
        lambda folder: believe(folder / "clock.json", clock.reading()) and None,
        lambda folder: read_time(folder / "clock.json") is not None,
    ),
    "what the hub erases": Writer(
        _make_erased, lambda folder: note_erased(folder / "erased.json", STREAM, [4]), _is_noted
    ),
    "the runs of a gateway worker": Writer(
        nothing, _keep_place, lambda folder: bool(read_runs(folder / "runs" / "gateway-1.json"))
    ),
    "the hub's next authority": Writer(_make_authority, _begin_authority, _has_next_authority),
    "the hub's authority changed": Writer(
        _make_next_authority, _take_up_authority, _has_taken_up_authority
    ),
    "the hub's broker keys changed": Writer(
        _make_next_broker_keys, _take_up_broker_keys, _has_taken_up_broker_keys
    ),
    "another record key": Writer(lambda folder: _make_hub(folder) and None, _rotate, _has_rotated),
    "a hub put back": Writer(_make_backup, _put_back, _is_put_back),
    "a hub mended": Writer(_make_damaged, _mend, _is_mended),
}
