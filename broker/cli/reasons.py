"""A plain sentence for every code with which a gateway, a policy or a node refuses or waits.

Short words, no blame, and what to do where something can be done. A test reads the codes out of
the source: a new one without words fails it.
"""

from typing import Final

from broker.cli.text import phrase

_GATEWAY: Final = (
    phrase("reason-audit-unready", "the hub lost its record of decisions; the node sends it later"),
    phrase("reason-busy", "the hub is busy; the node sends it later"),
    phrase(
        "reason-clock-ahead", "this node's clock is ahead of the hub's; call your administrator"
    ),
    phrase("reason-control-about-control", "an answer cannot be about another answer"),
    phrase("reason-control-rate", "too many answers at once; the node sends them later"),
    phrase("reason-control-recipients", "an answer has exactly one recipient"),
    phrase("reason-control-repeated", "this answer was given before"),
    phrase("reason-control-too-large", "the answer is too large"),
    phrase(
        "reason-control-without-decision", "the answer is about an alert the hub never passed on"
    ),
    phrase("reason-directory-behind", "the hub does not have the newest keys and rules yet; wait"),
    phrase("reason-directory-stale", "the hub's keys and rules are out of date; wait"),
    phrase("reason-expired", "the alert's time has passed"),
    phrase("reason-id-reused", "another alert has this number; the node sends it under a new one"),
    phrase(
        "reason-log-unwitnessed",
        "too few members watch the hub's log; the node sends it later",
    ),
    phrase("reason-node-fault", "the recipient's node cannot handle it; call its administrator"),
    phrase("reason-not-tried", "the hub could not examine it; call your administrator"),
    phrase("reason-own-member", "nobody sends to itself"),
    phrase("reason-quota", "too many alerts at once; the node sends it later"),
    phrase("reason-stale-key", "the recipient has a newer key; the node seals it again"),
    phrase("reason-too-old", "it was sealed too long ago; the node seals it again"),
    phrase("reason-unprocessable", "the hub could not read it; call your administrator"),
    phrase("reason-wrong-lane", "it was sent on the wrong way; call your administrator"),
    phrase("reason-wrong-sender", "it names another sender; call your administrator"),
    phrase("reason-wrong-subject", "it was sent under another number; call your administrator"),
)

_POLICY: Final = (
    phrase("reason-policy-export-forbid", "your own country's rules forbid it"),
    phrase("reason-policy-export-default", "no rule of your own country allows it"),
    phrase("reason-policy-import-forbid", "the recipient's rules forbid it"),
    phrase("reason-policy-import-default", "no rule of the recipient allows it"),
    phrase("reason-policy-agreement-forbid", "the regional agreement forbids it"),
    phrase("reason-policy-agreement-default", "no rule of the regional agreement allows it"),
    phrase(
        "reason-policy-export-unknown-name", "your own country's rules name a stranger; tell it"
    ),
    phrase("reason-policy-import-unknown-name", "the recipient's rules name a stranger; tell it"),
    phrase(
        "reason-policy-agreement-unknown-name",
        "the regional agreement names a stranger; call your administrator",
    ),
)

_HANDLING: Final = (
    phrase("reason-controlled-delivery-h3", "a controlled delivery needs handling code H3"),
    phrase("reason-identifier-at-open-tlp", "TLP CLEAR and GREEN may not carry identity numbers"),
    phrase("reason-immediate-danger", "immediate danger needs precedence immediate or flash"),
    phrase("reason-level-too-high", "nothing above RESTRICTED travels here"),
    phrase("reason-original-not-named", "the original document is not named in the alert"),
    phrase(
        "reason-original-with-victim", "no original document may travel where a victim is named"
    ),
    phrase("reason-r1-actual-only", "a recipient takes real alerts only, no exercises"),
    phrase("reason-r2-h3-text", "handling code H3 needs a text that says what to observe"),
    phrase("reason-r3-clear-classified", "TLP CLEAR may not carry classified content"),
    phrase("reason-r3-clear-personal", "TLP CLEAR may not carry personal data"),
    phrase("reason-r3-red-by-name", "TLP RED goes to named members only"),
    phrase("reason-r3-strict-partner", "TLP AMBER+STRICT may not go to partners"),
    phrase("reason-r4-nobody", "the list of permitted countries leaves nobody"),
    phrase("reason-r4-outside-rel-to", "a recipient is not on the list of permitted countries"),
    phrase("reason-r8-review", "the review comes after the deletion; correct the dates"),
    phrase("reason-r8-too-long", "it would be kept longer than allowed"),
    phrase("reason-r8-victim-review", "data of victims and minors is reviewed within a year"),
    phrase("reason-victim-at-open-tlp", "TLP CLEAR and GREEN may not name a victim"),
    phrase("reason-victim-to-non-police", "a victim may be named to police only"),
)

_WAITING: Final = (
    phrase("reason-hub-unreachable", "the hub cannot be reached; the node keeps trying"),
    phrase(
        "reason-directory-expired", "the list of keys and rules is out of date; it will be fetched"
    ),
    phrase(
        "reason-directory-split",
        "the hub showed two different directories; call your administrator",
    ),
    phrase("reason-no-directory", "the node has no directory yet; call your administrator"),
    phrase("reason-clock-skew", "this node's clock is wrong; call your administrator"),
    phrase(
        "reason-signing-key-unusable",
        "the node's signing key cannot be used now; call your administrator",
    ),
    phrase("reason-policy-changed", "the rules changed since you signed"),
    phrase("reason-sealing-again", "the node seals it again under newer keys"),
    phrase("reason-too-large", "the alert is too large; send it without the original document"),
    phrase(
        "reason-content-too-large", "the alert is too large; send it without the original document"
    ),
    phrase("reason-cancelled", "you cancelled it"),
    phrase(
        "reason-retention-over",
        "it was to be deleted before it could be sent, and what it said is destroyed",
    ),
    phrase(
        "reason-storage-damaged", "the node cannot read what it stored; call your administrator"
    ),
    phrase("reason-no-encryption-key", "the recipient has no valid key now; try again later"),
    phrase("reason-bounced", "returned: no room at the hub; send it again later"),
)

_KEYS: Final = (
    phrase("reason-unknown-member", "this member is not in the region"),
    phrase("reason-member-suspended", "the member is suspended"),
    phrase(
        "reason-member-lapsed", "the member's keys were not renewed in time; it must renew them"
    ),
    phrase("reason-unknown-key", "the key is not in the directory; call your administrator"),
    phrase("reason-key-not-yet-valid", "the key is not valid yet"),
    phrase("reason-key-expired", "the key has expired; call your administrator"),
    phrase("reason-key-revoked", "the key was revoked; call your administrator"),
    phrase(
        "reason-key-revoked-since", "the key was revoked since; ask the sender to send it again"
    ),
    phrase("reason-bad-signature", "the signature is false; call your administrator"),
    phrase("reason-suite-mismatch", "it was sealed with another method than the region's"),
    phrase(
        "reason-unknown-officer",
        "your officer key is not in the directory; call your administrator",
    ),
    phrase(
        "reason-officer-not-yet-valid",
        "your officer certificate is not valid yet; call your administrator",
    ),
    phrase(
        "reason-officer-expired", "your officer certificate has expired; call your administrator"
    ),
    phrase(
        "reason-officer-revoked", "your officer certificate was revoked; call your administrator"
    ),
    phrase(
        "reason-officer-revoked-since", "the officer's certificate was revoked since it was signed"
    ),
    phrase("reason-officer-role", "this officer may not sign such an alert"),
    phrase("reason-officer-missing", "no officer signed it"),
    phrase("reason-officer-unexpected", "an officer signed what no officer signs"),
    phrase("reason-officer-mismatch", "the officer signed another alert than this one"),
)

_CONTENT: Final = (
    phrase("reason-audience-mismatch", "the officer signed for other recipients"),
    phrase(
        "reason-facts-understated",
        "its label says less than its content; send it again with the right facts",
    ),
    phrase("reason-original-mismatch", "the original document is another one than was named"),
    phrase("reason-bad-alert", "its content breaks the rules of its type"),
    phrase("reason-unknown-type", "the recipient's node does not read this type of alert yet"),
    phrase("reason-unknown-label-version", "the recipient's node is too old for it"),
    phrase("reason-unknown-wire-version", "the recipient's node is too old for it"),
    phrase("reason-unknown-suite", "the recipient's node is too old for it"),
    phrase("reason-wrong-recipient", "it was delivered to somebody else than its recipient"),
    phrase("reason-no-open-key", "the recipient has destroyed the key for it; send it again"),
    phrase("reason-not-accepted", "the hub delivered what it had refused; call your administrator"),
    phrase(
        "reason-bad-ciphertext", "it arrived damaged or was made wrongly; call your administrator"
    ),
    phrase(
        "reason-bad-compression", "it arrived damaged or was made wrongly; call your administrator"
    ),
    phrase("reason-bad-content", "it arrived damaged or was made wrongly; call your administrator"),
    phrase("reason-bad-control", "it arrived damaged or was made wrongly; call your administrator"),
    phrase(
        "reason-bad-decision", "it arrived damaged or was made wrongly; call your administrator"
    ),
    phrase(
        "reason-bad-delivery", "it arrived damaged or was made wrongly; call your administrator"
    ),
    phrase(
        "reason-bad-envelope", "it arrived damaged or was made wrongly; call your administrator"
    ),
    phrase("reason-bad-label", "it arrived damaged or was made wrongly; call your administrator"),
    phrase("reason-bad-padding", "it arrived damaged or was made wrongly; call your administrator"),
    phrase("reason-bad-slots", "it arrived damaged or was made wrongly; call your administrator"),
    phrase("reason-cannot-open", "it arrived damaged or was made wrongly; call your administrator"),
    phrase(
        "reason-decision-mismatch",
        "it arrived damaged or was made wrongly; call your administrator",
    ),
    phrase(
        "reason-duplicate-recipient",
        "it arrived damaged or was made wrongly; call your administrator",
    ),
    phrase(
        "reason-not-canonical", "it arrived damaged or was made wrongly; call your administrator"
    ),
    phrase(
        "reason-opening-mismatch", "it arrived damaged or was made wrongly; call your administrator"
    ),
    phrase(
        "reason-recipients-withheld",
        "it arrived damaged or was made wrongly; call your administrator",
    ),
    phrase(
        "reason-stanza-mismatch", "it arrived damaged or was made wrongly; call your administrator"
    ),
    phrase(
        "reason-too-compressed", "it arrived damaged or was made wrongly; call your administrator"
    ),
    phrase(
        "reason-wrong-commit", "it arrived damaged or was made wrongly; call your administrator"
    ),
    phrase("reason-wrong-slot", "it arrived damaged or was made wrongly; call your administrator"),
)

_FILES: Final = (
    phrase("reason-attachment-damaged", "the node's disk changed it; ask its sender for it"),
    phrase("reason-attachment-expired", "its time was over before it was here; ask its sender"),
    phrase("reason-attachment-late", "it does not come: ask its sender whether it was handed in"),
    phrase("reason-attachment-left-out", "a recipient that fetches nothing has no room for it"),
    phrase("reason-attachment-mismatch", "what arrived is not the file that the officer signed"),
    phrase("reason-attachment-not-sent", "the hub refused it for good"),
    phrase("reason-attachment-quota", "no room at the hub for more files yet; the node waits"),
    phrase("reason-attachments-full", "no room at this node for more files; it waits at the hub"),
    phrase("reason-attachments-share-full", "its sender has what one may have here; it waits"),
    phrase("reason-attachment-with-victim", "no file may travel where a victim is named"),
    phrase("reason-bad-chunk", "the hub gave a wrong part; the node refused it and asks again"),
    phrase("reason-chunk-differs", "the hub has another part there; call your administrator"),
    phrase("reason-counts-differ", "the hub was promised another file; call your administrator"),
    phrase("reason-decision-lost", "the hub lost what it had decided; attach the file again"),
    phrase("reason-disk-failed", "a disk fails; call your administrator"),
    phrase("reason-disk-full", "a disk is full; the node goes on when there is room"),
    phrase("reason-hub-refused", "the hub refused it; call your administrator"),
    phrase("reason-image-with-minor", "no image may travel where a minor is concerned"),
    phrase("reason-no-such-chunk", "the hub expects fewer parts; call your administrator"),
    phrase("reason-nobody-accepted", "the hub passed the alert to nobody"),
    phrase("reason-not-decided", "the hub has not decided about the alert yet"),
    phrase("reason-not-open", "the hub was restarted; the node begins again"),
    phrase("reason-unreachable", "the hub does not answer; the node keeps trying"),
)

REASONS: Final = dict((*_GATEWAY, *_POLICY, *_HANDLING, *_WAITING, *_KEYS, *_CONTENT, *_FILES))
"""By message code, `reason-` and the refusal's code."""
