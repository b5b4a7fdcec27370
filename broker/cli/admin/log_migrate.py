"""`kentong log migrate`: brings the log's database to this version's tables."""

from broker.cli.admin.migrate import AsSQL, Check, migrate_state
from broker.cli.admin.secret import AsJSON
from broker.ledger.place import LedgerPlace
from broker.ledger.state import metadata
from broker.settings import home


def migrate_log(check: Check = False, sql: AsSQL = False, as_json: AsJSON = False) -> None:
    """Bring the log's database to the tables of this version; stop the log and back up first.

    The log does the same by itself when it starts. All of it is done, or nothing.

    Example: kentong log migrate --sql
    """
    migrate_state(LedgerPlace(home()).database_url, metadata, check, sql, as_json)
