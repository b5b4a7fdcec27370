"""Parsers of what is carried by file, and of what a ferry and a node note beside it."""

import io
import shutil

from broker.carry.attached import KnownFerries
from broker.carry.done import Done
from broker.carry.form import (
    Header,
    Record,
    To,
    Whole,
    check_whole,
    parse_header,
    parse_record,
    records_in,
)
from broker.carry.place import Asked, FerryConfig, FerryPlace
from broker.cli.admin.hub_backup import read_about as read_about_hub
from broker.cli.admin.node_backup import read_about
from broker.store.archive import read_archive
from schemas import canonical
from tests.fuzz.parser import Parser, folder


def whole(raw: bytes) -> object:
    file = io.BytesIO(raw)
    found = check_whole(file)
    assert len(list(records_in(file))) == found.records
    return found


def header_again(header: Header) -> bytes:
    return canonical.encode({**vars(header), "to": str(header.to)})


def record_again(record: Record) -> bytes:
    return canonical.encode([str(record.what), record.name, record.number, record.payload])


def done(raw: bytes) -> tuple[bytes, ...]:
    place = folder() / "carry"
    place.mkdir(mode=0o700, exist_ok=True)
    path = place / "done.json"
    path.write_bytes(raw)
    path.chmod(0o600)
    return Done(place).hashes


def ferries(raw: bytes) -> bool:
    place = folder() / "carry"
    place.mkdir(mode=0o700, exist_ok=True)
    path = place / "ferries.json"
    path.write_bytes(raw)
    path.chmod(0o600)
    header = Header(To.NODE, "SG", "ab" * 16, 1)
    return KnownFerries(place).wrote(Whole(header, 0, bytes(32), bytes(16), bytes(64)))


def _ferry(name: str, raw: bytes) -> FerryPlace:
    place = FerryPlace(folder())
    place.folder.mkdir(mode=0o700, exist_ok=True)
    path = place.folder / name
    path.write_bytes(raw)
    path.chmod(0o600)
    return place


def asked(raw: bytes) -> Asked:
    return _ferry("asked.json", raw).asked()


def config(raw: bytes) -> FerryConfig:
    return _ferry("config.toml", raw).config()


def backup(raw: bytes) -> object:
    into = folder() / "restored"
    path = folder() / "backup.tar"
    path.write_bytes(raw)
    try:
        return read_archive(path, into)
    finally:
        shutil.rmtree(into, ignore_errors=True)


CARRY = (
    Parser("backup", backup, ("broker.store.archive.read_archive",), examples=30),
    Parser("backup-about", read_about, ("broker.cli.admin.node_backup.read_about",), form="json"),
    Parser(
        "hub-backup-about",
        read_about_hub,
        ("broker.cli.admin.hub_backup.read_about",),
        form="json",
    ),
    Parser(
        "carried",
        whole,
        ("broker.carry.form.check_whole", "broker.carry.form._next", "broker.carry.form._value"),
        wire=True,
    ),
    Parser(
        "carried-header",
        parse_header,
        ("broker.carry.form.parse_header",),
        header_again,
        "canonical",
        wire=True,
    ),
    Parser(
        "carried-record",
        parse_record,
        ("broker.carry.form.parse_record",),
        record_again,
        "canonical",
        wire=True,
    ),
    Parser(
        "carry-done",
        done,
        ("broker.carry.done.Done.__post_init__", "broker.carry.done.Done.hashes"),
        form="json",
    ),
    Parser("carry-asked", asked, ("broker.carry.place.FerryPlace.asked",), form="json"),
    Parser("carry-ferries", ferries, ("broker.carry.attached.KnownFerries._keys",), form="json"),
    Parser("ferry-config", config, ("broker.carry.place.FerryPlace.config",), form="toml"),
)
