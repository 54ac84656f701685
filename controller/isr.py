"""What becomes of leaders and ISRs when a broker comes, goes, or is taken out (KIP-631).

- Going (fenced, shutting down, unregistered, restarted uncleanly): it leaves every ISR it is in, and what it led is
  led by somebody else in the ISR, or by nobody.
- Coming (unfenced): it may lead the partitions that nobody leads while it is in their ISR, or eligible (KIP-966).
- Back after an unclean stop, where the cluster keeps eligible leader replicas: it is in no ISR and not eligible.

A broker that holds no data (ours) announces the feature `quorate.lightweight`. Such a replica has nothing to catch
up with and no leader that would report it as in sync, so it rejoins its ISRs when it is unfenced. A broker with
data rejoins through its leader's AlterPartition, as in Kafka.

One operation looks at a limited number of partitions: taking a hundred thousand from a broker at once would stop the
controller for seconds, longer than an election timeout. The rest follows in slices (`settle`), and a broker is not
unfenced before. A new controller settles whatever the one before may have left half done.
"""

import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, TypeAlias
from uuid import UUID

import attrs

from quorate.controller.context import Context
from quorate.controller.partition_change import AS_IT_IS, Election, Target, change_partition, without
from quorate.controller.result import ControllerResult
from quorate.metadata.ids import MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY
from quorate.metadata.image.cluster import BrokerRegistration
from quorate.metadata.image.image import MetadataImage
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

PARTITIONS_AT_ONCE: Final = 2_000
"""How many partitions of a broker one operation looks at; some fifty milliseconds if all of them change."""

Slice: TypeAlias = list[tuple[UUID, int]]
"""(topic id, partition) of partitions to look at."""

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


def default_directory(broker: BrokerRegistration | None) -> UUID:
    """Where a broker puts a new replica: its only directory, or one that it will pick itself."""
    if broker is None or not broker.log_dirs:
        return MIGRATING_DIRECTORY
    return broker.log_dirs[0] if len(broker.log_dirs) == 1 else UNASSIGNED_DIRECTORY


def elect(
    context: Context,
    partitions: Iterable[Located],
    electorate: Electorate,
    target: Callable[[PartitionRegistration], Target] = lambda _: AS_IT_IS,
    election: Callable[[str], Election] | None = None,
    stopped_uncleanly: Collection[int] = (),
) -> Iterator[PartitionChangeRecord]:
    """A change for each partition that needs one. `election` by topic; by default what the topic's config allows."""
    version = context.version_of(PartitionChangeRecord)
    ways: dict[str, tuple[Election, int | None]] = {}
    for topic, index, partition in partitions:
        way = ways.get(topic.name)
        if way is None:
            mode = (election or _allowed(context))(topic.name)
            way = ways[topic.name] = mode, context.effective_min_isr(topic)
        record = change_partition(
            partition,
            topic_id=topic.id,
            partition_id=index,
            version=version,
            may_lead=functools.partial(electorate.admits, partition=partition),
            election=way[0],
            target=target(partition),
            min_isr=way[1],
            stopped_uncleanly=stopped_uncleanly,
        )
        if record is not None:
            yield record


@attrs.frozen
class BrokerChange:
    """Records that change a broker, and as many of its partitions as one operation should look at."""

    records: list[AnyDataRecord]
    unsettled: int | None = None
    """The broker, if there are more partitions; `settle` is to do the rest."""


NO_CHANGE: Final = BrokerChange([])


def fence(context: Context, broker: BrokerRegistration) -> BrokerChange:
    """Takes what it has from a broker and fences it; nothing if it is fenced."""
    if broker.fenced:
        return NO_CHANGE
    first, unsettled = _first_partitions(context, broker.id)
    change = _registration_change(context, broker, fenced=True)
    return BrokerChange([*_taken_from(context, broker.id, first), change], unsettled)


def unfence(context: Context, broker: BrokerRegistration) -> BrokerChange:
    """Lifts the fence; the broker may then lead what nobody leads."""
    first, unsettled = _first_partitions(context, broker.id)
    change = _registration_change(context, broker, fenced=False)
    return BrokerChange([change, *_given_to(context, broker, first)], unsettled)


def begin_controlled_shutdown(context: Context, broker: BrokerRegistration) -> BrokerChange:
    """Marks a broker as shutting down and moves away what it leads."""
    first, unsettled = _first_partitions(context, broker.id)
    change = _registration_change(context, broker, in_controlled_shutdown=True)
    return BrokerChange([change, *_taken_from(context, broker.id, first)], unsettled)


def unregister(context: Context, broker: BrokerRegistration) -> BrokerChange:
    """Takes what it has from a broker and forgets it. Replica lists still name it."""
    first, unsettled = _first_partitions(context, broker.id)
    gone = UnregisterBrokerRecord(
        version=context.version_of(UnregisterBrokerRecord), broker_id=broker.id, broker_epoch=broker.epoch
    )
    return BrokerChange([*_taken_from(context, broker.id, first), gone], unsettled)


def take_from_former_life(context: Context, broker: BrokerRegistration) -> BrokerChange:
    """Takes from a broker, which is about to be registered anew, what its former process had."""
    first, unsettled = _first_partitions(context, broker.id)
    return BrokerChange([*_taken_from(context, broker.id, first)], unsettled)


def take_from_unclean_life(context: Context, broker_id: int) -> BrokerChange:
    """Takes a broker, which may be registered anew, out of every ISR and every list of eligible replicas.

    Once it is registered nobody can tell any more how it stopped: it must not be while this leaves it `unsettled`.
    """
    affected = (
        located
        for located in context.image.topics.partitions_with_replica(broker_id)
        if broker_id in located[2].isr or broker_id in located[2].eligible_leader_replicas
    )
    first = [*itertools.islice(affected, PARTITIONS_AT_ONCE)]
    records = elect(
        context,
        first,
        Electorate(context, leaving=broker_id),
        lambda partition: Target(isr=without(partition.isr, broker_id)),
        stopped_uncleanly=(broker_id,),
    )
    return BrokerChange([*records], broker_id if next(affected, None) is not None else None)


def settle(context: Context, broker_id: int, candidates: Slice) -> ControllerResult[None]:
    """Brings partitions of a broker in line with what it is now: active, or not (any more)."""
    located = newest(context, candidates)
    if context.is_active(broker_id):
        broker = context.broker(broker_id)
        records = [] if broker is None else [*_given_to(context, broker, located)]
    else:
        records = [*_taken_from(context, broker_id, located)]
    return ControllerResult(records, None, atomic=False)


def find_partitions(image: MetadataImage, broker_id: int) -> Iterator[Slice]:
    """All partitions with a replica on a broker, a slice at a time."""
    partitions = image.topics.partitions_with_replica(broker_id)
    while part := [(topic.id, i) for topic, i, _ in itertools.islice(partitions, PARTITIONS_AT_ONCE)]:
        yield part


def brokers_to_settle(image: MetadataImage) -> list[int]:
    """The brokers whose partitions a dead controller may have left half done.

    Those that are not active, and those without data, which nobody else brings back into their ISRs; the partitions
    that an active broker with data might lead are found by the walk over leaderless partitions.
    """
    return [
        broker_id
        for broker_id in image.topics.brokers_with_replicas()
        if (broker := image.cluster.broker(broker_id)) is None
        or broker.fenced
        or broker.in_controlled_shutdown
        or broker.is_lightweight
    ]


def newest(context: Context, candidates: Slice) -> Iterator[Located]:
    """Those of the partitions that still exist, as they are now."""
    for topic_id, index in candidates:
        topic = context.image.topics.by_id(topic_id)
        partition = None if topic is None else topic.partition(index)
        if topic is not None and partition is not None:
            yield topic, index, partition


def newly_offline(broker: BrokerRegistration, offline: Iterable[UUID]) -> frozenset[UUID]:
    """The registered directories that a broker reports as offline; none if that would be all of them.

    A registration without directories would mean "not told"; a broker without any is fenced instead.
    """
    lost = frozenset(offline).intersection(broker.log_dirs)
    return lost if len(lost) < len(broker.log_dirs) else frozenset()


def lose_directories(context: Context, broker: BrokerRegistration, offline: Iterable[UUID]) -> BrokerChange:
    """Takes from a broker the replicas in directories that went offline; the others stay."""
    lost = newly_offline(broker, offline)
    if not lost:
        return NO_CHANGE
    electorate = Electorate(context, leaving=broker.id, offline_directories=lost)
    affected = (
        located
        for located in context.image.topics.partitions_with_replica(broker.id)
        if (broker.id in located[2].isr or broker.id in located[2].eligible_leader_replicas)
        and located[2].directory(broker.id) in lost
    )
    records = elect(
        context,
        affected,
        electorate,
        lambda p: Target(isr=without(p.isr, broker.id)),
        stopped_uncleanly=(broker.id,),  # an empty disk may be put in the place of what it held
    )
    remaining = tuple([d for d in broker.log_dirs if d not in lost])
    return BrokerChange([*records, _registration_change(context, broker, log_dirs=remaining)])


def cordon(context: Context, broker: BrokerRegistration, directories: Iterable[UUID]) -> BrokerChange:
    """Notes which directories of a broker take no new replicas; those that are there stay (KIP-1066)."""
    cordoned = tuple(directories)
    return BrokerChange([_registration_change(context, broker, cordoned_log_dirs=cordoned)])


def leads_something(context: Context, broker_id: int) -> bool:
    """Whether any partition has the broker as its leader; yes, too, if that takes long to find out."""
    partitions = context.image.topics.partitions_with_replica(broker_id)
    first = itertools.islice(partitions, PARTITIONS_AT_ONCE)
    return any(partition.leader == broker_id for _, _, partition in first) or any(True for _ in partitions)


def _first_partitions(context: Context, broker_id: int) -> tuple[list[Located], int | None]:
    """(the first partitions with a replica on the broker, the broker if there are more)"""
    partitions = context.image.topics.partitions_with_replica(broker_id)
    first = [*itertools.islice(partitions, PARTITIONS_AT_ONCE)]
    return first, broker_id if next(partitions, None) is not None else None


def _taken_from(
    context: Context, broker_id: int, partitions: Iterable[Located]
) -> Iterator[PartitionChangeRecord]:
    """A change for each partition that has the broker in its ISR."""
    affected = (located for located in partitions if broker_id in located[2].isr)
    return elect(
        context,
        affected,
        Electorate(context, leaving=broker_id),
        lambda partition: Target(isr=without(partition.isr, broker_id)),
    )


def _given_to(
    context: Context, broker: BrokerRegistration, partitions: Iterable[Located]
) -> Iterator[PartitionChangeRecord]:
    """A change for each partition that gains from the broker being back."""
    rejoins = broker.is_lightweight

    def target(partition: PartitionRegistration) -> Target:
        if not rejoins or broker.id in partition.isr:
            return AS_IT_IS
        return Target(isr=tuple([r for r in partition.replicas if r == broker.id or r in partition.isr]))

    affected = (
        located
        for located in partitions
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
    cordoned_log_dirs: tuple[UUID, ...] | Unchanged = UNCHANGED,
) -> BrokerRegistrationChangeRecord:
    return BrokerRegistrationChangeRecord(
        version=context.version_of(BrokerRegistrationChangeRecord),
        broker_id=broker.id,
        broker_epoch=broker.epoch,
        fenced=fenced,
        in_controlled_shutdown=in_controlled_shutdown,
        log_dirs=log_dirs,
        cordoned_log_dirs=cordoned_log_dirs,
    )
