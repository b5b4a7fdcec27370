"""Entity blocks: what is held, and by which code what is not held is refused."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.blocks.base import Block, Text, read_open, search_key
from schemas.blocks.contact import OnlineAccount, Phone, Service
from schemas.blocks.conveyance import Aircraft, Container, Parcel, Vehicle, Vessel
from schemas.blocks.funds import BankAccount, CryptoWallet, Money
from schemas.blocks.identity import Birth, Name, NationalIdentifier, TravelDocument
from schemas.blocks.location import Location
from schemas.blocks.offence import Offence
from schemas.blocks.organisation import Organisation
from schemas.blocks.person import Person
from schemas.blocks.when import When
from schemas.common import Contact, Evaluation, LegalBasis, Link, Original, Translation, explain
from schemas.label import Strict

J = dict[str, Any]
MRZ = [
    "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<",
    "L898902C36UTO7408122F1204159ZE184226B<<<<<10",
]
BTC = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
ETH = "0x52908400098527886E0F7030069857D2E4169EE7"
SHA = "ab" * 32

GOOD: list[tuple[type[Strict], J]] = [
    (Text, {"value": "ศูนย์ปฏิบัติการ", "lang": "th", "script": "Thai"}),
    (Text, {"value": "မြန်မာနိုင်ငံ ရဲတပ်ဖွဲ့ ကြေညာချက်", "lang": "my"}),
    (Text, {"value": "Relatóriu ne'e fiktísiu", "lang": "tet-TL"}),
    (When, {"edtf": "2026"}),
    (When, {"edtf": "2007-03"}),
    (When, {"edtf": "2026-01/2026-03-05"}),
    (When, {"edtf": "2018-01-03", "weekday": "wed", "time": "23:10", "offset": "-05:00"}),
    (Name, {"full": "Sukarno", "order": "mononym"}),
    (Name, {"full": "阮文甲", "script": "Hani", "lang": "vi", "order": "family-first"}),
    (Name, {"full": "ကျော်ကျော်", "script": "Mymr"}),
    (Birth, {"edtf": "1991", "calendar_as_given": "buddhist", "estimated": True}),
    (Birth, {"age": {"at_least": 16, "at_most": 22}}),
    (Person, {"role": "unknown"}),
    (Person, {"role": "missing", "names": [{"full": "Anu"}], "protection": {"minor": "yes"}}),
    (Person, {"role": "suspect", "nationalities": ["XXA"], "withheld": ["birth"]}),
    (Person, {"role": "victim", "protection": {"need": "Return", "minor": "unknown"}}),
    (Person, {"role": "suspect", "biometrics": [{"kind": "face", "reference": "AFIS 7"}]}),
    (TravelDocument, {"type": "passport", "number": "X1", "mrz_lines": MRZ}),
    (TravelDocument, {"type": "x-border-pass", "number": "44/2026", "issuing_state": "LAO"}),
    (NationalIdentifier, {"scheme": "th-pin", "value": "3100600445635"}),
    (NationalIdentifier, {"scheme": "x-tl-eleitoral", "value": "123"}),
    (Phone, {"number": "+959420012345", "kind": "mobile"}),
    (Phone, {"imei": "490154203237518"}),
    (OnlineAccount, {"service": "zalo", "handle": "0900"}),
    (OnlineAccount, {"service": "x-unknown:MyChat", "user_id": "77"}),
    (Location, {"kind": "transit"}),
    (Location, {"kind": "seizure", "country": "US", "subdivision": "US-FL"}),
    (
        Location,
        {
            "kind": "seizure",
            "country": "CO",
            "divisions": [
                {"level": "department", "name": "ANTIOQUIA"},
                {"level": "municipality", "name": "BELLO", "scheme": "co-dane", "code": "5088000"},
            ],
            "zone": "urban",
            "site": {"code": "public-road", "as_given": {"value": "VIAS PUBLICAS", "lang": "es"}},
        },
    ),
    (Location, {"kind": "server", "latitude": "-8.55", "longitude": "125.56", "radius_m": 50}),
    (Location, {"kind": "departure", "country": "SG", "unlocode": "SGSIN"}),
    (Offence, {"iccs": "iccs:020412"}),
    (Offence, {"iccs": "iccs:06", "national": {"country": "MY", "law": "DDA 1952"}}),
    (Organisation, {"names": [{"full": "Lantern Ltd"}], "lei": "213800KUD8LAJWSQ9D15"}),
    (
        Organisation,
        {
            "names": [{"full": "Lantern"}],
            "registration": {"scheme": "sg-uen", "number": "00192200M"},
        },
    ),
    (Vessel, {"imo": "IMO 9074729", "mmsi": "563000001", "flag": "SG", "call_sign": "9VAB1"}),
    (Container, {"number": "CSQU3054383", "type_code": "22G1", "seals": ["A1"]}),
    (Vehicle, {"plate": {"value": "1กข 1234", "country": "TH", "script": "Thai"}}),
    (Vehicle, {"vin": "1M8GDM9AXKP042788", "make": "Any", "colour": "white"}),
    (Aircraft, {"registration": "RDPL-34123", "state": "LA", "icao24": "A1B2C3"}),
    (Aircraft, {"flight_number": "XX123", "type_designator": "B738"}),
    (Parcel, {"s10": "RB123456785GB"}),
    (Parcel, {"awb": "618-12345675", "carrier": "Any"}),
    (Money, {"amount": "100000", "currency": "VND"}),
    (Money, {"amount": "3500.0", "currency": "USD", "as_of": "2007-01"}),
    (Money, {"amount": "1.234", "currency": "KWD"}),
    (BankAccount, {"iban": "TL380080012345678910157"}),
    (BankAccount, {"country": "PH", "bank_code": "010", "number": "0012-3456", "bic": "DEUTDEFF"}),
    (BankAccount, {"kind": "promptpay", "country": "TH", "number": "0812345678"}),
    (CryptoWallet, {"chain": "btc", "address": BTC}),
    (CryptoWallet, {"chain": "eth", "address": ETH, "token": "USDT"}),
    (CryptoWallet, {"chain": "sol", "address": "4Nd1mYbq7vWk3cBdWhqA8X3p6d7jJvU1rYH4o5p6q7r8"}),
    (Contact, {"function": "Duty desk", "emails": ["desk@police.example"]}),
    (Evaluation, {"scheme": "4x4", "source": "X", "information": "4"}),
    (Evaluation, {"scheme": "3x5x2", "source": "1", "information": "A"}),
    (Evaluation, {"scheme": "admiralty", "source": "F", "information": "6"}),
    (LegalBasis, {"instrument": "national-law", "country": "BN", "provision": "Cap. 27"}),
    (Link, {"kind": "interpol", "ref": "2026/1234", "subkind": "diffusion"}),
    (Original, {"sha256": SHA, "media_type": "application/json", "bytes": 5, "name": "a b.json"}),
    (
        Translation,
        {"of": "texts.0", "text": {"value": "Halo", "lang": "id"}, "method": "machine"},
    ),
]

BAD: list[tuple[type[Strict], J, str]] = [
    (Text, {"value": "x", "lang": "xx-QQ"}, "unknown-language"),
    (Text, {"value": "x", "lang": "en", "script": "Zzyy"}, "unknown-script"),
    (Text, {"value": "a\x1b[31mb", "lang": "en"}, "control-character"),
    (Text, {"value": "a\u202eb", "lang": "en"}, "control-character"),
    (Text, {"value": "ေမာင္", "lang": "my"}, "not-unicode-burmese"),
    (When, {"edtf": "2026-13"}, "not-a-date"),
    (When, {"edtf": "2026-02-30"}, "not-a-date"),
    (When, {"edtf": "2026-05/2026-04"}, "not-a-date"),
    (When, {"edtf": "0000"}, "not-a-date"),
    (When, {"edtf": "٢٠٢٦"}, "not-a-date"),
    (When, {"edtf": "2026-01-01", "time": "10:00"}, "time-without-offset"),
    (When, {"edtf": "2026-01-01", "offset": "Z"}, "time-without-offset"),
    (When, {"edtf": "2026-01", "time": "10:00", "offset": "Z"}, "time-without-day"),
    (Name, {"full": " \u200b "}, "not-one-line"),
    (Name, {"full": "a\nb"}, "not-one-line"),
    (Name, {"full": "ေက်ာ္", "script": "Mymr"}, "not-unicode-burmese"),
    (Name, {"full": "A B", "order": "mononym", "parts": {"surname": "B"}}, "mononym-with-surname"),
    (Birth, {"age": {"at_least": 30, "at_most": 20}}, "age-range-reversed"),
    (Birth, {"country": "XX"}, "unknown-country"),
    (Person, {"role": "suspect", "nationalities": ["XXD"]}, "unknown-nationality"),
    (Person, {"role": "suspect", "name_mrz": "Eriksson"}, "not-an-mrz-name"),
    (Person, {"role": "suspect", "unknown": ["shoe_size"]}, "unknown-field"),
    (Person, {"role": "suspect", "unknown": ["ref"]}, "unknown-field"),
    (Person, {"role": "suspect", "unknown": ["birth"], "withheld": ["birth"]}, "stated-twice"),
    (
        Person,
        {"role": "suspect", "birth": {"edtf": "1990"}, "unknown": ["birth"]},
        "stated-and-withheld",
    ),
    (
        TravelDocument,
        {"type": "passport", "number": "X", "mrz_lines": [MRZ[0], MRZ[0]]},
        "mrz-check",
    ),
    (
        TravelDocument,
        {"type": "visa", "number": "X", "issued": "2026-01-02", "expires": "2026-01-01"},
        "document-dates",
    ),
    (TravelDocument, {"type": "visa", "number": "X", "issued": "2026-13-01"}, "not-a-date"),
    (NationalIdentifier, {"scheme": "th-pin", "value": "3100600445636"}, "th-pin"),
    (Phone, {}, "empty-phone"),
    (OnlineAccount, {"service": "line"}, "empty-account"),
    (Location, {"kind": "transit", "latitude": "1.0"}, "half-a-coordinate"),
    (Location, {"kind": "transit", "latitude": "90.1", "longitude": "1"}, "out-of-range"),
    (Location, {"kind": "transit", "latitude": "1", "longitude": "-180.000000001"}, "out-of-range"),
    (Location, {"kind": "transit", "radius_m": 5}, "radius-without-point"),
    (Location, {"kind": "transit", "country": "MY", "subdivision": "TH-10"}, "subdivision-country"),
    (Location, {"kind": "transit", "subdivision": "TH-10"}, "subdivision-country"),
    (Location, {"kind": "transit", "subdivision": "TH-999"}, "unknown-subdivision"),
    (Location, {"kind": "transit", "country": "MY", "unlocode": "SGSIN"}, "unlocode-country"),
    (
        Location,
        {"kind": "transit", "divisions": [{"level": "district", "code": "7"}]},
        "code-without-scheme",
    ),
    (Location, {"kind": "transit", "divisions": [{"level": "district"}]}, "empty-division"),
    (Offence, {}, "empty-offence"),
    (Offence, {"iccs": "iccs:06", "relation": "exact"}, "relation-of-nothing"),
    (
        Organisation,
        {"names": [{"full": "L"}], "registration": {"scheme": "sg-uen", "number": "00192200X"}},
        "registration-number",
    ),
    (
        Vehicle,
        {"plate": {"value": "1", "country": "TH", "subdivision": "MY-07"}},
        "subdivision-country",
    ),
    (Parcel, {"carrier": "Any"}, "empty-parcel"),
    (Money, {"amount": "1.5", "currency": "VND"}, "minor-units"),
    (Money, {"amount": "1.005", "currency": "USD"}, "minor-units"),
    (Money, {"amount": "1", "currency": "ABC"}, "unknown-currency"),
    (BankAccount, {"country": "TH"}, "empty-account"),
    (BankAccount, {"number": "1"}, "account-without-country"),
    (CryptoWallet, {"chain": "btc", "address": BTC[:-1] + "5"}, "wallet-address"),
    (CryptoWallet, {"chain": "btc", "address": BTC.upper()}, "wallet-address"),
    (CryptoWallet, {"chain": "tron", "address": BTC}, "wallet-address"),
    (CryptoWallet, {"chain": "bsc", "address": "0x1234567890"}, "wallet-address"),
    (Evaluation, {"scheme": "4x4", "source": "D", "information": "1"}, "r11-evaluation-scheme"),
    (Evaluation, {"scheme": "4x4", "source": "A", "information": "5"}, "r11-evaluation-scheme"),
    (Evaluation, {"scheme": "3x5x2", "source": "A", "information": "A"}, "r11-evaluation-scheme"),
    (
        Evaluation,
        {"scheme": "admiralty", "source": "G", "information": "1"},
        "r11-evaluation-scheme",
    ),
    (LegalBasis, {"instrument": "national-law"}, "national-law-without-country"),
    (
        Original,
        {"sha256": SHA, "media_type": "text/plain", "bytes": 1, "name": "../a"},
        "file-name-with-path",
    ),
]

# Closed lists and bounds (R16): pydantic's own errors, so the general code.
CLOSED: list[tuple[type[Strict], J]] = [
    (Person, {"role": "boss"}),
    (Person, {"role": "suspect", "sex": "f"}),
    (Person, {"role": "suspect", "shoe_size": 44}),
    (Person, {"role": "suspect", "description": {"height_cm": 29}}),
    (Person, {"role": "suspect", "confidence": 101}),
    (Name, {"full": "A" * 513}),
    (Birth, {"age": {"at_least": -1, "at_most": 3}}),
    (NationalIdentifier, {"scheme": "nope", "value": "1"}),
    (TravelDocument, {"type": "visa", "number": "X", "issued": "2026-01"}),
    (Phone, {"number": 6565550100}),
    (Phone, {"number": "0812345678"}),
    (OnlineAccount, {"service": "unheard-of", "handle": "a"}),
    (OnlineAccount, {"service": "x-", "handle": "a"}),
    (Location, {"kind": "home"}),
    (Location, {"kind": "transit", "latitude": 1.5, "longitude": 1.5}),
    (Location, {"kind": "transit", "unlocode": "SG10"}),
    (Offence, {"iccs": "iccs:12"}),
    (Offence, {"iccs": "iccs:061"}),
    (Offence, {"iccs": "0601"}),
    (Vessel, {"imo": "9074728"}),
    (Vessel, {"mmsi": "56300000"}),
    (Container, {"number": "CSQU3054384"}),
    (Vehicle, {"vin": "IOQ"}),
    (Aircraft, {"icao24": "a1b2c3"}),
    (Aircraft, {"flight_number": "1"}),
    (Parcel, {"s10": "RB123456784GB"}),
    (Parcel, {"awb": "618-12345676"}),
    (Money, {"amount": 5, "currency": "USD"}),
    (Money, {"amount": "-5", "currency": "USD"}),
    (Money, {"amount": "1e3", "currency": "USD"}),
    (Money, {"amount": "05", "currency": "USD"}),
    (BankAccount, {"iban": "GB82WEST12345698765433"}),
    (BankAccount, {"country": "TH", "number": "1", "bic": "DEUT"}),
    (Organisation, {"names": []}),
    (Organisation, {"names": [{"full": "L"}], "lei": "213800KUD8LAJWSQ9D16"}),
    (Contact, {"function": "Desk", "emails": ["desk"]}),
    (Evaluation, {"scheme": "5x5x5", "source": "A", "information": "1"}),
    (Original, {"sha256": SHA.upper(), "media_type": "text/plain", "bytes": 1}),
    (Original, {"sha256": SHA, "media_type": "text", "bytes": 1}),
    (Original, {"sha256": SHA, "media_type": "text/plain", "bytes": 0}),
]


@pytest.mark.parametrize(("model", "given"), GOOD)
def test_a_good_block_is_held_and_comes_back(model: type[Strict], given: J) -> None:
    held = model.model_validate_json(json.dumps(given))
    assert model.model_validate_json(held.model_dump_json(exclude_none=True)) == held


@pytest.mark.parametrize(("model", "given", "code"), BAD)
def test_a_bad_block_is_refused_with_its_code(model: type[Strict], given: J, code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate_json(json.dumps(given))
    assert explain(caught.value, code="general").code == code


@pytest.mark.parametrize(("model", "given"), CLOSED)
def test_what_no_list_or_bound_admits_is_refused(model: type[Strict], given: J) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate_json(json.dumps(given))
    assert explain(caught.value, code="general").code == "general"


@pytest.mark.parametrize(
    ("model", "given", "code"),
    [
        (When, {"edtf": "2018-01-04", "weekday": "wed"}, "weekday-of-another-date"),
        (Phone, {"number": "+6511111111"}, "phone-range-not-known"),
        (Vessel, {"mmsi": "574000001", "flag": "SG"}, "mmsi-of-another-flag"),
        (Vehicle, {"vin": "WVWZZZ1JZXW000001"}, "vin-without-check-digit"),
        (Aircraft, {"registration": "HS-ABC", "state": "VN"}, "registration-of-another-state"),
        (CryptoWallet, {"chain": "eth", "address": ETH}, "wallet-not-verified"),
        (CryptoWallet, {"chain": "xmr", "address": "4" * 95}, "wallet-not-verified"),
        (NationalIdentifier, {"scheme": "id-nik", "value": "1"}, "national-identifier-unlikely"),
        (NationalIdentifier, {"scheme": "my-nric", "value": "1"}, "national-identifier-unlikely"),
    ],
)
def test_what_looks_wrong_is_held_and_doubted(model: type[Block], given: J, code: str) -> None:
    assert model.model_validate_json(json.dumps(given)).doubts() == (code,)


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (When, {"edtf": "2018-01-03", "weekday": "wed"}),
        (When, {"edtf": "2018-01", "weekday": "wed"}),
        (Phone, {"number": "+6565550100"}),
        (Vessel, {"mmsi": "563000001", "flag": "SG"}),
        (Vessel, {"mmsi": "999000001"}),
        (Vehicle, {"vin": "1M8GDM9AXKP042788"}),
        (CryptoWallet, {"chain": "btc", "address": BTC}),
        (NationalIdentifier, {"scheme": "my-nric", "value": "770305-02-1234"}),
        (Person, {"role": "suspect"}),
    ],
)
def test_what_looks_right_is_not_doubted(model: type[Block], given: J) -> None:
    assert model.model_validate_json(json.dumps(given)).doubts() == ()


def test_an_error_never_repeats_the_value() -> None:
    with pytest.raises(ValidationError) as caught:
        Vessel.model_validate_json('{"imo": "9074728", "secret-key": "swordfish"}')
    assert "9074728" not in str(caught.value)
    assert "swordfish" not in str(caught.value)
    assert "9074728" not in str(explain(caught.value, code="bad"))


def test_text_is_kept_in_nfc_with_line_feeds() -> None:
    text = Text.model_validate_json(json.dumps({"value": "Cafe\u0301\r\n2", "lang": "fr"}))
    assert text.value == "Caf\u00e9\n2"


def test_a_search_key_finds_the_name_typed_another_way() -> None:
    assert search_key("\uff21NN\uff21\u200b") == search_key("Anna")


@pytest.mark.parametrize(
    ("raw", "code"),
    [("line", Service.LINE), ("MyChat", "x-unknown:MyChat"), ("x-mychat", "x-mychat")],
)
def test_an_unknown_code_of_an_open_list_is_kept_verbatim(raw: str, code: str) -> None:
    assert read_open(Service, raw) == code
    assert OnlineAccount(service=read_open(Service, raw), handle="a").service == code
