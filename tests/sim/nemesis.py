"""Everything that goes wrong, at random moments: crashes, pauses, partitions, resets, stops, lost disks.

It also brings things back; `quiet` ends the bad times for good (the liveness phase).
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from quorate.metadata.ids import LOG_START, NodeId
from quorate.metadata.quorum import snapshots
from quorate.metadata.quorum.effects import Effects, SendResponse
from quorate.metadata.quorum.events import (
    ResignRequested,
    RetentionReached,
    ShutdownRequested,
    SnapshotCreated,
    SpaceChanged,
)
from quorate.metadata.quorum.messages import VoteResponse
from tests.sim.clients import Clients
from tests.sim.disk import Disk, SimLog
from tests.sim.members import Members
from tests.sim.network import Network
from tests.sim.node import Doom, SimNode
from tests.sim.options import WorldOptions
from tests.sim.schedule import Schedule
from tests.sim.trace import Trace
from tests.sim.voter_changes import VoterChanges


def _gives_a_vote(effects: Effects) -> bool:
    return any(
        isinstance(message, SendResponse)
        and isinstance(message.response, VoteResponse)
        and message.response.granted
        for message in effects.send
    )


DOOMED_STEPS: Final[list[tuple[Callable[[Effects], bool], int]]] = [
    (lambda effects: True, 5),
    (lambda effects: effects.election is not None, 5),
    (_gives_a_vote, 2),
    (_gives_a_vote, 1),
    (lambda effects: effects.truncate_to is not None or effects.install_snapshot is not None, 3),
    (lambda effects: bool(effects.append), 5),
]
"""Where a crash hurts most: around the writes that a promise depends on; and after how many effects at most."""


class Nemesis:
    """One kind of trouble per method; each plans its own next time."""

    def __init__(
        self,
        options: WorldOptions,
        *,
        nodes: list[SimNode],
        clients: Clients,
        schedule: Schedule,
        network: Network,
        trace: Trace,
        marks: Counter[str],
        rng: random.Random,
        wipe: Callable[[SimNode], None],
        members: Members,
        changes: VoterChanges,
    ) -> None:
        self._all = nodes
        if options.brokers_are_well:
            nodes = [node for node in nodes if not node.is_broker]
        self._options, self._nodes, self._clients, self._network = options, nodes, clients, network
        self._schedule, self._trace, self._marks, self._rng = schedule, trace, marks, rng
        self._wipe_disk = wipe
        self._members, self._changes = members, changes
        self._last_cut = 0
        self._copies: dict[SimNode, list[Disk]] = {}
        self.active = True
        self.dead: set[SimNode] = set()
        """They never come back."""
        for node in nodes:
            node.when_cut = node.when_ended = self._start_later
        self._every(None if options.is_whole else options.propose_every_ms, self.propose)
        self._every(options.crash_every_ms, self.crash)
        self._every(options.reset_every_ms, self.reset)
        self._every(options.partition_every_ms, self.partition)
        self._every(options.pause_every_ms, self.pause)
        self._every(options.stop_every_ms, self.stop)
        self._every(options.resign_every_ms, self.resign)
        self._every(options.space_every_ms, self.space)
        self._every(options.snapshot_every_ms, self.snapshot)
        self._every(options.wipe_every_ms, self.wipe)
        self._every(options.full_disk_every_ms, self.fill_disk)
        self._every(options.rot_every_ms, self.rot)
        self._every(options.members_every_ms, self._changes.ask)
        self._every(options.restore_every_ms, self.restore)

    def _every(self, mean_ms: int | None, act: Callable[[], None]) -> None:
        if mean_ms is None:
            return

        def again() -> None:
            if self.active:
                self._trace.act("-", f"trouble: {act.__name__}")
                act()
                self._every(mean_ms, act)

        self._schedule.after(self._rng.randint(1, 2 * mean_ms), again)

    def _up(self) -> list[SimNode]:
        return [node for node in self._nodes if node.up]

    def _some(self, nodes: list[SimNode]) -> SimNode | None:
        """Any of them; a leader more often, since with it things are more interesting."""
        leaders = [node for node in nodes if node.up and node.core.leads]
        if leaders and self._rng.random() < 0.4:
            return self._rng.choice(leaders)
        return self._rng.choice(nodes) if nodes else None

    # ---- the kinds of trouble --------------------------------------------------------------------------

    def propose(self) -> None:
        leaders = [node for node in self._up() if node.core.leads and not node.paused]
        if leaders:
            self._clients.propose(self._rng.choice(leaders))

    def crash(self) -> None:
        node = self._some(self._up())
        if node is None:
            return
        if self._rng.random() < self._options.crash_all:
            self._marks["all crash"] += 1
            for one in self._up():
                one.crash()
                self._start_later(one)
        elif self._rng.random() < self._options.crash_inside:
            when, most = self._rng.choice(DOOMED_STEPS)
            node.doom = Doom(when, self._rng.randint(0, most))
        else:
            node.crash()
            self._start_later(node)

    def _start_later(self, node: SimNode) -> None:
        def start() -> None:
            if not node.up and node not in self.dead:
                self._start(node)

        self._schedule.after(self._rng.randint(*self._options.down_ms), start)

    def _start(self, node: SimNode) -> None:
        """As a node starts: recovery reads the whole log, and refuses one that is damaged."""
        damage = node.disk.log.damage() if self._options.rot_every_ms is not None else None
        if damage is not None:
            self._marks["damage found at start"] += 1
            self._trace.trouble(node.name, f"refuses its damaged log, and gets a new directory: {damage}")
            self._wipe_disk(node)
        node.start()

    def reset(self) -> None:
        one, other = self._rng.sample(self._nodes, 2) if len(self._nodes) > 1 else (None, None)
        if one is not None and other is not None:
            self._trace.trouble(one.name, f"loses its connection to {other.name}")
            self._network.reset(one.id, other.id)

    def partition(self) -> None:
        if len(self._nodes) < 2:
            return
        count = self._rng.randint(1, len(self._nodes) - 1)
        first = self._some(self._nodes)
        side = {node.id for node in self._rng.sample(self._nodes, count)} | ({first.id} if first else set())
        side |= {client for client in self._network.clients if self._rng.random() < 0.5}
        inward, outward = self._rng.choice([(True, True), (True, True), (True, False), (False, True)])
        self._cut_off(frozenset(side), inward=inward, outward=outward)

    def _cut_off(self, side: frozenset[NodeId], *, inward: bool, outward: bool) -> None:
        self._marks["partition" if inward and outward else "one-way partition"] += 1
        names = ", ".join(f"{'c' if one in self._network.clients else 'n'}{one}" for one in sorted(side))
        way = "cut off from the others" if inward and outward else "not heard" if outward else "told nothing"
        self._trace.trouble("", f"{names}: {way}")
        cut = self._network.split(side, inward=inward, outward=outward)
        self._last_cut += 1
        number = self._last_cut
        self._trace.cut_begins(number, side, inward=inward, outward=outward)

        def mend() -> None:
            if self.active:
                self._trace.trouble("", f"{names}: connected again")
            self._network.mend(cut)
            self._trace.cut_ends(number)

        self._schedule.after(self._rng.randint(*self._options.partition_ms), mend)

    def pause(self) -> None:
        node = self._some([one for one in self._up() if not one.paused])
        if node is not None:
            self._marks["pause"] += 1
            node.pause()
            life = node.life
            self._schedule.after(
                self._rng.randint(*self._options.pause_ms),
                lambda: node.resume() if node.life == life else None,
            )

    def stop(self) -> None:
        node = self._some([one for one in self._up() if not one.paused])
        if node is None:
            return
        self._marks["orderly stop"] += 1
        node.act(node.machine.stop, "is told to stop")
        life = node.life
        if node.is_broker:
            return  # it ends itself, with the controller's leave or without
        node.handle(ShutdownRequested())

        def give_up() -> None:  # as the shell does, when nobody takes over in time
            if node.up and node.life == life:
                node.exit()
            if not node.up:
                self._start(node)

        self._schedule.after(2000 + self._rng.randint(*self._options.down_ms), give_up)

    def resign(self) -> None:
        leaders = [node for node in self._up() if node.core.leads and not node.paused]
        if leaders:
            node = self._rng.choice(leaders)
            node.handle(ResignRequested(node.core.election.epoch, "the simulation wants it"))

    def space(self) -> None:
        node = self._some([one for one in self._up() if not one.paused])
        if node is not None:
            node.handle(SpaceChanged(low=not node.core.disk_low))

    def snapshot(self) -> None:
        """A node begins a snapshot of what it has applied; it is complete a little later, if the node lives."""
        node = self._some([one for one in self._up() if not one.paused])
        if node is None:
            return
        source = node.machine.snapshot(node.core, self._schedule.now_ms)
        if source is None:
            return
        point, batches = source
        newest = node.core.log.newest_snapshot
        if point.offset > snapshots.max_snapshot_end(node.core) or point in (LOG_START, newest):
            return
        writer = node.disk.log.new_snapshot(point)
        for batch in batches:
            writer.append(batch)
        life = node.life

        def finish() -> None:
            if node.life == life:
                writer.finish()
                self._marks["snapshot created"] += 1
                self._trace.line(node.name, f"has a snapshot of all below {point.offset}")
                node.deliver(SnapshotCreated(point))
                if node.life == life:  # the newest two are kept, as by limits that are soon reached
                    node.deliver(RetentionReached(node.disk.log.summary().snapshots[-2:][0]))

        self._schedule.after(self._rng.randint(0, 200), finish)

    def wipe(self) -> None:
        expendable = self._expendable()
        if not expendable:
            return
        self._marks["disk lost"] += 1
        node = self._rng.choice(expendable)
        node.crash()
        self._trace.trouble(node.name, "loses its disk, and gets a new directory")
        self._wipe_disk(node)
        self._start_later(node)

    def _expendable(self) -> list[SimNode]:
        """Voters without whose disk there is still a majority of good ones."""
        return [
            node for node in self._nodes if node.is_voter and self._members.can_lose(node.key, self._nodes)
        ]

    def restore(self) -> None:
        """A disk is copied, or put back as an earlier copy of it: of somebody who never had a vote to remember."""
        nodes = [node for node in self._nodes if node.key not in self._members.ever]
        if not nodes:
            return
        node = self._rng.choice(nodes)
        copies = self._copies.setdefault(node, [])
        if not copies or self._rng.random() < 0.5:
            copies.append(node.disk.copy())
            return
        node.crash()
        self._marks["old disk restored"] += 1
        old = self._rng.choice(copies)
        self._trace.trouble(node.name, f"gets an old copy of its disk, up to {old.log.end_offset}")
        node.disk = old.copy()
        node.disk.log.flush()  # who puts a backup back waits until it is on the disk
        self._start_later(node)

    def fill_disk(self) -> None:
        """The next append finds no room: the watch over free space was too late."""
        node = self._some([one for one in self._nodes if not one.disk.log.full])
        if node is None:
            return
        self._marks["disk full"] += 1
        self._trace.trouble(node.name, "its disk is full")
        log = node.disk.log
        log.full = True
        self._schedule.after(self._rng.randint(*self._options.down_ms), lambda: make_room(log))

    def rot(self) -> None:
        """While a node is down its log is damaged; who owns it must notice, and nobody must lose anything."""
        expendable = self._expendable()
        if not expendable:
            return
        node = self._rng.choice(expendable)
        node.crash()
        misdirected = self._rng.random() < 0.4
        if node.rot(self._rng, misdirected=misdirected):
            self._marks["misdirected write" if misdirected else "bit flipped"] += 1
            self._trace.trouble(
                node.name, "reads what lies elsewhere" if misdirected else "a bit of its log flips"
            )
        self._start_later(node)

    # ---- the end of bad times --------------------------------------------------------------------------

    def quiet(self) -> None:
        """No more trouble: everybody is up, connected, awake, and on a quick disk."""
        self.active = False
        self._trace.trouble(
            "", "all heals: from here on nothing goes wrong, and the cluster has to serve again"
        )
        self._trace.cut_ends()
        self._network.heal()
        for node in self._all:
            node.doom = None
            node.bad_disk = node.disk.log.full = False
            node.flush_ms = (1, 5)
            node.resume()
            if not node.up:
                self._start(node)
            elif node.core.disk_low:
                node.handle(SpaceChanged(low=False))


def make_room(log: SimLog) -> None:
    log.full = False
