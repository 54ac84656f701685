"""What becomes of leaders and ISRs when a broker comes, goes, or is taken out (KIP-631).

- Going (fenced, shutting down, unregistered, restarted uncleanly): it leaves every ISR it is in, and what it led is
  led by somebody else in the ISR, or by nobody.
- Coming (unfenced): it may lead the partitions that nobody leads while it is in their ISR.

A broker that holds no data (ours) announces the feature `quorate.lightweight`. Such a replica has nothing to catch
up with and no leader that would report it as in sync, so it rejoins its ISRs when it is unfenced. A broker with
data rejoins through its leader's AlterPartition, as in Kafka.

Order within the records, where they are too many for one batch: a broker is fenced or unregistered *after* its
partitions were taken from it, and unfenced or marked as shutting down *before* the elections that follow; whatever
half of it survives a crash is done again by the next controller, never left undone unnoticed.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias
from uuid import UUID

import attrs

from quorate.controller.context import Context
from quorate.controller.partition_change import AS_IT_IS, Election, Target, change_partition, without
from quorate.metadata.features import LIGHTWEIGHT
from quorate.metadata.ids import MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY
from quorate.metadata.image.cluster import BrokerRegistration
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.image.topics import TopicImage
from quorate.metadata.records import (
    NO_LEADER,
    UNCHANGED,
    AnyDataRecord,
    BrokerRegistrationChangeRecord,
    PartitionChangeRecord,
    Unchanged,
    UnregisterBrokerRecord,
)

Located: TypeAlias = tuple[TopicImage, int, PartitionRegistration]
"""A partition and where it belongs: topic, number, state."""


@attrs.frozen
class Electorate:
    """Who may lead, in the eyes of one operation.

    The image does not know yet what the operation is about to do: `joining` counts as active although it is still
    fenced there, `leaving` does not although it is still active there.
    """

    context: Context
    joining: int | None = None
    leaving: int | None = None
    offline_directories: frozenset[UUID] = frozenset()
    """Directories of `leaving` that it lost; where set, it leaves only the replicas in them."""

    def admits(self, replica: int, partition: PartitionRegistration) -> bool:
        """Whether a replica may lead this partition."""
        if replica == self.leaving and not self.offline_directories:
            return False
        broker = self.context.broker(replica)
        if broker is None:
            return False
        if replica != self.joining and (broker.fenced or broker.in_controlled_shutdown):
            return False
        directory = partition.directory(replica)
        if directory is None or directory in self.offline_directories:
            return False
        return broker.has_online_directory(directory)

    def loses(self, replica: int, partition: PartitionRegistration) -> bool:
        """Whether `leaving` leaves this partition."""
        if replica != self.leaving:
            return False
        return not self.offline_directories or partition.directory(replica) in self.offline_directories


def default_directory(broker: BrokerRegistration | None) -> UUID:
    """Where a broker puts a new replica: its only directory, or one that it will pick itself."""
    if broker is None or not broker.log_dirs:
        return MIGRATING_DIRECTORY
    return broker.log_dirs[0] if len(broker.log_dirs) == 1 else UNASSIGNED_DIRECTORY


def is_lightweight(broker: BrokerRegistration) -> bool:
    """Whether the broker holds no topic data."""
    return LIGHTWEIGHT in broker.features


def elect(
    context: Context,
    partitions: Iterable[Located],
    electorate: Electorate,
    target: Callable[[PartitionRegistration], Target] = lambda _: AS_IT_IS,
    election: Callable[[str], Election] | None = None,
) -> Iterator[PartitionChangeRecord]:
    """A change for each partition that needs one. `election` by topic; by default what the topic's config allows."""
    version = context.version_of(PartitionChangeRecord)
    modes: dict[str, Election] = {}
    for topic, index, partition in partitions:
        mode = modes.get(topic.name)
        if mode is None:
            mode = modes[topic.name] = (election or _allowed(context))(topic.name)
        record = change_partition(
            partition,
            topic_id=topic.id,
            partition_id=index,
            version=version,
            may_lead=functools.partial(electorate.admits, partition=partition),
            election=mode,
            target=target(partition),
        )
        if record is not None:
            yield record


def fence(context: Context, broker: BrokerRegistration) -> list[AnyDataRecord]:
    """Takes everything from a broker and fences it; nothing if it is fenced."""
    if broker.fenced:
        return []
    change = _registration_change(context, broker, fenced=True)
    return [*partitions_without(context, broker.id), change]


def unfence(context: Context, broker: BrokerRegistration) -> list[AnyDataRecord]:
    """Lifts the fence; the broker may then lead what nobody leads."""
    change = _registration_change(context, broker, fenced=False)
    return [change, *_partitions_with(context, broker)]


def begin_controlled_shutdown(context: Context, broker: BrokerRegistration) -> list[AnyDataRecord]:
    """Marks a broker as shutting down and moves away what it leads.

    Marked already: only the moves, since a controller that failed in the middle may have left some undone.
    """
    moves: list[AnyDataRecord] = [*partitions_without(context, broker.id)]
    if broker.in_controlled_shutdown:
        return moves
    return [_registration_change(context, broker, in_controlled_shutdown=True), *moves]


def unregister(context: Context, broker: BrokerRegistration) -> list[AnyDataRecord]:
    """Takes everything from a broker and forgets it. Replica lists still name it."""
    gone = UnregisterBrokerRecord(
        version=context.version_of(UnregisterBrokerRecord), broker_id=broker.id, broker_epoch=broker.epoch
    )
    return [*partitions_without(context, broker.id), gone]


def newly_offline(broker: BrokerRegistration, offline: Iterable[UUID]) -> frozenset[UUID]:
    """The registered directories that a broker reports as offline; none if that would be all of them.

    A registration without directories would mean "not told"; a broker without any is fenced instead.
    """
    lost = frozenset(offline).intersection(broker.log_dirs)
    return lost if len(lost) < len(broker.log_dirs) else frozenset()


def lose_directories(
    context: Context, broker: BrokerRegistration, offline: Iterable[UUID]
) -> list[AnyDataRecord]:
    """Takes from a broker the replicas in directories that went offline; the others stay."""
    lost = newly_offline(broker, offline)
    if not lost:
        return []
    remaining = tuple([d for d in broker.log_dirs if d not in lost])
    return [
        *partitions_without(context, broker.id, lost),
        _registration_change(context, broker, log_dirs=remaining),
    ]


def partitions_without(
    context: Context, broker_id: int, offline_directories: frozenset[UUID] = frozenset()
) -> Iterator[PartitionChangeRecord]:
    """A change for each partition that has the broker in its ISR (in one of these directories, where given)."""
    electorate = Electorate(context, leaving=broker_id, offline_directories=offline_directories)
    affected = (
        located
        for located in context.image.topics.partitions_with_replica(broker_id)
        if broker_id in located[2].isr and electorate.loses(broker_id, located[2])
    )
    return elect(
        context, affected, electorate, lambda partition: Target(isr=without(partition.isr, broker_id))
    )


def leads_something(context: Context, broker_id: int) -> bool:
    """Whether any partition has the broker as its leader."""
    return any(p.leader == broker_id for _, _, p in context.image.topics.partitions_with_replica(broker_id))


def _partitions_with(context: Context, broker: BrokerRegistration) -> Iterator[PartitionChangeRecord]:
    """A change for each partition that gains from the broker being back."""
    rejoins = is_lightweight(broker)

    def target(partition: PartitionRegistration) -> Target:
        if not rejoins or broker.id in partition.isr:
            return AS_IT_IS
        return Target(isr=tuple([r for r in partition.replicas if r == broker.id or r in partition.isr]))

    affected = (
        located
        for located in context.image.topics.partitions_with_replica(broker.id)
        if located[2].leader == NO_LEADER or (rejoins and broker.id not in located[2].isr)
    )
    return elect(context, affected, Electorate(context, joining=broker.id), target)


def _allowed(context: Context) -> Callable[[str], Election]:
    def mode(topic: str) -> Election:
        return Election.UNCLEAN if context.unclean_election_allowed(topic) else Election.ONLINE

    return mode


def _registration_change(
    context: Context,
    broker: BrokerRegistration,
    *,
    fenced: bool | Unchanged = UNCHANGED,
    in_controlled_shutdown: bool | Unchanged = UNCHANGED,
    log_dirs: tuple[UUID, ...] | Unchanged = UNCHANGED,
) -> BrokerRegistrationChangeRecord:
    return BrokerRegistrationChangeRecord(
        version=context.version_of(BrokerRegistrationChangeRecord),
        broker_id=broker.id,
        broker_epoch=broker.epoch,
        fenced=fenced,
        in_controlled_shutdown=in_controlled_shutdown,
        log_dirs=log_dirs,
    )
