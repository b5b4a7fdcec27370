"""The one fixed rule for controls, which no policy judges. Source: schemas/SPEC.md section 9.

Permitted only between the two parties of a decision that delivered, once for each kind and
decision; a pair-state, which speaks of no decision, between members at a bounded rate. So no
default deny swallows a receipt, and no receipt breeds another.
"""

from broker.envelope.submitted import Submitted
from schemas.control import MAX_CONTROL_ENVELOPE_BYTES, check_control_label
from schemas.decision import Decision, VerdictRecord
from schemas.errors import SchemaError
from schemas.vocabulary import Kind

FIXED_RULE = "fixed rule for controls"


def refusal(submitted: Submitted, *, size: int, spoken_of: Decision | None) -> str:
    """Return why the control is refused, or an empty string.

    Args:
        submitted: Authentic.
        size: Of the envelope in bytes.
        spoken_of: The standing decision on `ref` of the control's recipient, if there is one.
    """
    label = submitted.frame.label
    if size > MAX_CONTROL_ENVELOPE_BYTES:
        return "control-too-large"
    if len(submitted.slots) != 1:
        return "control-recipients"
    try:
        check_control_label(label)
    except SchemaError:
        return "bad-control"
    if label.kind is Kind.PAIR_STATE:
        return ""
    return _about(submitted, spoken_of)


def _about(submitted: Submitted, spoken_of: Decision | None) -> str:
    label = submitted.frame.label
    reference = label.ref
    if reference is None or spoken_of is None:
        return "control-without-decision"
    header = spoken_of.header
    if (header.digest, header.id, header.status) != (
        reference.digest,
        reference.id,
        label.status,
    ):
        return "control-without-decision"
    if header.kind is None or header.kind.is_control:
        return "control-about-control"
    record: VerdictRecord | None = spoken_of.record_of(label.sender.member)
    if header.code or record is None or not record.accepted:
        return "control-without-decision"
    return ""
