"""What only the whole cluster can show: the laws of Raft, checked after every event, cheaply.

`metadata.quorum.invariants` holds each replica to its own past; here replicas are held to each other, and to their
disks. Nothing in here asks the core how to count: majorities, votes and commits are counted anew.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import check
from quorate.metadata.ids import FIRST_OFFSET, Epoch, NodeId, Offset, OffsetAndEpoch, ReplicaKey
from quorate.metadata.quorum.effects import Effects
from quorate.metadata.quorum.events import Token
from quorate.metadata.quorum.invariants import Summary
from quorate.metadata.quorum.messages import Response, VoteRequest, VoteResponse
from quorate.metadata.quorum.transitions import RoleName
from tests.sim.disk import Disk
from tests.sim.images import ImageLaws
from tests.sim.machine import Digest, Machine
from tests.sim.members import Members, Voters, majority_of, may_lead, voters_on
from tests.sim.network import Network

if TYPE_CHECKING:
    from tests.sim.node import SimNode


class Laws:
    """The cluster's memory of what it promised."""

    def __init__(self, voters: Sequence[ReplicaKey], network: Network, marks: Counter[str]) -> None:
        self.by_consequences_only = False
        """Do not compare a core with its disk: a bug must show in what the cluster does (the planted bugs' test)."""
        self.members = Members(voters, marks)
        self.committed: dict[Offset, RecordBatch] = {}
        """Every batch that any node ever called committed, by its first offset."""
        self._committed_in: dict[Offset, Epoch] = {}
        """The epoch in which it was called so first: that of the leader, which is at least the batch's own."""
        self.committed_end = FIRST_OFFSET
        self._epoch_at: dict[Offset, Epoch] = {FIRST_OFFSET: Epoch(0)}
        """For each committed batch's end: its epoch. Where snapshots may be taken."""
        self._digests: dict[Offset, Digest] = {}
        self._leaders: dict[Epoch, tuple[NodeId, int]] = {}
        self._votes: dict[tuple[ReplicaKey, Epoch], ReplicaKey] = {}
        self._lost_disks: dict[ReplicaKey, Disk] = {}
        self._voters_seen: dict[SimNode, tuple[object, object]] = {}
        self.images: ImageLaws | None = None
        """In whole clusters."""
        self._network = network
        self._marks = marks

    # ---- after a step ----------------------------------------------------------------------------------

    def on_step(self, node: "SimNode", before: Summary | None, now: Summary, effects: Effects) -> None:
        was = None if before is None else (before.role, before.election.epoch)
        role, epoch = now.role, now.election.epoch
        if was != (role, epoch):
            self._marks[f"becomes {role.value}"] += 1
        if effects.truncate_to is not None:
            self._marks["truncation"] += 1
            self.members.on_truncate(node, effects.truncate_to)
        if effects.install_snapshot is not None:
            self._marks["snapshot installed"] += 1
            check(role is RoleName.FOLLOWER, f"{node.name} loads a snapshot as {role.value}")
            self.is_committed_point(effects.install_snapshot)
        if effects.append and now.election.leader_id == node.id:
            committed_end, newest = self.committed_end, self._epoch_at[self.committed_end]
            if effects.committed is not None and effects.committed > committed_end:
                committed_end, newest = effects.committed, epoch  # its own, or it would not count
            self.members.on_append(node, effects.append, committed_end, newest)

    def on_claim(self, node: "SimNode", epoch: Epoch) -> None:
        """Election safety and leader completeness (Raft paper, 5.2 and 5.4).

        A claim counts once it is on disk: a leader that dies before has told nobody, and may lead the epoch again.
        """
        self._leads(node, epoch)
        voters = voters_on(node.disk)[1]
        check(may_lead(node.key, node.disk), f"{node.name} leads and is no voter")
        self.members.ever.add(node.key)  # of its own records some may have to go
        votes = [key for key in voters if key == node.key or self._votes.get((key, epoch)) == node.key]
        check(
            len(votes) >= majority_of(voters),
            f"{node.name} leads epoch {epoch} with the votes of {sorted(key.id for key in votes)}, "
            f"a majority is {majority_of(voters)}",
        )
        for base, batch in self.committed.items():
            # A candidate that hears of its votes late may lead an epoch that is over; what was committed since, by
            # leaders of higher epochs, it need not have.
            if self._committed_in[base] < epoch:
                check(
                    self._in_log(node.disk, batch),
                    f"{node.name} leads epoch {epoch} without {self._name(batch)}",
                )

    def _leads(self, node: "SimNode", epoch: Epoch) -> None:
        earlier = self._leaders.setdefault(epoch, (node.id, node.life))
        check(
            earlier == (node.id, node.life),
            f"epoch {epoch} is led twice: by n{earlier[0]} in its life {earlier[1]}, "
            f"by {node.name} in its life {node.life}",
        )

    @staticmethod
    def _in_log(disk: Disk, batch: RecordBatch) -> bool:
        """Written, flushed or not."""
        log = disk.log
        if batch.end_offset <= log.start:
            return True  # inside a snapshot; `is_committed_point` and the digests vouch for those
        own = log.at(batch.base_offset)
        return own is not None and (own is batch or own.data == batch.data)

    @staticmethod
    def _name(batch: RecordBatch) -> str:
        return f"records {batch.base_offset}..{batch.end_offset - 1} of epoch {batch.epoch}"

    # ---- commits ---------------------------------------------------------------------------------------

    def on_committed(self, node: "SimNode", batches: Sequence[RecordBatch]) -> None:
        """State machine safety, and: committed means on the disks of a majority (5.3, 5.4.3).

        A leader counts replicas for records of its own epoch only; older ones are committed by those (5.4.2, figure 8).
        """
        if node.core.leads:
            last, epoch = batches[-1], node.core.election.epoch
            check(
                last.epoch == epoch,
                f"{node.name} leads epoch {epoch} and commits {self._name(last)} by counting",
            )
        for batch in batches:
            known = self.committed.get(batch.base_offset)
            if known is None:
                self._extend(node, batch)
            else:
                same = known is batch or known.data == batch.data
                check(same, f"{node.name} committed something else than {self._name(known)}")

    def _extend(self, node: "SimNode", batch: RecordBatch) -> None:
        holders = {key for key in self.members.ever if self._on_disk_of(key, batch)}
        check(
            any(len(holders & voters) >= majority_of(voters) for voters in self._counted(node, batch)),
            f"{node.name} calls {self._name(batch)} committed; they are on the disks of "
            f"{sorted(key.id for key in holders)}, which is no majority",
        )
        if batch.is_control:
            self.members.on_committed(batch)
        self.committed[batch.base_offset] = batch
        self._committed_in[batch.base_offset] = node.core.election.epoch
        self.committed_end = batch.end_offset
        self._epoch_at[batch.end_offset] = batch.epoch
        if self.images is not None:
            self.images.on_extended(batch)

    def _counted(self, node: "SimNode", batch: RecordBatch) -> Iterator[Voters]:
        """The voters whose majority has it: the last ones in the log of the leader that counted.

        Its followers may hear of it when that leader is dead, or has gone on: then those of anybody who has the batch.
        """
        yield voters_on(node.disk)[1]
        if not node.core.leads:
            for other in self._network.nodes.values():
                if self._in_log(other.disk, batch):
                    yield voters_on(other.disk)[1]

    def _on_disk_of(self, key: ReplicaKey, batch: RecordBatch) -> bool:
        disk = self._lost_disks.get(key)
        if disk is None:
            disk = next(node.disk for node in self._network.nodes.values() if node.key == key)
        return batch.end_offset <= disk.log.flushed_end and self._in_log(disk, batch)

    def on_applied(self, node: "SimNode", high_watermark: Offset) -> None:
        """Equal offset, equal state. Images have a law of their own (`images`)."""
        machine = node.machine
        check(
            machine.applied == high_watermark,
            f"{node.name} applied all below {machine.applied}, not up to {high_watermark}",
        )
        if not isinstance(machine, Machine):
            return
        applied, digest = machine.at, machine.digest
        self.is_committed_point(applied)
        known = self._digests.setdefault(applied.offset, digest)
        check(known == digest, f"{node.name} has another state at {applied} than another node had")

    def is_committed_point(self, point: OffsetAndEpoch) -> None:
        check(self._epoch_at.get(point.offset) == point.epoch, f"{point} is no end of a committed batch")

    # ---- promises --------------------------------------------------------------------------------------

    def on_response(self, node: "SimNode", token: Token, response: Response) -> None:
        """One vote per epoch, over all lives of a disk (5.2)."""
        call = self._network.calls.get(token)
        if call is None or not isinstance(response, VoteResponse) or not response.granted:
            return
        request = call.request
        if isinstance(request, VoteRequest) and not request.pre_vote:
            first = self._votes.setdefault((node.key, request.epoch), request.candidate)
            check(
                first == request.candidate,
                f"{node.name} votes for {request.candidate.id} in epoch {request.epoch}, as it did for {first.id}",
            )

    def on_disk_lost(self, key: ReplicaKey, disk: Disk) -> None:
        """What was on it counts on: its owner had said so, and a leader may hear it only now."""
        self._lost_disks.setdefault(key, disk)  # it may have been damaged first
        self.members.lost.add(key)

    # ---- disks -----------------------------------------------------------------------------------------

    def _on_voters(self, node: "SimNode") -> None:
        """Those in force are the last of the log: committed or not, and not those of a record that was cut off."""
        control = node.disk.log.summary().control
        seen = self._voters_seen.get(node)
        if seen is None or seen[0] is not node.core.voters or seen[1] != control:
            self._voters_seen[node] = (node.core.voters, control)
            believed = frozenset(node.core.voters.keys.values())
            on_disk = voters_on(node.disk)[1]
            check(
                believed == on_disk,
                f"{node.name} takes {sorted(key.id for key in believed)} for the voters, its log says "
                f"{sorted(key.id for key in on_disk)}",
            )

    def on_disk(self, node: "SimNode") -> None:
        """What the core believes of its disk is so."""
        core, disk = node.core, node.disk
        if core.leads:
            self._leads(node, core.election.epoch)
        if self.by_consequences_only:
            return
        summary = disk.log.summary()
        check(core.election == disk.election, f"{node.name}: {core.election} is not on its disk")
        check(
            core.log.end == summary.end,
            f"{node.name} believes in {core.log.end}, its log ends at {summary.end}",
        )
        self._on_voters(node)
        check(core.log.start >= summary.start, f"{node.name} has lost the beginning of its log")
        if core.config.durable:
            check(
                core.log.flushed_end <= disk.log.flushed_end,
                f"{node.name} believes all below {core.log.flushed_end} flushed; "
                f"it is only up to {disk.log.flushed_end}",
            )
