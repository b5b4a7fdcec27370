"""What a desk asks of its node."""

from typing import Annotated, Final, Self
from uuid import UUID

from pydantic import Field, JsonValue, model_validator

from schemas.attachment import MAX_ATTACHMENTS, MEDIA_TYPE
from schemas.desk.attachments import AttachedFile
from schemas.desk.fields import Base64, Kid, Recipients, Signature
from schemas.label import AgencyCode, Classification, Facts, Moment, Retention, Strict, TypeName
from schemas.vocabulary import PAP, TLP, Handling, JudicialUse, Precedence, Purpose, Status

MAX_ORIGINAL_BYTES: Final = 4 * 1024 * 1024  # what the sealed content may inflate to


class AlertBody(Strict):
    """A typed alert: `body` is read by the model that the registry names for type and version."""

    type: TypeName
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    body: dict[str, JsonValue]


class OriginalDocument(Strict):
    """The document that the alert was made from, to travel byte for byte."""

    content: Annotated[Base64, Field(max_length=MAX_ORIGINAL_BYTES)]
    media_type: Annotated[str, Field(pattern=MEDIA_TYPE)]
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None


class DraftRequest(Strict):
    """What an officer wants to send. The node adds ids, times, derived facts and the directory.

    `status`, `tlp` and `purposes` have no default: nobody says "actual" or "clear" by silence.

    Attributes:
        status: Whether the world is meant, or an exercise or a test.
        recipients: Whom the officer addresses; policy may permit fewer.
        alert_id: Given for a new revision of a known alert; else the node makes one.
        expires: When nobody needs the alert any more; by default after 30 days. Unread copies
            then leave the hub.
        retention: By default reviewed and deleted a year after drafting.
        facts: What the officer adds to the facts derived from the content. It only raises.
        original: The source document. Its hash is kept in the alert even where it does not travel.
        without_original: Keep the hash of `original` and send the alert without it.
        attachments: Files that follow the alert, handed to the node before.
        reviewed_no_personal_data: The officer signs that free text, original and attachments name
            nobody.
        officer_kid: Key that will sign; needed for a draft, not for a preview.
    """

    status: Status
    alert: AlertBody
    recipients: Recipients
    agency: AgencyCode
    tlp: TLP
    purposes: Annotated[tuple[Purpose, ...], Field(min_length=1)]
    precedence: Precedence = Precedence.ROUTINE
    pap: PAP | None = None
    handling: tuple[Handling, ...] = (Handling.H1,)
    classification: Classification = Classification()
    rel_to: Recipients | None = None
    no_third_party: bool = True
    orcon: bool = False
    judicial_use: JudicialUse = JudicialUse.WITH_CONSENT
    expires: Moment | None = None
    retention: Retention | None = None
    alert_id: UUID | None = None
    rev: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    thread: UUID | None = None
    facts: Facts | None = None
    disclose_recipients: bool = False
    original: OriginalDocument | None = None
    without_original: bool = False
    attachments: Annotated[tuple[AttachedFile, ...], Field(max_length=MAX_ATTACHMENTS)] = ()
    reviewed_no_personal_data: bool = False
    officer_kid: Kid | None = None

    @model_validator(mode="after")
    def _a_revision_names_its_alert(self) -> Self:
        if self.rev > 1 and self.alert_id is None:
            raise ValueError("a revision above 1 needs the alert_id that it revises")
        return self


class SubmitRequest(Strict):
    """The officer's signature over a draft's `bytes_to_sign`."""

    signature: Signature
    officer_kid: Kid


class CursorAck(Strict):
    """The last inbox position that a named reader has dealt with."""

    position: Annotated[int, Field(ge=0)]
