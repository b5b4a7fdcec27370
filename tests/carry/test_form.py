"""A carried file is whole or it is refused, before anything in it is used."""

import io
from collections import Counter
from pathlib import Path

import pytest

from broker.carry.done import Done
from broker.carry.files import new_file, opened_copy
from broker.carry.form import (
    MAGIC,
    CarryError,
    Header,
    Record,
    To,
    What,
    Writer,
    check_whole,
    record_at,
    records_in,
)
from keys.primitives.signing import SignKey

KEY = SignKey.generate()
END_OF_TIME_MS = 253_402_300_799_999  # the last millisecond of the year 9999
RECORDS = [
    Record(What.DONE, "", 1, b"\x07" * 32),
    Record(What.ENVELOPE, "submit.SG.normal.0190", 4, b"sealed" * 9),
    Record(What.ENVELOPE, "submit.SG.urgent.0191", 5, b""),
]


def written(*records: Record, to: To = To.HUB, member: str = "SG") -> bytes:
    file = io.BytesIO()
    writer = Writer(file, Header(to, member, "ab" * 16, 1_795_000_000_000))
    for record in records:
        writer.add(record)
    writer.end(b"kid", KEY)
    return file.getvalue()


def test_what_is_written_is_read_again() -> None:
    file = io.BytesIO(written(*RECORDS))
    whole = check_whole(file)
    assert whole.header == Header(To.HUB, "SG", "ab" * 16, 1_795_000_000_000)
    whole.check_signed(KEY.public)
    found = list(records_in(file))
    assert [record for _, record in found] == RECORDS
    assert [record_at(file, place) for place, _ in found] == RECORDS


def test_a_file_that_ends_early_is_refused_wherever_it_ends() -> None:
    raw = written(*RECORDS)
    for end in range(len(raw)):
        with pytest.raises(CarryError) as refused:
            check_whole(io.BytesIO(raw[:end]))
        wanted = "carry-no-file" if end < len(MAGIC) else "carry-damaged"
        assert refused.value.code == wanted


@pytest.mark.parametrize("wrong", [2**63 - 1, END_OF_TIME_MS + 1, -1])
@pytest.mark.parametrize("of_hub", [True, False])
def test_a_time_that_is_none_is_refused(wrong: int, *, of_hub: bool) -> None:
    made_ms, hub_ms = (1, wrong) if of_hub else (wrong, 1)
    file = io.BytesIO()
    Writer(file, Header(To.NODE, "SG", "ab" * 16, made_ms, hub_ms)).end()
    file.seek(0)
    with pytest.raises(CarryError) as refused:
        check_whole(file)
    assert refused.value.code == "carry-damaged"


def test_one_changed_bit_is_seen_wherever_it_is() -> None:
    raw = written(*RECORDS)
    codes = Counter(
        outcome(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]) for at in range(len(raw))
    )
    assert codes == {
        "carry-no-file": len(MAGIC),
        "carry-unsigned": 64,  # the signature itself
        "no such key": 3,
        "carry-damaged": len(raw) - len(MAGIC) - 64 - 3,
    }


def outcome(raw: bytes) -> str:
    try:
        whole = check_whole(io.BytesIO(raw))
        if whole.kid != b"kid":
            return "no such key"
        whole.check_signed(KEY.public)
    except CarryError as error:
        return error.code
    return "taken"


def test_records_of_two_files_make_no_third() -> None:
    one, other = written(*RECORDS), written(*RECORDS[:1])
    with pytest.raises(CarryError):
        check_whole(io.BytesIO(one + other))
    with pytest.raises(CarryError):
        check_whole(io.BytesIO(other[:-1] + one[len(other) - 1 :]))


@pytest.mark.parametrize(
    ("to", "member", "code"),
    [(To.NODE, "SG", "carry-wrong-way"), (To.HUB, "MY", "carry-other-member")],
)
def test_a_file_for_somebody_else_is_refused(
    to: To, member: str, code: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(written(*RECORDS))
    place = tmp_path / "place"
    with pytest.raises(CarryError) as refused, opened_copy(file, place, member=member, to=to):
        pytest.fail("it was opened")
    assert refused.value.code == code
    assert list(place.iterdir()) == []


def test_a_file_that_was_begun_and_not_ended_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    header = Header(To.HUB, "SG", "", 0)
    with pytest.raises(CarryError):
        written_half(path, header)
    assert list(tmp_path.iterdir()) == []
    with new_file(path, header) as writer:
        writer.end()
    with pytest.raises(CarryError) as refused, new_file(path, header):
        pytest.fail("it was written over")
    assert refused.value.code == "exists"
    assert path.stat().st_mode & 0o077 == 0


def written_half(path: Path, header: Header) -> None:
    with new_file(path, header) as writer:
        writer.add(RECORDS[0])
        raise CarryError("carry-full", "as it happens")


def test_what_a_ferry_has_taken_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    done = Done(tmp_path / "carry")
    done.add([b"\x01" * 32, b"\x02" * 32])
    done.told("first")
    done.add([b"\x03" * 32])
    done.save()
    again = Done(tmp_path / "carry")
    again.forget("")
    again.forget("another")
    assert set(again.hashes) == {bytes([n]) * 32 for n in (1, 2, 3)}
    again.forget("first")
    assert set(again.hashes) == {b"\x03" * 32}
    again.save()
    (tmp_path / "carry" / "done.json").write_bytes(b"{")
    assert Done(tmp_path / "carry").hashes == ()
