"""What a node shows of an alert it received, verified and opened."""

from uuid import UUID

from pydantic import JsonValue

from schemas.desk.attachments import AttachmentShown
from schemas.desk.fields import CursorName, DirectoryNamed, Hash, Kid
from schemas.label import AgencyCode, MemberCode, Moment, Strict, TypeName
from schemas.vocabulary import TLP, Precedence, Status


class OfficerShown(Strict):
    """Who signed, by the pseudonym that only the sending member can resolve.

    Attributes:
        system: True if an unattended system signed; show it.
    """

    pseudonym: str
    kid: Kid
    roles: tuple[str, ...]
    system: bool


class DecisionShown(Strict):
    """What the gateway signed about this copy."""

    gateway: str
    kid: Kid
    decided_at: Moment
    rule: str
    policy: Hash
    directory: DirectoryNamed


class OriginalShown(Strict):
    """The source document: its hash always, its bytes if it was carried."""

    sha256: Hash
    media_type: str
    bytes: int
    name: str | None = None
    carried: bool


class InboxItem(Strict):
    """One alert, verified and opened.

    Attributes:
        position: Place in this inbox; strictly growing, the unit of cursors and `since`.
        id: The envelope's id: stable, for a reader's own deduplication.
        exercise: True for anything but `actual`; show the word.
        label: All of the signed label, as JSON.
        alert: The typed content as JSON; none if this node does not read its type or version.
        recipients: Who else got it; none unless the originator discloses it.
        attachments: Files that belong to it; they may arrive after it.
        warnings: Codes to show, such as `reviewed-no-personal-data` or `key-revoked-since`.
    """

    position: int
    id: UUID
    alert_id: UUID
    rev: int
    sender: MemberCode
    agency: AgencyCode
    type: TypeName
    type_version: int
    status: Status
    exercise: bool
    precedence: Precedence
    tlp: TLP
    created: Moment
    expires: Moment
    received_at: Moment
    label: dict[str, JsonValue]
    alert: dict[str, JsonValue] | None
    officer: OfficerShown
    decision: DecisionShown
    recipients: tuple[MemberCode, ...] | None
    reviewed_no_personal_data: bool
    original: OriginalShown | None
    warnings: tuple[str, ...]
    attachments: tuple[AttachmentShown, ...] = ()


class InboxPage(Strict):
    """Items in order of position; `last` is the `since` of the following page."""

    items: tuple[InboxItem, ...]
    last: int
    more: bool


class Cursor(Strict):
    """A named reader's place in the inbox; kept by the node."""

    name: CursorName
    position: int
    updated_at: Moment | None
