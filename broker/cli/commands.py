"""Which commands there are, and where each one lives.

A command's module is imported only when it runs, so that `kentong inbox` on a small machine does
not wait for the libraries of `kentong hub`.
"""

from typing import Final, NamedTuple


class Command(NamedTuple):
    """One word after `kentong`.

    Attributes:
        module: Where its `app` (a Typer) is.
        summary: The line in the help.
        panel: The heading it stands under.
    """

    module: str
    summary: str
    panel: str


OFFICER: Final = "For officers"
MEMBER: Final = "For a member's administrator"
REGION: Final = "For the region and the hub"
AUDITOR: Final = "For auditors"

COMMANDS: Final = {
    "send": Command("broker.cli.send", "Send an alert.", OFFICER),
    "draft": Command("broker.cli.draft", "Go on with an alert you began.", OFFICER),
    "inbox": Command("broker.cli.inbox", "List the alerts that arrived.", OFFICER),
    "show": Command("broker.cli.show", "Show one alert.", OFFICER),
    "watch": Command("broker.cli.watch", "Show alerts as they arrive.", OFFICER),
    "status": Command("broker.cli.status", "Show where an alert of yours is.", OFFICER),
    "outbox": Command("broker.cli.outbox", "List what you sent, or cancel it.", OFFICER),
    "import": Command("broker.cli.import_", "Turn STIX, MISP or CSV into alerts.", OFFICER),
    "schema": Command("broker.cli.schema", "Show the form of an alert type.", OFFICER),
    "doctor": Command("broker.cli.doctor", "Find out what is wrong.", OFFICER),
    "demo": Command("broker.cli.demo", "Run a whole region on this machine.", OFFICER),
    "profile": Command("broker.cli.profile", "Keep what you need not type.", OFFICER),
    "node": Command("broker.cli.admin.node", "Run this member's node.", MEMBER),
    "carry": Command("broker.cli.admin.carry", "Move mail by file, without a link.", MEMBER),
    "token": Command("broker.cli.admin.token", "Admit desks to the node.", MEMBER),
    "officer": Command("broker.cli.admin.officer", "Certify and revoke officers.", MEMBER),
    "keys": Command("broker.cli.admin.keys", "Rotate and destroy keys.", MEMBER),
    "policy": Command("broker.cli.admin.policy", "Check, explain, sign a policy.", MEMBER),
    "directory": Command("broker.cli.admin.directory", "Propose, sign, publish, verify.", MEMBER),
    "witness": Command("broker.cli.admin.witness", "See how the log stands here.", MEMBER),
    "region": Command("broker.cli.admin.region", "Found a region, trust its root.", REGION),
    "member": Command("broker.cli.admin.member", "Apply for and admit members.", REGION),
    "hub": Command("broker.cli.admin.hub", "Run the hub.", REGION),
    "gateway": Command("broker.cli.admin.gateway", "Run one gateway worker.", REGION),
    "audit": Command("broker.cli.admin.audit", "Verify the log by its files alone.", AUDITOR),
    "evidence": Command("broker.cli.admin.evidence", "Prove an alert to others.", AUDITOR),
    "auditors": Command("broker.cli.admin.auditors", "Make and join the auditors' key.", AUDITOR),
    "log": Command("broker.cli.admin.log", "Make and run the log of decisions.", REGION),
}
