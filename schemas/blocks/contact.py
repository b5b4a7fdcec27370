"""Phones and online accounts: the handles through which people are recruited and cheated."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import override

from schemas.blocks.base import Block, Extension, Inert, Line, Text, refuse
from schemas.checkdigits import check_imei, check_imsi, check_phone, is_likely_phone

PhoneNumber = Annotated[str, Field(max_length=32), AfterValidator(check_phone)]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]+$")]


class PhoneKind(StrEnum):
    """Kinds of lines."""

    MOBILE = "mobile"
    FIXED = "fixed"
    VOIP = "voip"
    SATELLITE = "satellite"
    UNKNOWN = "unknown"


class Service(StrEnum):
    """Online services (HTCDS list, extended)."""

    LINE = "line"
    TELEGRAM = "telegram"
    WHATSAPP = "whatsapp"
    FACEBOOK = "facebook"
    MESSENGER = "messenger"
    INSTAGRAM = "instagram"
    VIBER = "viber"
    WECHAT = "wechat"
    QQ = "qq"
    QZONE = "qzone"
    TIKTOK = "tiktok"
    ZALO = "zalo"
    X = "x"
    SNAPCHAT = "snapchat"
    SIGNAL = "signal"
    DISCORD = "discord"
    YOUTUBE = "youtube"
    LINKEDIN = "linkedin"
    FOUR_SALE = "4sale"
    EMAIL = "email"
    WEBSITE = "website"


class Phone(Block):
    """A line, a SIM or a device; at least one of the three numbers."""

    number: PhoneNumber | None = None
    kind: PhoneKind = PhoneKind.UNKNOWN
    carrier: Line | None = None
    imei: Annotated[str, Field(max_length=20), AfterValidator(check_imei)] | None = None
    imsi: Annotated[str, Field(max_length=20), AfterValidator(check_imsi)] | None = None
    remarks: Text | None = None

    @model_validator(mode="after")
    def _has_a_number(self) -> Self:
        if self.number is None and self.imei is None and self.imsi is None:
            refuse("empty-phone", "a phone has a number, an IMEI or an IMSI")
        return self

    @override
    def doubts(self) -> tuple[str, ...]:
        """Return a code if the number lies in no range known to be in use."""
        if self.number and not is_likely_phone(self.number):
            return ("phone-range-not-known",)
        return ()


class OnlineAccount(Block):
    """An account: a handle, a number or an address in a service. Never resolved."""

    service: Service | Extension
    handle: Inert | None = None
    user_id: Inert | None = None
    url: Inert | None = None
    display_name: Line | None = None
    remarks: Text | None = None

    @model_validator(mode="after")
    def _names_an_account(self) -> Self:
        if self.handle is None and self.user_id is None and self.url is None:
            refuse("empty-account", "an online account has a handle, a user id or an address")
        return self
