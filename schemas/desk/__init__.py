"""What a desk and its node say to each other: shared by node, HTTP API, SDK and command line.

All models are strict, so parse JSON with `model_validate_json`.
"""

from schemas.desk.asked import (
    MAX_ORIGINAL_BYTES,
    AlertBody,
    CursorAck,
    DraftRequest,
    OriginalDocument,
    SubmitRequest,
)
from schemas.desk.drafts import (
    Advice,
    EqualAlert,
    Preview,
    RecipientPreview,
    SignedParts,
    Sizes,
    StoredDraft,
)
from schemas.desk.fields import (
    MAX_PAGE,
    Base64,
    CursorName,
    DirectoryNamed,
    DirectoryShown,
    Hash,
    IdempotencyKey,
    Kid,
    Recipients,
)
from schemas.desk.inbox import (
    Cursor,
    DecisionShown,
    InboxItem,
    InboxPage,
    OfficerShown,
    OriginalShown,
)
from schemas.desk.status import (
    Alarm,
    ClockShown,
    Gap,
    LogShown,
    MemberShown,
    MembersPage,
    NodeStatus,
    Problem,
)
from schemas.desk.submissions import (
    RecipientOutcome,
    RecipientState,
    Submission,
    SubmissionPage,
    SubmissionState,
)

__all__ = [
    "MAX_ORIGINAL_BYTES",
    "MAX_PAGE",
    "Advice",
    "Alarm",
    "AlertBody",
    "Base64",
    "ClockShown",
    "Cursor",
    "CursorAck",
    "CursorName",
    "DecisionShown",
    "DirectoryNamed",
    "DirectoryShown",
    "DraftRequest",
    "EqualAlert",
    "Gap",
    "Hash",
    "IdempotencyKey",
    "InboxItem",
    "InboxPage",
    "Kid",
    "LogShown",
    "MemberShown",
    "MembersPage",
    "NodeStatus",
    "OfficerShown",
    "OriginalDocument",
    "OriginalShown",
    "Preview",
    "Problem",
    "RecipientOutcome",
    "RecipientPreview",
    "RecipientState",
    "Recipients",
    "SignedParts",
    "Sizes",
    "StoredDraft",
    "Submission",
    "SubmissionPage",
    "SubmissionState",
    "SubmitRequest",
]
