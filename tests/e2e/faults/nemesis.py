"""What befalls a cluster of real processes: drawn from a seed, healed again, and written down with its times.

Two of them work at once: one on processes and their disks, one on the network. At most one disk at a time is lost, and
replaced before anything else happens to a disk, so whatever was acknowledged must be there in the end. A node that
ends itself although no fault of its disk was at work is a finding.
"""

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from quorate.admin.cluster import Cluster, NodeProcess
from quorate.admin.readiness import look
from tests.e2e.commands import directory_id, put_new_disk, quorum
from tests.e2e.disks import FaultyFsync, empty, fill
from tests.e2e.faults.proxy import CLIENTS, Network, Party, Rule

STALLS: Final = Rule(stalled=True)
SWALLOWS: Final = Rule(swallows=True)
_ENDS_WITHIN_S: Final = 20.0
"""A node that cannot flush meets that with its next write, if there is one."""
_TERMINATES_WITHIN_S: Final = 40.0
_REPLACED_WITHIN_S: Final = 120.0
"""The network may be at its worst meanwhile, one fault after the other."""


@attrs.define
class Fault:
    """One thing that was done. Seconds are monotonic."""

    what: str
    whom: tuple[str, ...]
    """Names of nodes."""
    began_s: float
    ended_s: float | None = None
    """None: it still is."""

    def __str__(self) -> str:
        return f"{self.what} ({', '.join(self.whom)})"


@attrs.frozen(kw_only=True)
class Holding:
    """How long a fault is held, and the calm after it. Seconds, between these."""

    short_s: tuple[float, float] = (0.2, 3.0)
    long_s: tuple[float, float] = (4.0, 15.0)
    """Beyond every timeout of the quorum and of clients."""
    long_share: float = 0.35
    calm_s: tuple[float, float] = (0.5, 6.0)


@attrs.frozen(kw_only=True)
class Disks:
    """What can be done to disks here."""

    fsync: FaultyFsync | None
    small: tuple[NodeProcess, ...]
    """Nodes whose directory is on a small file system."""
    floor_bytes: int


Victims = Sequence[NodeProcess]
Deed = Callable[["Nemesis", float], Awaitable[None]]


class Nemesis:
    """See the module's docstring."""

    def __init__(
        self,
        cluster: Cluster[NodeProcess],
        network: Network,
        disks: Disks,
        *,
        holding: Holding,
        rng: random.Random,
        say: Callable[[str], None],
    ) -> None:
        self.faults: list[Fault] = []
        self.problems: list[str] = []
        self.cluster, self.network, self.disks = cluster, network, disks
        self.rng = rng
        self._holding, self._say = holding, say
        self._last_leader: NodeProcess | None = None
        self._may_end: set[NodeProcess] = set()

    async def run(self, kinds: Sequence[str], until_s: float) -> None:
        """One of them after the other, the last one begun before `until_s` (of trio's clock)."""
        while trio.current_time() < until_s:
            await self.once(self.rng.choice(kinds))
            await trio.sleep(self.rng.uniform(*self._holding.calm_s))

    async def once(self, kind: str) -> None:
        """This one, held for as long as is drawn."""
        is_long = self.rng.random() < self._holding.long_share
        hold = self._holding.long_s if is_long else self._holding.short_s
        await FAULTS[kind](self, self.rng.uniform(*hold))

    def possible(self, kinds: Sequence[str]) -> list[str]:
        """Those of them that can be done here."""
        absent = set(FSYNC_FAULTS) if self.disks.fsync is None else set()
        absent |= set() if self.disks.small else set(ROOM_FAULTS)
        return [kind for kind in kinds if kind not in absent]

    async def heal(self) -> None:
        """Everybody runs, everybody reaches everybody, all disks are well."""
        self.network.heal()
        for node in self.cluster.nodes.values():
            node.resume()
            self.heal_disk(node)
        for node in self.cluster.nodes.values():
            await self.restart(node)
        now_s = time.monotonic()
        for fault in self.faults:
            fault.ended_s = fault.ended_s or now_s

    async def watch(self) -> None:
        """Starts who ended by itself, and takes note of it, until cancelled."""
        while True:
            await trio.sleep(0.5)
            for node in self.cluster.nodes.values():
                if node.ended_by_itself and node not in self._may_end:
                    code = await node.wait()
                    self.problems.append(
                        f"{node.name} ended by itself (exit code {code}): {node.last_words()}"
                    )
                    await node.start()

    # ---- what the deeds are made of

    @asynccontextmanager
    async def doing(self, what: str, victims: Sequence[str]) -> AsyncIterator[None]:
        """For the time of the block this fault is at work."""
        fault = Fault(what, tuple(victims), time.monotonic())
        self.faults.append(fault)
        self._say(f"{fault}")
        try:
            yield
        finally:
            fault.ended_s = time.monotonic()

    async def leader(self) -> NodeProcess:
        """Who leads, as far as can be found out in a moment; else who led last, or anybody."""
        with trio.move_on_after(0.5):
            running = [node.files for node in self.cluster.controllers if node.running]
            found = await look(running, [])
            if found.active is not None:
                self._last_leader = self.cluster.node(found.active)
        return self._last_leader or self.rng.choice(self.cluster.controllers)

    async def some(self) -> list[NodeProcess]:
        """The leader, one other, a minority, or a majority of the controllers."""
        rng, leader = self.rng, await self.leader()
        others = [node for node in self.cluster.controllers if node is not leader]
        match rng.randrange(5):
            case 0 | 1:
                return [leader]
            case 2:
                return [rng.choice(others)]
            case 3:
                return rng.sample(others, len(others) // 2)
            case _:
                return [leader, *rng.sample(others, len(self.cluster.controllers) // 2)]

    async def restart(self, node: NodeProcess) -> None:
        """A new process, unless it runs. One that is told to end is waited for, and ended if that takes too long."""
        if node.pid is not None and self.disks.fsync is not None:
            self.disks.fsync.heal(node.pid)
        if not node.running:
            await node.wait()
            await node.start()

    def heal_disk(self, node: NodeProcess) -> None:
        if self.disks.fsync is not None and node.pid is not None:
            self.disks.fsync.heal(node.pid)
        if node in self.disks.small:
            empty(node.files.data)

    @asynccontextmanager
    async def allowed_to_end(self, node: NodeProcess) -> AsyncIterator[None]:
        """Within the block it may; after it it runs."""
        self._may_end.add(node)
        try:
            yield
        finally:
            self.heal_disk(node)
            if not node.running:
                with trio.CancelScope(shield=True):
                    await self.restart(node)
            self._may_end.discard(node)

    def parties(self, nodes: Victims) -> list[Party]:
        return [Party(node.name) for node in nodes]

    def everybody(self) -> list[Party]:
        return [*self.parties([*self.cluster.nodes.values()]), CLIENTS]

    def other_nodes(self, nodes: Victims) -> list[Party]:
        return self.parties([node for node in self.cluster.nodes.values() if node not in nodes])

    def broken(self) -> Rule:
        return self.rng.choice((STALLS, SWALLOWS))


# --- processes


def _names(nodes: Victims) -> list[str]:
    return [node.name for node in nodes]


async def _down(nemesis: Nemesis, what: str, victims: Victims, hold_s: float) -> None:
    async with nemesis.doing(what, _names(victims)):
        for node in victims:
            node.kill()
        for node in victims:
            await node.wait()
        await trio.sleep(hold_s)
        for node in victims:
            await node.start()


async def _kill(nemesis: Nemesis, hold_s: float) -> None:
    await _down(nemesis, "kill -9", await nemesis.some(), hold_s)


async def _kill_leader(nemesis: Nemesis, hold_s: float) -> None:
    await _down(nemesis, "kill -9 of the leader", [await nemesis.leader()], hold_s)


async def _kill_all(nemesis: Nemesis, hold_s: float) -> None:
    everybody = [*nemesis.cluster.nodes.values()]
    await _down(nemesis, "kill -9 of all", everybody, min(hold_s, 3.0))


async def _kill_in_turn(nemesis: Nemesis, hold_s: float) -> None:
    """One after the other, and each starts while the next one falls: elections find half-started voters."""
    victims = nemesis.rng.sample(nemesis.cluster.controllers, len(nemesis.cluster.controllers))
    async with nemesis.doing("kill -9 in turn", _names(victims)):
        for node in victims:
            node.kill()
            await node.wait()
            await trio.sleep(min(hold_s, 2.0) * nemesis.rng.random())
            await node.start()


async def _terminate(nemesis: Nemesis, hold_s: float) -> None:
    victims = await nemesis.some()
    async with nemesis.doing("SIGTERM", _names(victims)):
        for node in victims:
            node.terminate()
        for node in victims:
            code = None
            with trio.move_on_after(_TERMINATES_WITHIN_S):
                code = await node.wait()
            if code is None:
                nemesis.problems.append(
                    f"{node.name} did not end within {_TERMINATES_WITHIN_S:g} s of SIGTERM"
                )
                node.kill()
                await node.wait()
        await trio.sleep(hold_s)
        for node in victims:
            await node.start()


async def _pause(nemesis: Nemesis, what: str, victims: Victims, hold_s: float) -> None:
    async with nemesis.doing(what, _names(victims)):
        try:
            for node in victims:
                node.suspend()
            await trio.sleep(hold_s)
        finally:
            for node in victims:
                node.resume()


async def _pause_some(nemesis: Nemesis, hold_s: float) -> None:
    await _pause(nemesis, "SIGSTOP", await nemesis.some(), hold_s)


async def _pause_leader(nemesis: Nemesis, hold_s: float) -> None:
    await _pause(nemesis, "SIGSTOP of the leader", [await nemesis.leader()], max(hold_s, 3.0))


# --- the network


@asynccontextmanager
async def _network(nemesis: Nemesis, what: str, victims: Sequence[str], hold_s: float) -> AsyncIterator[None]:
    """The block breaks something; it stays so for a while."""
    async with nemesis.doing(what, victims):
        yield
        await trio.sleep(hold_s)
        nemesis.network.heal()


async def _isolate(nemesis: Nemesis, hold_s: float) -> None:
    """Clients still reach them: whoever leads without knowing that it is replaced must not answer from memory."""
    victims, rule = await nemesis.some(), nemesis.broken()
    async with _network(nemesis, f"cut off from other nodes, {_way(rule)}", _names(victims), hold_s):
        nemesis.network.separate(nemesis.parties(victims), nemesis.other_nodes(victims), rule)


async def _isolate_leader(nemesis: Nemesis, hold_s: float) -> None:
    victims, rule = [await nemesis.leader()], nemesis.broken()
    async with _network(nemesis, f"leader cut off, {_way(rule)}", _names(victims), hold_s):
        nemesis.network.separate(nemesis.parties(victims), nemesis.other_nodes(victims), rule)


async def _one_way(nemesis: Nemesis, hold_s: float) -> None:
    victims, rule = await nemesis.some(), nemesis.broken()
    ours, theirs = nemesis.parties(victims), nemesis.other_nodes(victims)
    is_deaf = nemesis.rng.random() < 0.5
    what = f"{'deaf' if is_deaf else 'mute'} to other nodes, {_way(rule)}"
    async with _network(nemesis, what, _names(victims), hold_s):
        if is_deaf:
            nemesis.network.set(theirs, ours, rule)
        else:
            nemesis.network.set(ours, theirs, rule)


async def _one_pair(nemesis: Nemesis, hold_s: float) -> None:
    one, other = nemesis.rng.sample(nemesis.cluster.controllers, 2)
    rule, both_ways = nemesis.broken(), nemesis.rng.random() < 0.5
    what = f"one pair apart{'' if both_ways else ' one way'}, {_way(rule)}"
    async with _network(nemesis, what, _names([one, other]), hold_s):
        nemesis.network.set(nemesis.parties([one]), nemesis.parties([other]), rule)
        if both_ways:
            nemesis.network.set(nemesis.parties([other]), nemesis.parties([one]), rule)


async def _clients_apart(nemesis: Nemesis, hold_s: float) -> None:
    victims, rule = await nemesis.some(), nemesis.broken()
    async with _network(nemesis, f"cut off from clients, {_way(rule)}", _names(victims), hold_s):
        nemesis.network.separate(nemesis.parties(victims), [CLIENTS], rule)


async def _slow_network(nemesis: Nemesis, hold_s: float) -> None:
    least, most = nemesis.rng.uniform(0.0, 0.1), nemesis.rng.uniform(0.1, 1.0)
    victims = await nemesis.some() if nemesis.rng.random() < 0.7 else nemesis.cluster.controllers
    what = f"late by {least * 1000:.0f} to {most * 1000:.0f} ms"
    async with _network(nemesis, what, _names(victims), hold_s):
        rule = Rule(delay_s=(least, most))
        nemesis.network.separate(nemesis.parties(victims), nemesis.everybody(), rule)


async def _resets(nemesis: Nemesis, hold_s: float) -> None:
    victims = await nemesis.some()
    async with nemesis.doing("connections reset", _names(victims)):
        until = trio.current_time() + hold_s
        while trio.current_time() < until:
            nemesis.network.reset(nemesis.parties(victims))
            await trio.sleep(nemesis.rng.uniform(0.02, 1.5))


async def _half_closes(nemesis: Nemesis, hold_s: float) -> None:
    victims = await nemesis.some()
    async with nemesis.doing("connections half-closed", _names(victims)):
        until = trio.current_time() + hold_s
        while trio.current_time() < until:
            nemesis.network.half_close(nemesis.parties(victims))
            await trio.sleep(nemesis.rng.uniform(0.3, 3.0))
        nemesis.network.reset(nemesis.parties(victims))  # whoever still waits on one


async def _flapping(nemesis: Nemesis, hold_s: float) -> None:
    victims, rule = await nemesis.some(), nemesis.broken()
    async with nemesis.doing(f"cut off now and then, {_way(rule)}", _names(victims)):
        until = trio.current_time() + max(hold_s, 2.0)
        while trio.current_time() < until:
            nemesis.network.separate(nemesis.parties(victims), nemesis.other_nodes(victims), rule)
            await trio.sleep(nemesis.rng.uniform(0.1, 1.5))
            nemesis.network.heal()
            await trio.sleep(nemesis.rng.uniform(0.05, 0.7))


def _way(rule: Rule) -> str:
    return "stalled" if rule.stalled else "swallowed"


# --- disks


async def _failing_fsync(nemesis: Nemesis, hold_s: float) -> None:
    fsync, node = nemesis.disks.fsync, (await nemesis.some())[0]
    if fsync is None or node.pid is None:
        return
    async with nemesis.doing("fsync fails", _names([node])), nemesis.allowed_to_end(node):
        fsync.fail(node.pid)
        with trio.move_on_after(_ENDS_WITHIN_S):
            code = await node.wait()
            if code != 1:
                nemesis.problems.append(f"{node.name} could not flush, and ended with exit code {code}")
        await trio.sleep(min(hold_s, 3.0))


async def _slow_fsync(nemesis: Nemesis, hold_s: float) -> None:
    fsync, victims = nemesis.disks.fsync, await nemesis.some()
    if fsync is None:
        return
    ms = nemesis.rng.choice((20, 100, 400, 1500))
    async with nemesis.doing(f"fsync takes {ms} ms longer", _names(victims)):
        try:
            for node in victims:
                if node.pid is not None:
                    fsync.slow(node.pid, ms)
            await trio.sleep(hold_s)
        finally:
            for node in victims:
                nemesis.heal_disk(node)


async def _little_room(nemesis: Nemesis, hold_s: float) -> None:
    """Below the floor: it refuses, and hands over."""
    node = nemesis.rng.choice(nemesis.disks.small)
    async with nemesis.doing("disk below its floor", _names([node])), nemesis.allowed_to_end(node):
        fill(node.files.data, nemesis.disks.floor_bytes // 2)
        await trio.sleep(max(hold_s, 3.0))


async def _no_room(nemesis: Nemesis, hold_s: float) -> None:
    """Not a byte: if it meets that, it ends; and perhaps it is started again on the full disk."""
    node = nemesis.rng.choice(nemesis.disks.small)
    async with nemesis.doing("disk full to the last byte", _names([node])), nemesis.allowed_to_end(node):
        fill(node.files.data, 0)
        await trio.sleep(max(hold_s, 3.0) / 2)
        if node.running and nemesis.rng.random() < 0.5:
            node.kill()
        if not node.running:
            await node.wait()
            await node.start()
        await trio.sleep(max(hold_s, 3.0) / 2)


async def _new_disk(nemesis: Nemesis, hold_s: float) -> None:
    """A disk is lost, and the command moves its controller's vote to a new one. Until it has, nothing else befalls
    processes and disks: a majority must keep what it has. The first controller keeps the whole log, for the verdict."""
    _, *others = nemesis.cluster.controllers
    node = nemesis.rng.choice([one for one in others if one not in nemesis.disks.small])
    async with nemesis.doing("disk lost and replaced", _names([node])):
        node.kill()
        await node.wait()
        put_new_disk(nemesis.cluster, node, nemesis.rng)
        await trio.sleep(min(hold_s, 3.0))
        await node.start()
        with trio.move_on_after(_REPLACED_WITHIN_S):
            while not await _votes_again(nemesis, node):  # noqa: ASYNC110  a command is given again
                await trio.sleep(0.5)
            return
        nemesis.problems.append(f"{node.name} got no vote for its new disk within {_REPLACED_WITHIN_S:g} s")
        while not await _votes_again(nemesis, node):  # noqa: ASYNC110  or the next one would be of a majority
            await trio.sleep(0.5)


async def _votes_again(nemesis: Nemesis, node: NodeProcess) -> bool:
    """Gives the command once. If it was not answered it may have been done all the same: then adding it says so."""
    # Which disk must be said: the leader may still count one that was lost before among those that follow it.
    which = (str(node.files.id), "--directory-id", directory_id(node))
    code, _ = await quorum(nemesis.cluster, "replace-controller", *which, timeout_s=10)
    if code:
        code, _ = await quorum(nemesis.cluster, "add-controller", *which, timeout_s=10)
    return code == 0


PROCESS_FAULTS: Final[Mapping[str, Deed]] = {
    "kill": _kill,
    "kill-leader": _kill_leader,
    "kill-all": _kill_all,
    "kill-in-turn": _kill_in_turn,
    "terminate": _terminate,
    "pause": _pause_some,
    "pause-leader": _pause_leader,
    "new-disk": _new_disk,
}
FSYNC_FAULTS: Final[Mapping[str, Deed]] = {"fsync-fails": _failing_fsync, "fsync-slow": _slow_fsync}
ROOM_FAULTS: Final[Mapping[str, Deed]] = {"disk-low": _little_room, "disk-full": _no_room}
NETWORK_FAULTS: Final[Mapping[str, Deed]] = {
    "isolate": _isolate,
    "isolate-leader": _isolate_leader,
    "one-way": _one_way,
    "one-pair": _one_pair,
    "clients-apart": _clients_apart,
    "slow-network": _slow_network,
    "resets": _resets,
    "half-closes": _half_closes,
    "flapping": _flapping,
}
FAULTS: Final[Mapping[str, Deed]] = {**PROCESS_FAULTS, **FSYNC_FAULTS, **ROOM_FAULTS, **NETWORK_FAULTS}
