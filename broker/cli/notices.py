"""A plain sentence for every alarm of a node and every note beside a received alert.

The code stands before the sentence: it is what an officer reads out on the telephone.
"""

from typing import Final

from broker.cli.reasons import REASONS
from broker.cli.text import phrase, say

ALARMS: Final = dict(
    (
        phrase("alarm-log-fork", "the log has two histories; keep the evidence, tell the others"),
        phrase("alarm-log-broken", "the hub's log was changed afterwards; tell the others"),
        phrase("alarm-log-inconsistent", "the hub's log does not continue what was signed before"),
        phrase("alarm-evidence-not-kept", "evidence about the log finds no room; carry it away"),
        phrase("alarm-log-not-proven", "the log does not show a decision about your mail in time"),
        phrase("alarm-log-leaf-mismatch", "the log says something else of your mail than the hub"),
        phrase("alarm-mail-awaits-log", "mail under a stolen key waits for the log to prove it"),
        phrase("alarm-directory-split", "the hub showed two different lists of keys and rules"),
        phrase("alarm-directory-expires-soon", "a part of the directory must be signed again soon"),
        phrase("alarm-database-lost", "the node's database was away; nothing kept was lost"),
        phrase("alarm-database-damaged", "the disk changed the node's database; restore a backup"),
        phrase("alarm-signing-key-unusable", "the token with this node's signing key fails"),
        phrase("alarm-pair-state-missing", "this member has not said for long what it sent"),
    )
)
WARNINGS: Final = dict(
    (
        phrase("warning-reviewed-no-personal-data", "its officer states that it names nobody"),
        phrase("warning-type-not-read", "this version cannot read alerts of this type"),
        phrase("warning-system-sender", "a system sent it, not a person"),
    )
)
_QUARANTINED: Final = "quarantined-"
_DIRECTORY: Final = "directory-"
_ATTACHED: Final = "attachment"


def alarm_words(code: str) -> str:
    """Return a sentence for an alarm; empty if there is none."""
    if (words := ALARMS.get(f"alarm-{code}")) is not None:
        return say(f"alarm-{code}", words)
    if code.startswith(_QUARANTINED):
        return say(
            "alarm-quarantined",
            "an alert was set aside: {why}",
            why=_reason(code.removeprefix(_QUARANTINED)),
        )
    if code.startswith(_DIRECTORY):
        return say("alarm-directory", "the list of keys and rules from the hub was not taken")
    if code.startswith(_ATTACHED):
        why = code if f"reason-{code}" in REASONS else code.removeprefix(_ATTACHED)
        return say("alarm-attachment", "an attached file: {why}", why=_reason(why.lstrip("-")))
    return ""


def warning_words(code: str) -> str:
    """Return a note beside a received alert; the code itself if there are no words."""
    words = WARNINGS.get(f"warning-{code}")
    return _reason(code) if words is None else say(f"warning-{code}", words)


def _reason(code: str) -> str:
    text = REASONS.get(f"reason-{code}")
    return code if text is None else say(f"reason-{code}", text)
