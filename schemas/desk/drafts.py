"""What a node answers before anything is sent."""

from uuid import UUID

from schemas.desk.fields import Base64, DirectoryShown, Hash, Kid
from schemas.label import Facts, Intent, MemberCode, Moment, Strict, TypeName
from schemas.vocabulary import Lane, Status


class RecipientPreview(Strict):
    """What policy says of one recipient now; the gateway and the recipient will ask again.

    Attributes:
        recipient: Whom.
        permitted: Whether a copy would go there.
        code: Stable reason code; empty if permitted.
        rule: The rule that decides, or what was missing, in English.
        decided_by: `export`, `import`, `agreement` or `fixed`.
        reads: Whether its node says that it reads this type and version.
    """

    recipient: MemberCode
    permitted: bool
    code: str
    rule: str
    decided_by: str
    reads: bool


class Advice(Strict):
    """Something to know before sending that does not prevent it.

    Attributes:
        text: In English.
        recipient: Whom it concerns; none if the alert as a whole.
        field: Dotted path of the first field that it is about; empty for the whole.
        count: How many fields it is about.
    """

    code: str
    text: str
    recipient: MemberCode | None = None
    field: str = ""
    count: int = 1


class Sizes(Strict):
    """Bytes, as they will count against the limits."""

    alert_bytes: int
    original_bytes: int
    sealed_bytes: int
    sealed_limit: int
    fits: bool


class EqualAlert(Strict):
    """A submission of the last 24 hours whose typed content is the same."""

    submission_id: UUID
    alert_id: UUID
    queued_at: Moment
    recipients: tuple[MemberCode, ...]


class Preview(Strict):
    """Who would receive a draft, why not the others, and what the hub would see.

    Attributes:
        status: As the officer stated it.
        exercise: True for anything but `actual`; show the word.
        lane: Queue it would travel in.
        facts: What the label will say.
        derived_facts: The lower bound that follows from the content.
        recipients: In the order asked.
        sizes: Against the limits of an envelope.
        directory: Whose keys and rules were used.
        judged_at: The node's clock.
        equal_alerts: Sent within 24 hours with equal content, newest first.
    """

    status: Status
    exercise: bool
    lane: Lane
    alert_type: TypeName
    alert_version: int
    facts: Facts
    derived_facts: Facts
    recipients: tuple[RecipientPreview, ...]
    warnings: tuple[Advice, ...]
    sizes: Sizes
    directory: DirectoryShown
    judged_at: Moment
    equal_alerts: tuple[EqualAlert, ...]


class SignedParts(Strict):
    """What `bytes_to_sign` is made of, so that nobody has to sign blindly.

    A desk computes the hashes itself: of the intent, of the audience, of the alert. What it then
    signs is what it asked for, or it does not sign.

    Attributes:
        intent: What the label will say, without what is only known at sealing.
        alert: The canonical bytes of the alert (schemas/SPEC.md).
        manifests: The canonical bytes of the list of attachment manifests.
        audience: All entries in signed order: recipients shuffled among dummies.
        openings: The random bytes of each recipient's entry.
    """

    intent: Intent
    alert: Base64
    manifests: Base64
    audience: tuple[Hash, ...]
    openings: dict[MemberCode, Hash]


class StoredDraft(Strict):
    """A draft kept by the node, and the exact bytes that the officer's key must sign.

    Attributes:
        draft_id: For `submit`.
        alert_id: What people will cite.
        bytes_to_sign: schemas/SPEC.md, section on the officer's signature.
        parts: What those bytes are made of; check them before signing.
        officer_kid: The key whose signature is expected.
        expires_at: After this the draft is forgotten.
    """

    draft_id: UUID
    alert_id: UUID
    rev: int
    bytes_to_sign: Base64
    parts: SignedParts
    officer_kid: Kid
    preview: Preview
    expires_at: Moment
