"""From what a partition is to what it should be: one PartitionChange record, or none if nothing changes.

The order within one change is Kafka's (PartitionChangeBuilder): complete a reassignment that is complete, pick a
leader, raise the leader epoch when a replica leaves the assignment, set the ISR, then assignment and directories.

- ONLINE: the leader stays while it is in the ISR and acceptable, else the first acceptable member in replica order.
- PREFERRED: the first replica if it is in the ISR and acceptable, else as ONLINE.
- UNCLEAN: as ONLINE, and when nobody in the ISR can lead, any acceptable replica. Its ISR is then itself alone and
  it leads in state RECOVERING: writes that only others had are lost.

The ISR never becomes empty: its last member stays in it while the partition has no leader, since only that replica
is known to hold every committed write. Every record raises the partition epoch; one that names a leader raises
the leader epoch too, also when the leader stays.
"""

import enum
from collections.abc import Callable, Iterable
from typing import TypeVar
from uuid import UUID

import attrs

from quorate.metadata.ids import UNASSIGNED_DIRECTORY
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.records import NO_LEADER, RECOVERING, UNCHANGED, PartitionChangeRecord, Unchanged

_T = TypeVar("_T")


class Election(enum.Enum):
    """How far an election may go."""

    ONLINE = "online"
    PREFERRED = "preferred"
    UNCLEAN = "unclean"


@attrs.frozen(kw_only=True)
class Target:
    """What the partition should become. None: as it is."""

    isr: tuple[int, ...] | None = None
    replicas: tuple[int, ...] | None = None
    removing: tuple[int, ...] | None = None
    adding: tuple[int, ...] | None = None
    leader_recovery_state: int | None = None
    directories: tuple[UUID, ...] | None = None


AS_IT_IS = Target()


@attrs.frozen
class _Assignment:
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    removing: tuple[int, ...]
    adding: tuple[int, ...]


@attrs.frozen
class _Elected:
    leader: int
    unclean: bool = False


def change_partition(
    partition: PartitionRegistration,
    *,
    topic_id: UUID,
    partition_id: int,
    version: int,
    may_lead: Callable[[int], bool],
    election: Election = Election.ONLINE,
    target: Target = AS_IT_IS,
    directory_of: Callable[[int], UUID] = lambda _: UNASSIGNED_DIRECTORY,
) -> PartitionChangeRecord | None:
    """The record that leads to `target`, with a leader picked on the way; None: it is there already.

    `may_lead`: registered, unfenced, staying, and its directory for this partition online. `directory_of`: where
    a broker that is new to the assignment puts the replica. `version`: that of the record.
    """
    goal = _completed(_goal(partition, target))
    elected = _elect(partition.leader, goal, may_lead, election)
    leader: int | None = None if elected.leader == partition.leader else elected.leader
    isr, recovery = goal.isr, target.leader_recovery_state
    if elected.unclean:
        isr, recovery = (elected.leader,), RECOVERING
    if leader is None and not set(partition.replicas) <= set(goal.replicas):
        # A replica that is removed must not go on fetching as if it belonged: its epoch has to become stale.
        leader = partition.leader
    directories = target.directories
    if directories is None and goal.replicas != partition.replicas:
        directories = directories_for(goal.replicas, partition, directory_of)
    record = PartitionChangeRecord(
        version=version,
        partition_id=partition_id,
        topic_id=topic_id,
        isr=_if_changed(isr, partition.isr),
        leader=UNCHANGED if leader is None else leader,
        replicas=_if_changed(goal.replicas, partition.replicas),
        removing_replicas=_if_changed(goal.removing, partition.removing_replicas),
        adding_replicas=_if_changed(goal.adding, partition.adding_replicas),
        leader_recovery_state=(
            UNCHANGED if recovery is None or recovery == partition.leader_recovery_state else recovery
        ),
        directories=UNCHANGED if directories is None else _if_changed(directories, partition.directories),
    )
    return record if changes_anything(record) else None


def changes_anything(record: PartitionChangeRecord) -> bool:
    """A record without a change would still raise the partition epoch, and fail an ISR change under way."""
    return not (
        record.isr is UNCHANGED
        and record.leader is UNCHANGED
        and record.replicas is UNCHANGED
        and record.removing_replicas is UNCHANGED
        and record.adding_replicas is UNCHANGED
        and record.leader_recovery_state is UNCHANGED
        and record.directories is UNCHANGED
    )


def without(members: Iterable[int], *gone: int | None) -> tuple[int, ...]:
    """The members in their order, but for some."""
    return tuple([member for member in members if member not in gone])


def directories_for(
    replicas: Iterable[int], partition: PartitionRegistration, directory_of: Callable[[int], UUID]
) -> tuple[UUID, ...]:
    """A replica that stays keeps its directory."""
    known = dict(zip(partition.replicas, partition.directories, strict=False))
    return tuple([known[r] if r in known else directory_of(r) for r in replicas])


def _goal(partition: PartitionRegistration, target: Target) -> _Assignment:
    return _Assignment(
        partition.replicas if target.replicas is None else target.replicas,
        target.isr or partition.isr,  # it never becomes empty: who was in it last is still judged by
        partition.removing_replicas if target.removing is None else target.removing,
        partition.adding_replicas if target.adding is None else target.adding,
    )


def _completed(goal: _Assignment) -> _Assignment:
    """Ends a reassignment as soon as every replica that is to stay is in the ISR."""
    if not goal.removing and not goal.adding:
        return goal
    staying = without(goal.replicas, *goal.removing)
    isr = without(goal.isr, *goal.removing)
    if not isr or not set(staying) <= set(isr):
        return goal
    return _Assignment(staying, isr, (), ())


def _elect(leader: int, goal: _Assignment, may_lead: Callable[[int], bool], election: Election) -> _Elected:
    def valid(replica: int) -> bool:
        return replica in goal.isr and may_lead(replica)

    if election is Election.PREFERRED and valid(goal.replicas[0]):
        return _Elected(goal.replicas[0])
    if leader in goal.replicas and valid(leader):
        return _Elected(leader)
    for replica in goal.replicas:
        if valid(replica):
            return _Elected(replica)
    if election is Election.UNCLEAN:
        for replica in goal.replicas:
            if may_lead(replica):
                return _Elected(replica, unclean=True)
    return _Elected(NO_LEADER)


def _if_changed(new: _T, old: _T) -> _T | Unchanged:
    return UNCHANGED if new == old else new
