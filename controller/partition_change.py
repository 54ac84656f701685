"""From what a partition is to what it should be: one PartitionChange record, or none if nothing changes.

The order within one change is Kafka's (PartitionChangeBuilder): complete a reassignment that is complete, pick a
leader, raise the leader epoch when a replica leaves the assignment, set the ISR, then assignment and directories.

- ONLINE: the leader stays while it is in the ISR and acceptable, else the first acceptable member in replica order.
- PREFERRED: the first replica if it is in the ISR and acceptable, else as ONLINE.
- UNCLEAN: as ONLINE, and when nobody in the ISR can lead, any acceptable replica. Its ISR is then itself alone and
  it leads in state RECOVERING: writes that only others had are lost.

Without eligible leader replicas the ISR never becomes empty: its last member stays in it while the partition has no
leader, since only that replica is known to hold every committed write.

With them (KIP-966) it may. Nothing is committed while the ISR is smaller than min.insync.replicas. Who makes it that
small by leaving, or leaves it then, still holds every committed write: it becomes eligible, and may lead when the ISR
is empty. A replica that stopped uncleanly is neither in sync nor eligible, since the end of its log may be lost. When
nobody is left, the last leader comes back as soon as it can: an unclean election, but the one that loses least.

Every record raises the partition epoch; one that names a leader raises the leader epoch too, also when the leader
stays.
"""

import enum
from collections.abc import Callable, Collection, Iterable
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
    eligible: tuple[int, ...] = ()


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
    min_isr: int | None = None,
    stopped_uncleanly: Collection[int] = (),
) -> PartitionChangeRecord | None:
    """The record that leads to `target`, with a leader picked on the way; None: it is there already.

    `may_lead`: registered, unfenced, staying, and its directory for this partition online. `directory_of`: where
    a broker that is new to the assignment puts the replica. `version`: that of the record. `min_isr`: how many
    in-sync replicas a write needs; None: the cluster keeps no eligible leader replicas. `stopped_uncleanly`: the
    replicas whose logs may have lost their ends.
    """
    goal = _completed(_goal(partition, target, may_be_empty=min_isr is not None))
    goal = attrs.evolve(goal, eligible=_eligible(partition, goal, min_isr, stopped_uncleanly))
    last_leader = partition.last_known_elr if min_isr is not None else ()
    elected = _elect(partition.leader, goal, may_lead, election, last_leader)
    leader: int | None = None if elected.leader == partition.leader else elected.leader
    isr, eligible, recovery = goal.isr, goal.eligible, target.leader_recovery_state
    if elected.unclean:
        isr, eligible, recovery = (elected.leader,), (), RECOVERING
    elif not isr and elected.leader != NO_LEADER:
        isr = (elected.leader,)
        eligible = () if min_isr is None else without(eligible, elected.leader)
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
        eligible_leader_replicas=_if_changed(eligible, partition.eligible_leader_replicas),
        last_known_elr=_last_known(partition, leader, keeps=min_isr is not None),
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
        and record.eligible_leader_replicas is UNCHANGED
        and record.last_known_elr is UNCHANGED
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


def _goal(partition: PartitionRegistration, target: Target, *, may_be_empty: bool) -> _Assignment:
    isr = partition.isr if target.isr is None else target.isr
    return _Assignment(
        partition.replicas if target.replicas is None else target.replicas,
        isr if isr or may_be_empty else partition.isr,  # who was in it last is still judged by
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


def _eligible(
    partition: PartitionRegistration,
    goal: _Assignment,
    min_isr: int | None,
    stopped_uncleanly: Collection[int],
) -> tuple[int, ...]:
    """Who outside the ISR still holds every committed write, in the order of ids as Kafka writes them."""
    if min_isr is None:
        # Kept by nobody any more; but while the ISR is empty these alone know what was committed.
        return () if goal.isr else without(partition.eligible_leader_replicas, *stopped_uncleanly)
    if len(goal.isr) >= min_isr:
        return ()
    held = {*partition.eligible_leader_replicas, *partition.isr}.intersection(goal.replicas)
    return tuple(sorted(held.difference(goal.isr, stopped_uncleanly)))


def _last_known(
    partition: PartitionRegistration, leader: int | None, *, keeps: bool
) -> tuple[int, ...] | Unchanged:
    """The last leader, from when the partition loses it until somebody leads."""
    if leader == NO_LEADER and keeps and not partition.last_known_elr and partition.leader != NO_LEADER:
        return (partition.leader,)
    if leader not in (None, NO_LEADER) and partition.last_known_elr:
        return ()
    return UNCHANGED


def _elect(
    leader: int,
    goal: _Assignment,
    may_lead: Callable[[int], bool],
    election: Election,
    last_leader: tuple[int, ...],
) -> _Elected:
    complete = goal.isr or goal.eligible

    def valid(replica: int) -> bool:
        return replica in complete and may_lead(replica)

    if election is Election.PREFERRED and valid(goal.replicas[0]):
        return _Elected(goal.replicas[0])
    if leader in goal.replicas and valid(leader):
        return _Elected(leader)
    for replica in goal.replicas:
        if valid(replica):
            return _Elected(replica)
    if (
        not complete
        and len(last_leader) == 1
        and last_leader[0] in goal.replicas
        and may_lead(last_leader[0])
    ):
        return _Elected(last_leader[0], unclean=True)
    if election is Election.UNCLEAN:
        for replica in goal.replicas:
            if may_lead(replica):
                return _Elected(replica, unclean=True)
    return _Elected(NO_LEADER)


def _if_changed(new: _T, old: _T) -> _T | Unchanged:
    return UNCHANGED if new == old else new
