"""What an officer sees before an alert is sent: to whom it may go, how large it is, doubts."""

from collections.abc import Sequence

from broker.envelope.errors import EnvelopeError
from broker.envelope.padding import MAX_PADDED_BYTES, pack
from broker.envelope.submitted import STANZA_BYTES
from broker.node.drafting import Composed, too_large
from broker.node.present import Present
from schemas.common import Alert
from schemas.desk import Advice, DraftRequest, EqualAlert, Preview, RecipientPreview, Sizes
from schemas.doubts import WORDS, doubts
from schemas.vocabulary import Status


def preview(
    request: DraftRequest, composed: Composed, present: Present, equal: Sequence[EqualAlert]
) -> Preview:
    """Return what the officer sees before sending."""
    intent = composed.intent
    sizes = _sizes(composed)
    reads = {
        code: code in present.view.member_views
        and present.view.reads(code, intent.type, intent.type_version)
        for code in request.recipients
    }
    warnings = [
        Advice(
            code="type-not-read",
            text=f"the node of {code} does not say that it reads this type",
            recipient=code,
        )
        for code in composed.permitted
        if not reads[code]
    ]
    if not sizes.fits:
        warnings.append(Advice(code="content-too-large", text=too_large(sizes)))
    warnings += doubtful(composed.alert)
    return Preview(
        status=intent.status,
        exercise=intent.status is not Status.ACTUAL,
        lane=intent.lane,
        alert_type=intent.type,
        alert_version=intent.type_version,
        facts=intent.facts,
        derived_facts=composed.derived,
        recipients=tuple(
            RecipientPreview(
                recipient=code,
                permitted=verdict.permitted,
                code=verdict.code,
                rule=verdict.rule,
                decided_by=verdict.decided_by,
                reads=reads[code],
            )
            for code, verdict in composed.verdicts.items()
        ),
        warnings=tuple(warnings),
        sizes=sizes,
        directory=present.shown(),
        judged_at=present.now(),
        equal_alerts=tuple(equal),
    )


def doubtful(alert: Alert) -> list[Advice]:
    """Return one advice for each kind of doubt: an import can have hundreds of one kind."""
    fields: dict[str, list[str]] = {}
    for doubt in doubts(alert):
        fields.setdefault(doubt.code, []).append(doubt.field)
    return [
        Advice(
            code=code,
            text=f"{places[0]}: {WORDS[f'doubt-{code}']}",
            field=places[0],
            count=len(places),
        )
        for code, places in fields.items()
    ]


def _sizes(composed: Composed) -> Sizes:
    content = composed.content
    try:
        sealed = len(pack(content.to_bytes()))
        fits = True
    except EnvelopeError:
        sealed, fits = len(content.to_bytes()) + STANZA_BYTES, False
    return Sizes(
        alert_bytes=len(content.alert_bytes),
        original_bytes=len(content.original or b""),
        sealed_bytes=sealed,
        sealed_limit=MAX_PADDED_BYTES,
        fits=fits,
    )
