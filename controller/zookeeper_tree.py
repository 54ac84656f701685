"""Reading the whole tree of a live ZooKeeper (shell)."""

from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.znodes import Tree, Znode

_ITS_OWN = "/zookeeper"


async def read_tree(zookeeper: ZooKeeper) -> Tree:
    """Level by level, each asked for side by side; what goes meanwhile is not in it.

    Raises:
        ZooKeeperError
    """
    tree: dict[str, Znode] = {}
    level = ["/"]
    while level:
        below = await zookeeper.children_many(level)
        pairs = zip(level, below, strict=True)
        level = [f"{path.rstrip('/')}/{name}" for path, names in pairs for name in names or ()]
        level = [path for path in level if path != _ITS_OWN]
        found = await zookeeper.get_many(level)
        tree.update({node.path: node for node in found if node is not None})
    return tree
