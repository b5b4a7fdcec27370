"""What a file shows to be over is destroyed before the command ends, node running or not."""

from broker.logs import get_logger
from broker.node.node import Node
from broker.store.errors import StoreError

_log = get_logger()


async def destroy_over(node: Node) -> None:
    """Destroy what is past its `delete_by`; what somebody holds open goes the next time."""
    try:
        await node.upkeep.destroy_over()
    except StoreError as error:
        _log.warning("retention-waits", error_code=error.code)
