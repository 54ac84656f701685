"""A picture of the tree at one moment, drawn while the tree goes on changing (pure).

The rows are made a few at a time, so that nobody waits long. A znode that is about to change before its row was made
has it made first (`ZnodeTree.before_change`): what comes out is the tree exactly as it was at the beginning.
"""

from itertools import islice
from typing import Any, Final

from quorate.metadata.checks import check
from quorate.metadata.zookeeper.journal_format import ROWS, SESSIONS, end_of_snapshot, frame
from quorate.metadata.zookeeper.jute import Writer
from quorate.metadata.zookeeper.records import write_node, write_session
from quorate.metadata.zookeeper.state import ServerState


class SnapshotDrawing:
    """From its making until `next_frame` gives None, or `give_up`."""

    def __init__(self, state: ServerState[Any]) -> None:
        check(state.tree.before_change is None, "a snapshot is being drawn already")
        self.zxid: Final = state.last_zxid
        self._tree: Final = state.tree
        self._left = dict.fromkeys(state.tree.nodes)
        self._count = len(self._left)
        self._early = Writer()
        sessions = Writer().raw(SESSIONS)
        for session in state.sessions.sessions.values():
            write_session(sessions, session)
        self._ready: list[bytes] = [frame(sessions.done())]
        self._ended = False
        state.tree.before_change = self._keep

    def next_frame(self, max_nodes: int) -> bytes | None:
        """The next part of the file; None: it is whole."""
        if self._ready:
            return self._ready.pop()
        if self._ended:
            return None
        rows, self._early = Writer().raw(ROWS).raw(self._early.done()), Writer()
        for path in list(islice(self._left, max_nodes)):
            del self._left[path]
            write_node(rows, path, self._tree.nodes[path])
        if not self._left:
            self._ready.append(end_of_snapshot(self.zxid, self._count))
            self.give_up()
        return frame(rows.done())

    def give_up(self) -> None:
        self._ended = True
        self._tree.before_change = None

    def _keep(self, path: str) -> None:
        if path in self._left:
            del self._left[path]
            write_node(self._early, path, self._tree.nodes[path])
