"""BrokerRegistration, UnregisterBroker, ControllerRegistration (KIP-631, KIP-858, KIP-866, KIP-919).

A broker's epoch is the offset of the record that registered it. A second registration by the same process keeps epoch
and flags; another process under the same id is refused while the first one is alive, and then takes its place.

A process that takes the place of one that was not fenced yet takes over nothing: its partitions go to others first, as
if the old one had been fenced. And nobody can tell from here whether the dead process left its replicas whole. Since
metadata.version 23 a broker says (the epoch that its clean-shutdown marker holds) that it did; one that does not is
taken out of every ISR first, fenced or not. Where the cluster keeps eligible leader replicas it is not eligible either,
and of a broker that is not registered nobody knows how it stopped.
"""

from collections.abc import Iterable
from uuid import UUID

from quorate.controller import isr
from quorate.controller.context import Context
from quorate.controller.migration.mode import is_migrating
from quorate.controller.result import ControllerResult, reject
from quorate.metadata.checks import ErrorCode
from quorate.metadata.features import ELR_SINCE, LIGHTWEIGHT, METADATA_VERSION
from quorate.metadata.ids import FIRST_FREE_UUID, NodeId, uuid_to_text
from quorate.metadata.image.cluster import BrokerRegistration
from quorate.metadata.records import (
    BrokerEndpoint,
    FeatureRange,
    MigrationState,
    RegisterBrokerRecord,
    RegisterControllerRecord,
)
from quorate.metadata.wire.brokers import (
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
    ControllerRegistrationRequest,
    ControllerRegistrationResponse,
    Feature,
    Listener,
    UnregisterBrokerRequest,
    UnregisterBrokerResponse,
)

_UNLISTED_METADATA_VERSION = (1, 1)
"""What a broker supports that says nothing of metadata.version."""
_UNLISTED_FEATURE = (0, 0)


# --- brokers ------------------------------------------------------------------------------------------------


def register_broker(
    context: Context, request: BrokerRegistrationRequest
) -> ControllerResult[BrokerRegistrationResponse]:
    """Registers a broker, fenced; or renews the registration of the same process.

    Raises:
        RequestRejected: INCONSISTENT_CLUSTER_ID, DUPLICATE_BROKER_REGISTRATION, BROKER_ID_NOT_REGISTERED,
            INVALID_REGISTRATION, UNSUPPORTED_VERSION, in this order.
    """
    known = context.broker(request.broker_id)
    _check_cluster(context, request)
    _check_incarnation(context, request, known)
    _check_mode(context, request)
    _check_directories(context, request)
    _check_features(context, request)
    same_process = known is not None and known.incarnation_id == request.incarnation_id
    former = isr.NO_CHANGE
    if context.keeps_eligible_leaders and not same_process and not _left_its_replicas_whole(request, known):
        former = isr.take_from_unclean_life(context, request.broker_id)
        if former.unsettled is not None:
            # It asks again, and the next of its partitions follow.
            answer = BrokerRegistrationResponse(error_code=ErrorCode.request_timed_out)
            return ControllerResult(former.records, answer, atomic=False)
    elif (
        not same_process
        and known is not None
        and (not known.fenced or _stopped_uncleanly(context, request, known))
    ):
        former = isr.take_from_former_life(context, known)
    # Behind the removals: the epoch is the offset of the registration itself.
    epoch = known.epoch if same_process and known is not None else context.next_offset + len(former.records)
    record = RegisterBrokerRecord(
        version=context.version_of(RegisterBrokerRecord),
        broker_id=NodeId(request.broker_id),
        is_migrating_zk_broker=request.is_migrating_zk_broker,
        incarnation_id=request.incarnation_id,
        broker_epoch=epoch,
        end_points=_end_points(request.listeners),
        features=_features(request.features),
        rack=request.rack,
        fenced=known.fenced if same_process and known is not None else True,
        in_controlled_shutdown=same_process and known is not None and known.in_controlled_shutdown,
        log_dirs=request.log_dirs,
        cordoned_log_dirs=known.cordoned_log_dirs if same_process and known is not None else None,
    )
    # Whatever part of the removals survives a crash is right by itself, and the broker registers again.
    return ControllerResult(
        [*former.records, record],
        BrokerRegistrationResponse(broker_epoch=epoch),
        atomic=False,
        unsettled=former.unsettled,
    )


def unregister_broker(
    context: Context, request: UnregisterBrokerRequest
) -> ControllerResult[UnregisterBrokerResponse]:
    """Forgets a broker. One that runs is taken out of everything; ours register again by themselves.

    Raises:
        RequestRejected: BROKER_ID_NOT_REGISTERED.
    """
    known = context.broker(request.broker_id)
    if known is None:
        reject(
            ErrorCode.broker_id_not_registered, f"Broker ID {request.broker_id} is not currently registered."
        )
    change = isr.unregister(context, known)
    return ControllerResult(
        change.records, UnregisterBrokerResponse(), atomic=False, unsettled=change.unsettled
    )


def _check_cluster(context: Context, request: BrokerRegistrationRequest) -> None:
    if request.cluster_id != context.cluster_id:
        reject(
            ErrorCode.inconsistent_cluster_id,
            f"Expected cluster ID {context.cluster_id}, but broker {request.broker_id} has cluster ID "
            f"{request.cluster_id}. Its directories belong to another cluster, or its bootstrap servers do.",
        )


def _check_incarnation(
    context: Context, request: BrokerRegistrationRequest, known: BrokerRegistration | None
) -> None:
    if known is None or known.incarnation_id == request.incarnation_id or known.in_controlled_shutdown:
        return  # who shuts down may be back before the session of its former self is over (KAFKA-19130)
    if known.log_dirs and frozenset(known.log_dirs) == frozenset(request.log_dirs):
        return  # it holds the locks of the very directories: its former self is dead, whatever its session says
    if context.sessions.is_alive(known.id, known.epoch, context.now_ms):
        reject(
            ErrorCode.duplicate_broker_registration,
            f"Another broker is registered with broker ID {known.id}, incarnation {known.incarnation_id}, and is "
            f"alive. If it was killed, this passes when its session of {context.config.broker_session_timeout_ms} ms "
            "is over; otherwise give one of the two another id.",
        )


def _check_mode(context: Context, request: BrokerRegistrationRequest) -> None:
    """Kafka's words and codes; it refuses one mode before the copy and the other after the end (KIP-866)."""
    if request.is_migrating_zk_broker and not is_migrating(context.image):
        reject(
            ErrorCode.broker_id_not_registered,
            f"Broker {request.broker_id} registers as a ZooKeeper-mode broker in migration, and this cluster is "
            "not migrating. Start it in KRaft mode.",
        )
    if not request.is_migrating_zk_broker and context.image.migration is MigrationState.PRE_MIGRATION:
        reject(
            ErrorCode.broker_id_not_registered,
            f"Broker {request.broker_id} registers in KRaft mode, and the metadata is still in ZooKeeper. Start it in "
            "ZooKeeper mode with zookeeper.metadata.migration.enable, and move it once the metadata was copied "
            "(`quorate migrate status`).",
        )


def _check_directories(context: Context, request: BrokerRegistrationRequest) -> None:
    directories = request.log_dirs
    wrong = None
    if not directories:
        wrong = "No directories specified in request"
    elif any(directory.int < FIRST_FREE_UUID for directory in directories):
        wrong = "Reserved directory ID in request"
    elif len(set(directories)) != len(directories):
        wrong = "Duplicate directory ID in request"
    if wrong is None:
        owner = _owner(context, directories, request.broker_id)
        if owner is not None:
            wrong = f"Broker {owner[0]} is already registered with directory {uuid_to_text(owner[1])}"
    if wrong is not None:
        reject(
            ErrorCode.invalid_registration,
            f"{wrong} (broker {request.broker_id}). Each log directory needs an id of its own: format it anew, do "
            "not copy it.",
        )


def _owner(context: Context, directories: Iterable[UUID], asking: int) -> tuple[int, UUID] | None:
    for broker in context.image.cluster.brokers.values():
        if broker.id != asking:
            for directory in directories:
                if directory in broker.log_dirs:
                    return broker.id, directory
    return None


def _check_features(context: Context, request: BrokerRegistrationRequest) -> None:
    offered = {f.name: (f.min_supported_version, f.max_supported_version) for f in request.features}
    for name, level in sorted(context.image.features.levels.items()):
        unlisted = _UNLISTED_METADATA_VERSION if name == METADATA_VERSION else _UNLISTED_FEATURE
        lowest, highest = offered.get(name, unlisted)
        if not lowest <= level <= highest:
            reject(
                ErrorCode.unsupported_version,
                f"Unable to register broker {request.broker_id}: it supports {name} from {lowest} to {highest}, "
                f"and the cluster has finalized {level}. Upgrade the broker.",
            )


def _left_its_replicas_whole(request: BrokerRegistrationRequest, known: BrokerRegistration | None) -> bool:
    """Whether the former process ended with everything on its disks, and they are all still there; or had nothing to
    lose."""
    if any(feature.name == LIGHTWEIGHT for feature in request.features):
        return True
    return (
        known is not None
        and request.previous_broker_epoch == known.epoch
        and set(known.log_dirs) <= set(request.log_dirs)
    )


def _stopped_uncleanly(
    context: Context, request: BrokerRegistrationRequest, known: BrokerRegistration
) -> bool:
    return (
        context.metadata_version >= ELR_SINCE
        and request.previous_broker_epoch != known.epoch
        and not known.is_lightweight
    )


def _end_points(listeners: Iterable[Listener]) -> tuple[BrokerEndpoint, ...]:
    return tuple([
        BrokerEndpoint(name=e.name, host=e.host, port=e.port, security_protocol=e.security_protocol)
        for e in listeners
    ])  # fmt: skip


def _features(features: Iterable[Feature]) -> tuple[FeatureRange, ...]:
    return tuple([
        FeatureRange(
            name=f.name,
            min_supported_version=f.min_supported_version,
            max_supported_version=f.max_supported_version,
        )
        for f in sorted(features, key=lambda feature: feature.name)
    ])  # fmt: skip


# --- controllers --------------------------------------------------------------------------------------------


def register_controller(
    context: Context, request: ControllerRegistrationRequest
) -> ControllerResult[ControllerRegistrationResponse]:
    """Registers a controller: where it listens and what it supports. Always written, as in Kafka."""
    record = RegisterControllerRecord(
        version=context.version_of(RegisterControllerRecord),
        controller_id=NodeId(request.controller_id),
        incarnation_id=request.incarnation_id,
        zk_migration_ready=request.zk_migration_ready,
        end_points=_end_points(request.listeners),
        features=_features(request.features),
    )
    return ControllerResult([record], ControllerRegistrationResponse())
