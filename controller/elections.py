"""Elections on demand and by the clock: ElectLeaders (KIP-183, KIP-460), preferred leaders, unclean elections.

The two periodic tasks look at every partition. They do so in slices over the image at which they began: with
millions of partitions one walk takes longer than an election timeout. What a slice finds is judged again on the
newest image when its turn comes.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from quorate.controller import isr
from quorate.controller.context import Context
from quorate.controller.isr import Electorate, Slice, newest
from quorate.controller.partition_change import Election
from quorate.controller.result import ControllerResult, TooLarge, reject
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.records import NO_LEADER, AnyDataRecord
from quorate.metadata.wire.topics import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)

MAX_ELECTIONS_PER_RUN: Final = 1_000
"""Of a periodic task; more follow in its next run, at once."""
PARTITIONS_PER_SLICE: Final = 1_000
MAX_PARTITIONS_ELECTED_AT_ONCE: Final = 100_000
"""ElectLeaders without a list means every partition; above this number it would stop the controller for seconds."""

PREFERRED: Final = 0
UNCLEAN: Final = 1

# --- ElectLeaders -------------------------------------------------------------------------------------------


def elect_leaders(context: Context, request: ElectLeadersRequest) -> ControllerResult[ElectLeadersResponse]:
    """Elects for each partition that needs it. Asked for all partitions, it answers only with those that did.

    Raises:
        RequestRejected: INVALID_REQUEST for an unknown type of election; POLICY_VIOLATION for too many partitions.
    """
    if request.election_type not in (PREFERRED, UNCLEAN):
        reject(
            ErrorCode.invalid_request,
            f"Unknown election type {request.election_type}: 0 elects preferred leaders, 1 elects uncleanly.",
        )
    election = Election.PREFERRED if request.election_type == PREFERRED else Election.UNCLEAN
    records: list[AnyDataRecord] = []
    asked = _every_partition(context) if request.topic_partitions is None else _named(request)
    results = []
    for topic, partitions in asked:
        outcomes = [_elect_one(context, topic, partition, election, records) for partition in partitions]
        if request.topic_partitions is None:
            outcomes = [o for o in outcomes if o.error_code is not ErrorCode.election_not_needed]
        if outcomes or request.topic_partitions is not None:
            results.append(ReplicaElectionResult(topic=topic, partition_result=tuple(outcomes)))
    response = ElectLeadersResponse(replica_election_results=tuple(results))
    return ControllerResult(records, response, atomic=False)


def _every_partition(context: Context) -> Iterator[tuple[str, Iterable[int]]]:
    topics = context.image.topics
    if topics.partition_count > MAX_PARTITIONS_ELECTED_AT_ONCE:
        reject(
            ErrorCode.policy_violation,
            f"There are {topics.partition_count} partitions; an election for all of them is done for up to "
            f"{MAX_PARTITIONS_ELECTED_AT_ONCE}. Name the partitions, some thousands at a time.",
        )
    for topic in topics:
        yield topic.name, topic.indexes()


def _named(request: ElectLeadersRequest) -> Iterator[tuple[str, Iterable[int]]]:
    """Each partition once: a second election would be judged by the state before the first."""
    partitions: dict[str, dict[int, None]] = {}
    for wanted in request.topic_partitions or ():
        partitions.setdefault(wanted.topic, {}).update(dict.fromkeys(wanted.partitions))
    yield from partitions.items()


def _elect_one(
    context: Context, name: str, partition_id: int, election: Election, records: list[AnyDataRecord]
) -> PartitionResult:
    try:
        record = _decide(context, name, partition_id, election)
        context.require_room(records, 1, "this election")
    except TooLarge:
        raise
    except RequestRejected as refusal:
        return PartitionResult(
            partition_id=partition_id, error_code=refusal.code, error_message=refusal.message
        )
    records.append(record)
    return PartitionResult(partition_id=partition_id)


def _decide(context: Context, name: str, partition_id: int, election: Election) -> AnyDataRecord:
    topic = context.image.topics.by_name(name)
    if topic is None:
        reject(ErrorCode.unknown_topic_or_partition, f"No such topic as {name}")
    partition = topic.partition(partition_id)
    if partition is None:
        reject(ErrorCode.unknown_topic_or_partition, f"No such partition as {name}-{partition_id}")
    if partition.leader != NO_LEADER and (
        election is Election.UNCLEAN or partition.leader == partition.preferred_replica
    ):
        reject(ErrorCode.election_not_needed, "Leader election not needed for topic partition.")
    electorate = Electorate(context)
    if election is Election.PREFERRED and not _can_lead(electorate, partition, partition.replicas[0]):
        # Kafka would elect any other leader if the present one cannot stay, and call that a success.
        reject(
            ErrorCode.preferred_leader_not_available,
            f"The preferred leader, broker {partition.replicas[0]}, is fenced, shutting down or not in the ISR "
            f"{list(partition.isr)}.",
        )
    for record in isr.elect(
        context, [(topic, partition_id, partition)], electorate, election=lambda _: election
    ):
        return record
    raise RequestRejected(
        ErrorCode.eligible_leaders_not_available,
        f"None of the replicas {list(partition.replicas)} is on an active broker.",
    )


def _can_lead(electorate: Electorate, partition: PartitionRegistration, replica: int) -> bool:
    return replica in (partition.isr or partition.eligible_leader_replicas) and electorate.admits(
        replica, partition
    )


# --- the periodic tasks -------------------------------------------------------------------------------------


def find_not_preferred(image: MetadataImage) -> Iterator[Slice]:
    """The partitions that somebody else leads than their first replica, a slice at a time."""
    return _find(image, lambda p: p.leader not in (NO_LEADER, p.replicas[0]) and p.replicas[0] in p.isr)


def find_leaderless(image: MetadataImage) -> Iterator[Slice]:
    """The partitions that nobody leads, a slice at a time."""
    return _find(image, lambda p: p.leader == NO_LEADER)


def elect_preferred(context: Context, candidates: Slice) -> ControllerResult[None]:
    """Gives leadership back to first replicas that can take it."""
    electorate = Electorate(context)
    partitions = (
        located
        for located in newest(context, candidates)
        if located[2].leader != located[2].replicas[0]
        and _can_lead(electorate, located[2], located[2].replicas[0])
    )
    records = isr.elect(context, partitions, electorate, election=lambda _: Election.PREFERRED)
    return ControllerResult([*records], None, atomic=False)


def elect_leaderless(context: Context, candidates: Slice) -> ControllerResult[None]:
    """Elects where nobody leads: uncleanly where the topic allows it, else only who is in the ISR.

    The latter is found nowhere else if a controller died between unfencing a broker and the elections after it.
    """
    partitions = (located for located in newest(context, candidates) if located[2].leader == NO_LEADER)
    return ControllerResult([*isr.elect(context, partitions, Electorate(context))], None, atomic=False)


def leaderless_of(image: MetadataImage, topic: str) -> Slice:
    """The partitions of one topic that nobody leads."""
    found = image.topics.by_name(topic)
    if found is None:
        return []
    return [(found.id, index) for index, partition in found.partitions() if partition.leader == NO_LEADER]


def _find(image: MetadataImage, wanted: Callable[[PartitionRegistration], bool]) -> Iterator[Slice]:
    found: Slice = []
    seen = 0
    for topic in image.topics:
        for index, partition in topic.partitions():
            if wanted(partition):
                found.append((topic.id, index))
            seen += 1
            if seen == PARTITIONS_PER_SLICE or len(found) == MAX_ELECTIONS_PER_RUN:
                yield found
                found, seen = [], 0
    yield found
