"""A place, from a country alone to a point on the map.

Not checked in version 1: the function flags of UN/LOCODE against the conveyance, because no
maintained table of them exists; the form of the code is checked.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.blocks.base import (
    MAX_FEW,
    Block,
    Country,
    Decimal,
    Extension,
    Identifier,
    Line,
    ProperName,
    Subdivision,
    Text,
    refuse,
    within,
)
from schemas.label import Strict


class LocationKind(StrEnum):
    """What happened there."""

    SEIZURE = "seizure"
    PRODUCTION = "production"
    DEPARTURE = "departure"
    TRANSIT = "transit"
    DESTINATION = "destination"
    RECRUITMENT = "recruitment"
    EXPLOITATION = "exploitation"
    RESIDENCE = "residence"
    RESCUE = "rescue"
    SERVER = "server"
    LAST_SEEN = "last-seen"
    OTHER = "other"


class Zone(StrEnum):
    """Surroundings of a place."""

    URBAN = "urban"
    RURAL = "rural"
    SEA = "sea"


class SiteClass(StrEnum):
    """Kind of site, where the source classifies it."""

    PUBLIC_ROAD = "public-road"
    HIGHWAY = "highway"
    RIVER = "river"
    AIRPORT = "airport"
    SEAPORT = "seaport"
    BORDER_POST = "border-post"
    POST_OFFICE = "post-office"
    PUBLIC_TRANSPORT = "public-transport"
    VEHICLE = "vehicle"
    FARM = "farm"
    LABORATORY = "laboratory"
    DWELLING = "dwelling"
    RESIDENTIAL_AREA = "residential-area"
    SPORTS_GROUND = "sports-ground"
    WAREHOUSE = "warehouse"
    ENTERTAINMENT_VENUE = "entertainment-venue"
    COMPOUND = "compound"
    VESSEL = "vessel"


class Site(Strict):
    """The class of a site, and the words of the source."""

    code: SiteClass | Extension
    as_given: ProperName | None = None


class Division(Strict):
    """An administrative division below the country, in whatever list the source uses."""

    level: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,31}$")]
    name: Line | None = None
    scheme: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] | None = None
    code: Identifier | None = None

    @model_validator(mode="after")
    def _a_code_names_its_list(self) -> Self:
        if (self.scheme is None) != (self.code is None):
            refuse("code-without-scheme", "the code of a division needs the name of its list")
        if self.code is None and self.name is None:
            refuse("empty-division", "a division has a name or a code")
        return self


class Location(Block):
    """A place. Coordinates are WGS 84 decimal degrees, as strings."""

    kind: LocationKind | Extension
    country: Country | None = None
    subdivision: Subdivision | None = None
    divisions: Annotated[tuple[Division, ...], Field(max_length=8)] = ()
    unlocode: Annotated[str, Field(pattern=r"^[A-Z]{2}[A-Z2-9]{3}$")] | None = None
    names: Annotated[tuple[ProperName, ...], Field(max_length=MAX_FEW)] = ()
    address: Text | None = None
    zone: Zone | None = None
    site: Site | None = None
    latitude: Annotated[Decimal, within(-90, 90)] | None = None
    longitude: Annotated[Decimal, within(-180, 180)] | None = None
    radius_m: Annotated[int, Field(ge=0, le=20_000_000)] | None = None

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if (self.latitude is None) != (self.longitude is None):
            refuse("half-a-coordinate", "latitude and longitude come together")
        if self.radius_m is not None and self.latitude is None:
            refuse("radius-without-point", "a radius needs a point")
        if self.subdivision and self.subdivision.partition("-")[0] != self.country:
            refuse("subdivision-country", "the subdivision lies in another country")
        if self.unlocode and self.country and self.unlocode[:2] != self.country:
            refuse("unlocode-country", "the UN/LOCODE lies in another country")
        return self
