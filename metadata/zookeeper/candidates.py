"""Who leads: candidates queue as ephemeral sequential znodes, the lowest leads (shell, over `interface.ZooKeeper`).

    QUEUE/<nonce>-n-0000000007     leads
    QUEUE/<nonce>-n-0000000009     watches ...07 and nothing else
    QUEUE/<nonce>-n-0000000012     watches ...09

Whoever goes wakes the one behind it alone. That a predecessor goes does not mean that one leads: it may have left the
middle of the queue. (ZooKeeper's recipe for leader election.)

Being told to lead is no fence: a process that was paused learns last that it no longer leads. `Leading.token` grows
from leader to leader; what is protected must refuse a lower one, or a write must check an epoch in the same multi.
"""

import contextlib
import re
import uuid
from collections.abc import Callable
from typing import Final

import attrs
import trio

from quorate.metadata.zookeeper.interface import ZooKeeper
from quorate.metadata.zookeeper.paths import ROOT, child_of, parent_of
from quorate.metadata.zookeeper.znodes import ErrorCode, SessionState, WatchEvent, ZooKeeperError

_CANDIDATE: Final = re.compile(r".*-n-(-?\d{10})")
_PAUSE_S: Final = 0.1
"""Before trying again what the server answered with an error that will perhaps go."""


@attrs.frozen
class Leading:
    """Since its candidate became the first of the queue, until this client is told otherwise."""

    token: int
    """The czxid of its candidate: higher than that of every leader before it."""
    path: str
    session: int


class Candidacy:
    """One candidate. `run` queues and stays in the queue; `tell` hears of each change."""

    def __init__(
        self,
        zookeeper: ZooKeeper,
        queue: str,
        tell: Callable[[Leading | None], None],
        *,
        data: bytes | None = None,
        nonce: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        """
        queue: the znode below which the candidates are; made, with what is above it, if it is not there.
        tell: called in the event loop: `Leading`, or None as soon as it is not certain any more.
        data: of the candidate's znode: who it is, for people.
        nonce: something new each time, to know one's own znode by when the reply to its creation was lost.
        """
        self.leading: Leading | None = None
        self._zookeeper: Final = zookeeper
        self._queue: Final = queue
        self._tell: Final = tell
        self._data: Final = data
        self._nonce: Final = nonce
        self._mark = ""
        self._session = 0
        self._wake = trio.Event()
        self._changes = 0
        """Of the session's state: what was learned before one is worth nothing after it."""

    async def run(self) -> None:
        """Until cancelled; then its candidate leaves the queue.

        Raises:
            ZooKeeperError: NO_AUTH, INVALID_ACL: this client may not do it, and will not be allowed to by waiting.
        """
        self._zookeeper.on_state(self._state_changed)
        try:
            while True:
                self._wake = trio.Event()
                wake = self._wake
                if self._zookeeper.state is SessionState.CONNECTED and not await self._in_turn():
                    continue
                await wake.wait()
        finally:
            self._become(None)
            with trio.move_on_after(1) as leave:
                leave.shield = True
                await self._leave()

    async def _in_turn(self) -> bool:
        """Takes its place; False: the queue changed meanwhile, look again."""
        try:
            return await self._take_place()
        except ZooKeeperError as e:
            self._become(None)
            if e.code in (ErrorCode.NO_AUTH, ErrorCode.INVALID_ACL, ErrorCode.AUTH_FAILED):
                raise
            # the state's change wakes it up where the connection was lost; here that may have been long ago
            await trio.sleep(_PAUSE_S)
            return False

    async def _take_place(self) -> bool:
        zookeeper, changes = self._zookeeper, self._changes
        mine = await self._find_mine() or await self._queue_up()
        names = await self._candidates()
        if mine not in names:
            return False
        place = names.index(mine)
        if place:
            self._become(None)
            before = await zookeeper.exists(child_of(self._queue, names[place - 1]), self._woken)
            return before is not None
        path = child_of(self._queue, mine)
        stat = await zookeeper.exists(path, self._woken)  # an operator may remove a leader by its znode
        if stat is None or changes != self._changes:
            return False
        self._become(Leading(stat.czxid, path, zookeeper.session_id))
        return True

    async def _find_mine(self) -> str | None:
        if self._session != self._zookeeper.session_id or not self._mark:
            # what an older session left in the queue goes by itself, and is not this candidate
            self._session, self._mark = self._zookeeper.session_id, f"{self._nonce()}-n-"
        for name in await self._candidates():
            if name.startswith(self._mark):
                return name
        return None

    async def _queue_up(self) -> str:
        path = child_of(self._queue, self._mark)
        made = await self._zookeeper.create(path, self._data, ephemeral=True, sequential=True)
        return made.rpartition("/")[2]

    async def _candidates(self) -> list[str]:
        """Names, the first one first. Prefixes differ, so the number alone decides."""
        try:
            names = await self._zookeeper.children(self._queue)
        except ZooKeeperError as e:
            if e.code is not ErrorCode.NO_NODE:
                raise
            await self._make(self._queue)
            return []
        numbered = [(int(found[1]), name) for name in names if (found := _CANDIDATE.fullmatch(name))]
        return [name for _, name in sorted(numbered)]

    async def _make(self, path: str) -> None:
        if path == ROOT:
            return
        try:
            await self._zookeeper.create(path)
        except ZooKeeperError as e:
            if e.code is ErrorCode.NO_NODE:
                await self._make(parent_of(path))
                await self._make(path)
            elif e.code is not ErrorCode.NODE_EXISTS:
                raise

    async def _leave(self) -> None:
        if not self._mark or self._session != self._zookeeper.session_id:
            return
        with contextlib.suppress(ZooKeeperError):  # the session's end takes it otherwise
            for name in await self._candidates():
                if name.startswith(self._mark):
                    await self._zookeeper.delete(child_of(self._queue, name))

    def _woken(self, event: WatchEvent) -> None:
        if self.leading is not None and event.path == self.leading.path:
            self._become(None)
        self._wake.set()

    def _state_changed(self, state: SessionState) -> None:
        self._changes += 1
        if state is not SessionState.CONNECTED:
            self._become(None)
        self._wake.set()

    def _become(self, leading: Leading | None) -> None:
        if leading != self.leading:
            self.leading = leading
            self._tell(leading)
