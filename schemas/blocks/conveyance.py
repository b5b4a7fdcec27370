"""What carries people and goods: vessels, containers, vehicles, aircraft, parcels."""

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import override

from schemas.blocks.base import (
    MAX_FEW,
    Block,
    Country,
    Extension,
    Identifier,
    Line,
    ProperName,
    ScriptCode,
    Subdivision,
    Text,
    refuse,
)
from schemas.checkdigits import (
    check_awb,
    check_container,
    check_imo,
    check_s10,
    check_vin,
    is_north_american_vin,
)
from schemas.label import Strict

_MID: Final = {  # first digits of an MMSI by flag (ITU); a mismatch is itself an indicator
    "BN": ("508",),
    "KH": ("514", "515"),
    "ID": ("525",),
    "LA": ("531",),
    "MY": ("533",),
    "MM": ("506",),
    "PH": ("548",),
    "TL": ("550",),
    "SG": ("563", "564", "565", "566"),
    "TH": ("567",),
    "VN": ("574",),
}
_REGISTRATION: Final = {  # nationality marks of aircraft (ICAO Annex 7)
    "BN": ("V8",),
    "KH": ("XU",),
    "ID": ("PK",),
    "LA": ("RDPL",),
    "MY": ("9M",),
    "MM": ("XY", "XZ"),
    "PH": ("RP",),
    "SG": ("9V",),
    "TH": ("HS", "U"),
    "VN": ("VN",),
    "TL": ("4W",),
}


class VesselType(StrEnum):
    """Kinds of vessels."""

    FISHING = "fishing"
    CARGO = "cargo"
    TANKER = "tanker"
    CONTAINER_SHIP = "container-ship"
    PASSENGER = "passenger"
    TUG = "tug"
    YACHT = "yacht"
    SMALL_CRAFT = "small-craft"
    UNKNOWN = "unknown"


class Vessel(Block):
    """A ship or boat. MMSI and flag may disagree: that is shown, not refused."""

    imo: Annotated[str, Field(max_length=12), AfterValidator(check_imo)] | None = None
    mmsi: Annotated[str, Field(pattern=r"^[0-9]{9}$")] | None = None
    flag: Country | None = None
    call_sign: Annotated[str, Field(pattern=r"^[A-Z0-9]{3,7}$")] | None = None
    names: Annotated[tuple[ProperName, ...], Field(max_length=MAX_FEW)] = ()
    type: VesselType | Extension = VesselType.UNKNOWN
    remarks: Text | None = None

    @override
    def doubts(self) -> tuple[str, ...]:
        """Return a code if the MMSI belongs to another flag."""
        expected = _MID.get(self.flag or "")
        if self.mmsi and expected and not self.mmsi.startswith(expected):
            return ("mmsi-of-another-flag",)
        return ()


class Container(Block):
    """A freight container (ISO 6346)."""

    number: Annotated[str, Field(max_length=16), AfterValidator(check_container)]
    type_code: Annotated[str, Field(pattern=r"^[A-Z0-9]{4}$")] | None = None
    seals: Annotated[tuple[Identifier, ...], Field(max_length=8)] = ()
    bill_of_lading: Identifier | None = None
    remarks: Text | None = None


class Plate(Strict):
    """A number plate as it reads."""

    value: Line
    country: Country | None = None
    subdivision: Subdivision | None = None
    script: ScriptCode | None = None

    @model_validator(mode="after")
    def _subdivision_lies_in_the_country(self) -> Self:
        if self.subdivision and self.subdivision.partition("-")[0] != self.country:
            refuse("subdivision-country", "the subdivision lies in another country")
        return self


class Vehicle(Block):
    """A road vehicle. The check digit of a VIN is North American only: shown, not refused."""

    plate: Plate | None = None
    vin: Annotated[str, Field(max_length=24), AfterValidator(check_vin)] | None = None
    engine_number: Identifier | None = None
    make: Line | None = None
    model: Line | None = None
    colour: Line | None = None
    remarks: Text | None = None

    @override
    def doubts(self) -> tuple[str, ...]:
        """Return a code if the VIN lacks the check digit that North America demands."""
        if self.vin and not is_north_american_vin(self.vin):
            return ("vin-without-check-digit",)
        return ()


class Aircraft(Block):
    """An aircraft or a flight."""

    registration: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,5}(-[A-Z0-9]{1,6})?$")] | None = None
    state: Country | None = None
    icao24: Annotated[str, Field(pattern=r"^[0-9A-F]{6}$")] | None = None
    flight_number: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,3}[0-9]{1,4}[A-Z]?$")] | None = None
    type_designator: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{1,3}$")] | None = None
    remarks: Text | None = None

    @override
    def doubts(self) -> tuple[str, ...]:
        """Return a code if the registration bears another state's mark."""
        expected = _REGISTRATION.get(self.state or "")
        if self.registration and expected and not self.registration.startswith(expected):
            return ("registration-of-another-state",)
        return ()


class Parcel(Block):
    """A postal item, an air waybill or a courier's consignment; at least one number."""

    s10: Annotated[str, Field(max_length=20), AfterValidator(check_s10)] | None = None
    awb: Annotated[str, Field(max_length=16), AfterValidator(check_awb)] | None = None
    carrier: Line | None = None
    tracking: Identifier | None = None
    remarks: Text | None = None

    @model_validator(mode="after")
    def _has_a_number(self) -> Self:
        if self.s10 is None and self.awb is None and self.tracking is None:
            refuse("empty-parcel", "a parcel has a postal, waybill or tracking number")
        return self
