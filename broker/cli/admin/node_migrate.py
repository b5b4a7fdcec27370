"""`kentong node migrate`: brings the node's database to this version's tables."""

from broker.cli.admin.migrate import AsSQL, Check, migrate_state
from broker.cli.admin.node_place import NodePlace
from broker.cli.admin.secret import AsJSON
from broker.settings import home
from broker.store import tables


def migrate_node(check: Check = False, sql: AsSQL = False, as_json: AsJSON = False) -> None:
    """Bring the node's database to the tables of this version; stop the node and back up first.

    The node does the same by itself when it starts. All of it is done, or nothing. Who may change
    tables only by a database administrator gives him what --sql prints.

    Example: kentong node migrate --check
    """
    place = NodePlace(home())
    migrate_state(place.database_url(place.config()), tables.metadata, check, sql, as_json)
