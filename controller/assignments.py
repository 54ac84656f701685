"""New partitions: manual assignments checked, automatic ones placed, and the records that create them.

Brokers without data take replicas only while no broker with data is registered: a partition that clients write to
must not depend on one that stores nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from quorate.controller.context import Context
from quorate.controller.isr import default_directory
from quorate.controller.placement import Candidate, place
from quorate.controller.result import reject
from quorate.metadata.checks import ErrorCode
from quorate.metadata.records import RECOVERED, PartitionRecord


def check_manual_assignment(context: Context, replicas: Sequence[int], expected_replicas: int | None) -> None:
    """One partition's replicas as the caller chose them.

    Raises:
        RequestRejected: INVALID_REPLICA_ASSIGNMENT.
    """
    if not replicas:
        _refuse("The manual partition assignment includes an empty replica list.")
    seen: set[int] = set()
    for broker_id in replicas:
        if context.broker(broker_id) is None:
            known = ", ".join(map(str, sorted(context.image.cluster.brokers))) or "none"
            _refuse(
                f"The manual partition assignment includes broker {broker_id}, but no such broker is registered "
                f"(registered: {known})."
            )
        if broker_id in seen:
            _refuse(f"The manual partition assignment includes the broker {broker_id} more than once.")
        seen.add(broker_id)
    _require_data(context, replicas)
    if expected_replicas is not None and len(replicas) != expected_replicas:
        _refuse(
            f"The manual partition assignment includes a partition with {len(replicas)} replica(s), but this is "
            f"not consistent with previous partitions, which have {expected_replicas} replica(s)."
        )


def require_active(context: Context, replicas: Sequence[int], partition_id: int) -> None:
    """Fenced brokers may be assigned, as long as one can lead.

    Raises:
        RequestRejected: INVALID_REPLICA_ASSIGNMENT.
    """
    if not any(context.is_active(broker_id) for broker_id in replicas):
        _refuse(
            f"All brokers specified in the manual partition assignment for partition {partition_id} are fenced or "
            "in controlled shutdown."
        )


def place_partitions(context: Context, count: int, replication_factor: int) -> list[tuple[int, ...]]:
    """Replicas for new partitions, chosen by the controller.

    Raises:
        RequestRejected: INVALID_REPLICATION_FACTOR.
    """
    only_with_data = context.image.cluster.has_data
    candidates = (
        Candidate(id=broker.id, rack=broker.rack, fenced=broker.fenced)
        for broker in context.image.cluster.brokers.values()
        if not broker.in_controlled_shutdown
        and not broker.takes_nothing_new
        and not (only_with_data and broker.is_lightweight)
    )
    return place(candidates, partition_count=count, replication_factor=replication_factor, rng=context.rng)


def partition_records(
    context: Context, topic_id: UUID, first_partition: int, assignments: Iterable[tuple[int, ...]]
) -> Iterator[PartitionRecord]:
    """New partitions: the active replicas are in sync, the first of them leads."""
    version = context.version_of(PartitionRecord)
    brokers = context.image.cluster.brokers
    active = {b.id for b in brokers.values() if not b.fenced and not b.in_controlled_shutdown}
    directories: dict[int, UUID] = {b.id: default_directory(b) for b in brokers.values()}
    for partition_id, replicas in enumerate(assignments, first_partition):
        isr = tuple([r for r in replicas if r in active])
        yield PartitionRecord(
            version=version,
            partition_id=partition_id,
            topic_id=topic_id,
            replicas=replicas,
            isr=isr,
            leader=isr[0],
            leader_recovery_state=RECOVERED,
            leader_epoch=0,
            partition_epoch=0,
            directories=tuple([directories[r] for r in replicas]),
        )


def _require_data(context: Context, replicas: Sequence[int]) -> None:
    for broker_id in replicas:
        broker = context.broker(broker_id)
        if broker is not None and broker.is_lightweight and context.image.cluster.has_data:
            _refuse(
                f"The manual partition assignment includes broker {broker_id}, which stores no topic data, while "
                "brokers that do are registered. Assign the partition to those."
            )


def _refuse(message: str) -> None:
    reject(ErrorCode.invalid_replica_assignment, message)
