"""Who votes, counted anew from the logs on disk: what changes of the voters are held to (KIP-853; Ongaro's thesis, 4).

A set counts from its record on, committed or not. So the laws look at the moment at which a leader appends one: the
last change is committed, and a record of the leader's own epoch; any majority of the old set meets any of the new one;
and somebody has asked for it, so that whoever was removed stays removed.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import check
from quorate.metadata.ids import FIRST_OFFSET, Epoch, NodeId, Offset, ReplicaKey
from quorate.metadata.records import VotersRecord
from tests.sim.disk import Disk

if TYPE_CHECKING:
    from tests.sim.node import SimNode

Voters = frozenset[ReplicaKey]


@attrs.frozen
class Wish:
    """What an operator has asked one life of a node for, until it is answered."""

    key: ReplicaKey
    joins: bool
    node: "SimNode"
    life: int

    @property
    def is_over(self) -> bool:
        return self.node.life != self.life

    def applied_to(self, voters: Voters) -> Voters:
        return voters | {self.key} if self.joins else voters - {self.key}


def majority_of(voters: Voters) -> int:
    return len(voters) // 2 + 1


def voters_of(record: VotersRecord) -> Voters:
    return frozenset(ReplicaKey(NodeId(one.voter_id), one.voter_directory_id) for one in record.voters)


def voters_on(disk: Disk) -> tuple[Offset, Voters]:
    """The last set in this log (or in its snapshot), and its offset; nobody, if it has none."""
    for offset, record in reversed(disk.log.summary().control):
        if isinstance(record, VotersRecord):
            return offset, voters_of(record)
    return Offset(-1), frozenset()


def may_lead(key: ReplicaKey, disk: Disk) -> bool:
    """A voter by its own log; or removed by the very last change, of which it need not know that it is committed."""
    sets = [voters_of(record) for _, record in disk.log.summary().control if isinstance(record, VotersRecord)]
    return any(key in voters for voters in sets[-2:])


def _sets_in(batches: Iterable[RecordBatch]) -> Iterator[tuple[Offset, Epoch, Voters]]:
    for batch in batches:
        if batch.is_control:
            for index, record in enumerate(batch.records()):
                if isinstance(record, VotersRecord):
                    yield Offset(batch.base_offset + index), batch.epoch, voters_of(record)


class Members:
    """The voters of the cluster: of all that is committed, and of what may yet be."""

    def __init__(self, first: Sequence[ReplicaKey], marks: Counter[str]) -> None:
        self.voters: Voters = frozenset(first)
        """As committed."""
        self.changed_at = Offset(-1)
        self.ever: set[ReplicaKey] = set(first)
        """All that ever stood in a set, committed or not, and who led: what is in their logs may have to be cut."""
        self.wishes: list[Wish] = []
        self.lost: set[ReplicaKey] = set()
        """Whose disk is gone, or damaged: it votes no more, though the set may still name it."""
        self._marks = marks

    # ---- laws ------------------------------------------------------------------------------------------

    def on_append(
        self, node: "SimNode", batches: Sequence[RecordBatch], committed_end: Offset, committed_epoch: Epoch
    ) -> None:
        """Before a leader writes batches of its own."""
        if not any(batch.is_control for batch in batches):
            return
        at, before = voters_on(node.disk)
        for offset, epoch, after in _sets_in(batches):
            if after == before:
                at = offset  # the formatted voters, written into the log by its first leader; or another address
                continue
            check(
                at < max(committed_end, FIRST_OFFSET),
                f"{node.name} changes the voters at {offset}, and the change at {at} is not committed",
            )
            check(
                committed_epoch >= epoch,
                f"{node.name} changes the voters at {offset} before a record of epoch {epoch} is committed",
            )
            check(
                not before or majority_of(before) + majority_of(after) > len(before | after),
                f"{node.name} changes the voters from {_names(before)} to {_names(after)}: "
                "two majorities may miss each other",
            )
            for key in before ^ after:
                self._check_wish(node, key, joins=key in after)
            at, before = offset, after
            self.ever |= after

    def _check_wish(self, node: "SimNode", key: ReplicaKey, *, joins: bool) -> None:
        asked = any(
            wish.key == key and wish.joins == joins and wish.node is node and not wish.is_over
            for wish in self.wishes
        )
        check(asked, f"{node.name} {'adds' if joins else 'removes'} {key}, and nobody asked it to")

    def on_committed(self, batch: RecordBatch) -> None:
        for offset, _, voters in _sets_in((batch,)):
            for key in voters - self.voters:
                self._marks["voter added"] += 1
                if any(other.id == key.id and other != key for other in self.ever):
                    self._marks["voter replaced"] += 1
            self._marks["voter removed"] += len(self.voters - voters)
            self.voters, self.changed_at = voters, offset

    def on_truncate(self, node: "SimNode", end: Offset) -> None:
        """An ex-voter may cut, and so may who was added by a record that goes."""
        check(node.key in self.ever, f"observer {node.name} cut its log: it was served uncommitted records")
        if voters_on(node.disk)[0] >= end:
            self._marks["change of voters undone"] += 1

    # ---- prudence --------------------------------------------------------------------------------------

    def pending(self) -> list[Wish]:
        """What may still be carried out."""
        self.wishes = [wish for wish in self.wishes if not wish.is_over]
        return self.wishes

    def can_lose(self, key: ReplicaKey, nodes: Iterable["SimNode"]) -> bool:
        """Whether every set that may come to count keeps a majority of good disks without this one."""
        return key not in self.lost and self._live({*self.lost, key}, self._possible(nodes))

    def can_ask(self, wish: Wish, nodes: Iterable["SimNode"]) -> bool:
        """Whether the quorum lives on if this is carried out, at any time; a careful operator looks first."""
        possible = self._possible(nodes)
        return self._live(self.lost, [*possible, *(wish.applied_to(one) for one in possible)])

    def _possible(self, nodes: Iterable["SimNode"]) -> list[Voters]:
        found = {self.voters}
        found |= {voters for at, voters in (voters_on(node.disk) for node in nodes) if at > self.changed_at}
        for count in range(1, len(self.pending()) + 1):
            for some in itertools.permutations(self.wishes, count):
                found |= {_all_applied(some, voters) for voters in list(found)}
        return list(found)

    @staticmethod
    def _live(lost: set[ReplicaKey], sets: Iterable[Voters]) -> bool:
        return all(len(voters - lost) >= majority_of(voters) for voters in sets)


def _all_applied(wishes: Sequence[Wish], voters: Voters) -> Voters:
    for wish in wishes:
        voters = wish.applied_to(voters)
    return voters


def _names(voters: Voters) -> str:
    return str(sorted(key.id for key in voters))
