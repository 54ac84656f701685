"""A tree with its children at hand: what every reader of a whole tree asks."""

from collections.abc import Mapping, Sequence

from quorate.metadata.zookeeper.znodes import Tree, Znode


class Family:
    """A tree, and the names below each of its znodes, sorted."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        names: dict[str, list[str]] = {}
        for path in tree:
            if path != "/":
                parent, _, name = path.rpartition("/")
                names.setdefault(parent or "/", []).append(name)
        for children in names.values():
            children.sort()
        self._names: Mapping[str, list[str]] = names

    def children(self, path: str) -> Sequence[str]:
        """The names of the children; none also where the znode itself is missing."""
        return self._names.get(path, ())

    def exists(self, path: str) -> bool:
        return path in self.tree

    def get(self, path: str) -> Znode | None:
        return self.tree.get(path)

    def data(self, path: str) -> bytes | None:
        """None: null data, or no such znode."""
        node = self.tree.get(path)
        return None if node is None else node.data

    def below(self, path: str) -> list[str]:
        """The paths of the znode, if there is one, and of all below it; children before their parents."""
        found: list[str] = []
        waiting = [path]
        while waiting:
            at = waiting.pop()
            found.append(at)
            waiting += [f"{at}/{name}" for name in self.children(at)]
        return [one for one in reversed(found) if one in self.tree]
