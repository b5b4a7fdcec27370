"""Profiles of a desk: where its node is, which key signs, and what need not be typed each time.

One TOML file, `profiles.toml` in the home folder, readable by its owner alone: it can hold tokens.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, ValidationError, model_validator

from broker.client.errors import LocalError
from broker.settings import home, settings
from keys.errors import KeyFileError
from keys.files import make_private_folder, read_private, write_private
from schemas.label import AgencyCode, MemberCode, Strict, TypeName
from schemas.vocabulary import PAP, TLP, Handling, JudicialUse, Precedence, Purpose, Status

FILE_NAME: Final = "profiles.toml"
MAX_FILE_BYTES: Final = 256 * 1024
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Place = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")]


class ProfileContact(Strict):
    """Whom a recipient may ask: a function that is always staffed."""

    function: _Line
    phones: tuple[_Line, ...] = ()
    emails: tuple[_Line, ...] = ()
    hours: _Line | None = None


class ProfileBasis(Strict):
    """A treaty or law under which this desk shares."""

    instrument: _Line
    provision: _Line | None = None
    country: _Line | None = None


class Profile(Strict):
    """What one desk need not type.

    Attributes:
        url: `unix:///path/api.sock` or `https://host:port`.
        token: The bearer token; or `token_file`, which holds it.
        ca_file: Authorities that vouch for an https node.
        officer_key: Key store of the officer.
        passphrase_file: Opens that store; else the officer is asked, or KENTONG_PASSPHRASE_FILE.
        member: Code of the officer's member; a draft for another one is not signed.
        agency: In every label.
        unit: In every alert, like `contact`, `legal_basis` and `language`.
        status: Only `exercise` or `test`: no profile says "actual" for an officer.
        retention_days: When an alert is to be gone everywhere, from sending.
        to: Recipients to offer first.
    """

    url: _Place
    token: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")] | None = None
    token_file: _Place | None = None
    ca_file: _Place | None = None
    officer_key: _Place | None = None
    passphrase_file: _Place | None = None
    member: MemberCode | None = None
    agency: AgencyCode | None = None
    unit: _Line | None = None
    contact: ProfileContact | None = None
    legal_basis: tuple[ProfileBasis, ...] = ()
    purposes: tuple[Purpose, ...] = ()
    language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] | None = None
    status: Status | None = None
    tlp: TLP | None = None
    pap: PAP | None = None
    precedence: Precedence | None = None
    handling: tuple[Handling, ...] | None = None
    judicial_use: JudicialUse | None = None
    retention_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    expires_days: Annotated[int, Field(ge=1, le=365)] | None = None
    to: tuple[MemberCode, ...] = ()
    alert_type: TypeName | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("a profile has a token or a token_file, not both")
        if self.status is Status.ACTUAL:
            raise ValueError("a profile cannot say actual: an officer says it each time")
        return self


class Profiles:
    """All profiles of this desk."""

    def __init__(self, path: Path, profiles: Mapping[str, Profile], default: str) -> None:
        """Take what `load` read."""
        self.path = path
        self.default = default
        self._profiles = dict(profiles)

    @classmethod
    def load(cls, home_folder: Path | None = None) -> Self:
        """Return the profiles of this machine's home folder; none if there is no file.

        Raises:
            LocalError: Damaged, or readable by others.
        """
        path = home(home_folder) / FILE_NAME
        if (raw := _read(path)) is None:
            return cls(path, {}, "")
        try:
            tables = tomllib.loads(raw.decode())
            default = tables.pop("default", "")
            kept = {
                name: Profile.model_validate_json(json.dumps(fields))
                for name, fields in tables.pop("profile", {}).items()
            }
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise LocalError(
                "bad-profile", f"{path}: the field {where or 'url'} is not valid"
            ) from None
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise LocalError("bad-profile", f"{path} is not a file of profiles") from None
        if tables or not isinstance(default, str):
            raise LocalError("bad-profile", f"{path} holds more than profiles")
        return cls(path, kept, default)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all profiles, sorted."""
        return tuple(sorted(self._profiles))

    def get(self, name: str = "") -> Profile:
        """Return the profile `name`; else that of KENTONG_PROFILE, the default, or the only one.

        Raises:
            LocalError: No such profile, or none to choose.
        """
        wanted = name or settings().profile or self.default
        if not wanted and len(self._profiles) == 1:
            return next(iter(self._profiles.values()))
        if not wanted:
            raise LocalError("no-profile", "no profile is chosen: `kentong profile add`")
        if wanted not in self._profiles:
            raise LocalError("unknown-profile", f"there is no profile {wanted!r}")
        return self._profiles[wanted]

    def add(self, name: str, profile: Profile) -> None:
        """Keep a profile, replacing one of that name; the first becomes the default.

        Raises:
            ValueError: A name that is none.
            LocalError: The file cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise ValueError("a profile's name is a-z, 0-9, - and _, at most 32 long")
        self._profiles[name] = profile
        self.default = self.default or name
        self._write()

    def use(self, name: str) -> None:
        """Make a profile the default.

        Raises:
            LocalError: No such profile, or the file cannot be written.
        """
        if name not in self._profiles:
            raise LocalError("unknown-profile", f"there is no profile {name!r}")
        self.default = name
        self._write()

    def remove(self, name: str) -> None:
        """Forget a profile.

        Raises:
            LocalError: No such profile, or the file cannot be written.
        """
        if self._profiles.pop(name, None) is None:
            raise LocalError("unknown-profile", f"there is no profile {name!r}")
        self.default = "" if self.default == name else self.default
        self._write()

    def _write(self) -> None:
        lines = [f"default = {_toml(self.default)}"] if self.default else []
        for name in self.names:
            fields = json.loads(self._profiles[name].model_dump_json(exclude_defaults=True))
            lines += ["", f"[profile.{name}]"]
            lines += [f"{key} = {_toml(value)}" for key, value in fields.items()]
        try:
            make_private_folder(self.path.parent)
            write_private(self.path, "\n".join([*lines, ""]).encode())
        except KeyFileError as error:
            raise LocalError(error.code, str(error)) from None


def token_of(profile: Profile) -> str:
    """Return the profile's token.

    Raises:
        LocalError: It has none, or the file that holds it is missing or open to others.
    """
    if profile.token is not None:
        return profile.token
    if profile.token_file is None:
        raise LocalError("no-token", "the profile has no token: `kentong token add` makes one")
    path = Path(profile.token_file).expanduser()
    raw = _read(path)
    if raw is None:
        raise LocalError("no-token", f"{path} does not exist")
    return raw.decode("ascii", "replace").strip()


def _read(path: Path) -> bytes | None:
    try:
        return read_private(path, max_bytes=MAX_FILE_BYTES)
    except KeyFileError as error:
        if error.code in ("no-such-file", "no-folder") and not path.exists():
            return None
        raise LocalError(error.code, str(error)) from None


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # a TOML basic string escapes as JSON does
