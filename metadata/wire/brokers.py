"""What brokers and controllers say about themselves: registration, heartbeats, ISR changes, directories.

Plain values, the same for every version of an API. Names and meaning are those of Kafka's message
definitions (KIP-500, KIP-631, KIP-858, KIP-903).
"""

import uuid
from typing import ClassVar

import attrs

from quorate.metadata.checks import ErrorCode


@attrs.frozen(kw_only=True)
class Listener:
    name: str
    host: str
    port: int
    security_protocol: int


@attrs.frozen(kw_only=True)
class Feature:
    name: str
    min_supported_version: int
    max_supported_version: int


@attrs.frozen(kw_only=True)
class BrokerRegistrationRequest:
    api_key: ClassVar[int] = 62

    broker_id: int
    cluster_id: str
    incarnation_id: uuid.UUID
    listeners: tuple[Listener, ...] = ()
    features: tuple[Feature, ...] = ()
    rack: str | None = None
    is_migrating_zk_broker: bool = False
    log_dirs: tuple[uuid.UUID, ...] = ()
    previous_broker_epoch: int = -1


@attrs.frozen(kw_only=True)
class BrokerRegistrationResponse:
    api_key: ClassVar[int] = 62

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    broker_epoch: int = -1


@attrs.frozen(kw_only=True)
class BrokerHeartbeatRequest:
    api_key: ClassVar[int] = 63

    broker_id: int
    broker_epoch: int = -1
    current_metadata_offset: int
    want_fence: bool = False
    want_shut_down: bool = False
    offline_log_dirs: tuple[uuid.UUID, ...] = ()
    cordoned_log_dirs: tuple[uuid.UUID, ...] | None = None


@attrs.frozen(kw_only=True)
class BrokerHeartbeatResponse:
    api_key: ClassVar[int] = 63

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    is_caught_up: bool = False
    is_fenced: bool = True
    should_shut_down: bool = False


@attrs.frozen(kw_only=True)
class UnregisterBrokerRequest:
    api_key: ClassVar[int] = 64

    broker_id: int


@attrs.frozen(kw_only=True)
class UnregisterBrokerResponse:
    api_key: ClassVar[int] = 64

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class ControllerRegistrationRequest:
    api_key: ClassVar[int] = 70

    controller_id: int
    incarnation_id: uuid.UUID
    zk_migration_ready: bool = False
    listeners: tuple[Listener, ...] = ()
    features: tuple[Feature, ...] = ()


@attrs.frozen(kw_only=True)
class ControllerRegistrationResponse:
    api_key: ClassVar[int] = 70

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class BrokerState:
    broker_id: int
    broker_epoch: int = -1


@attrs.frozen(kw_only=True)
class AlterPartitionRequestPartitionData:
    partition_index: int
    leader_epoch: int
    new_isr_with_epochs: tuple[BrokerState, ...] = ()
    leader_recovery_state: int = 0
    partition_epoch: int


@attrs.frozen(kw_only=True)
class AlterPartitionRequestTopicData:
    topic_id: uuid.UUID
    partitions: tuple[AlterPartitionRequestPartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class AlterPartitionRequest:
    api_key: ClassVar[int] = 56

    broker_id: int
    broker_epoch: int = -1
    topics: tuple[AlterPartitionRequestTopicData, ...] = ()


@attrs.frozen(kw_only=True)
class AlterPartitionResponsePartitionData:
    partition_index: int
    error_code: ErrorCode = ErrorCode.none
    leader_id: int = -1
    leader_epoch: int = -1
    isr: tuple[int, ...] = ()
    leader_recovery_state: int = 0
    partition_epoch: int = -1


@attrs.frozen(kw_only=True)
class AlterPartitionResponseTopicData:
    topic_id: uuid.UUID
    partitions: tuple[AlterPartitionResponsePartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class AlterPartitionResponse:
    api_key: ClassVar[int] = 56

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    topics: tuple[AlterPartitionResponseTopicData, ...] = ()


@attrs.frozen(kw_only=True)
class AllocateProducerIdsRequest:
    api_key: ClassVar[int] = 67

    broker_id: int
    broker_epoch: int = -1


@attrs.frozen(kw_only=True)
class AllocateProducerIdsResponse:
    api_key: ClassVar[int] = 67

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    producer_id_start: int = 0
    producer_id_len: int = 0


@attrs.frozen(kw_only=True)
class AssignReplicasToDirsRequestPartitionData:
    partition_index: int


@attrs.frozen(kw_only=True)
class AssignReplicasToDirsRequestTopicData:
    topic_id: uuid.UUID
    partitions: tuple[AssignReplicasToDirsRequestPartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class AssignReplicasToDirsRequestDirectoryData:
    id: uuid.UUID
    topics: tuple[AssignReplicasToDirsRequestTopicData, ...] = ()


@attrs.frozen(kw_only=True)
class AssignReplicasToDirsRequest:
    api_key: ClassVar[int] = 73

    broker_id: int
    broker_epoch: int = -1
    directories: tuple[AssignReplicasToDirsRequestDirectoryData, ...] = ()


@attrs.frozen(kw_only=True)
class AssignReplicasToDirsResponsePartitionData:
    partition_index: int
    error_code: ErrorCode = ErrorCode.none


@attrs.frozen(kw_only=True)
class AssignReplicasToDirsResponseTopicData:
    topic_id: uuid.UUID
    partitions: tuple[AssignReplicasToDirsResponsePartitionData, ...] = ()


@attrs.frozen(kw_only=True)
class AssignReplicasToDirsResponseDirectoryData:
    id: uuid.UUID
    topics: tuple[AssignReplicasToDirsResponseTopicData, ...] = ()


@attrs.frozen(kw_only=True)
class AssignReplicasToDirsResponse:
    api_key: ClassVar[int] = 73

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    directories: tuple[AssignReplicasToDirsResponseDirectoryData, ...] = ()
