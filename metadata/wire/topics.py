"""Creating, deleting, growing and rearranging topics: the requests, as values that no version colours.

Names and meaning are those of Kafka's message definitions. -1 for a count or a factor asks for the default of
the cluster (KIP-464).
"""

import uuid
from typing import ClassVar

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import ZERO_UUID


@attrs.frozen(kw_only=True)
class CreatableReplicaAssignment:
    partition_index: int
    broker_ids: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class CreatableTopicConfig:
    name: str
    value: str | None = None


@attrs.frozen(kw_only=True)
class CreatableTopic:
    name: str
    num_partitions: int = -1
    replication_factor: int = -1
    assignments: tuple[CreatableReplicaAssignment, ...] = ()
    configs: tuple[CreatableTopicConfig, ...] = ()


@attrs.frozen(kw_only=True)
class CreateTopicsRequest:
    api_key: ClassVar[int] = 19

    topics: tuple[CreatableTopic, ...] = ()
    timeout_ms: int = 60000
    validate_only: bool = False


@attrs.frozen(kw_only=True)
class CreatableTopicConfigs:
    name: str
    value: str | None = None
    read_only: bool
    config_source: int = -1
    is_sensitive: bool


@attrs.frozen(kw_only=True)
class CreatableTopicResult:
    name: str
    topic_id: uuid.UUID = ZERO_UUID
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    topic_config_error_code: ErrorCode = ErrorCode.none
    num_partitions: int = -1
    replication_factor: int = -1
    configs: tuple[CreatableTopicConfigs, ...] | None = None


@attrs.frozen(kw_only=True)
class CreateTopicsResponse:
    api_key: ClassVar[int] = 19

    throttle_time_ms: int = 0
    topics: tuple[CreatableTopicResult, ...] = ()


@attrs.frozen(kw_only=True)
class DeleteTopicState:
    name: str | None = None
    topic_id: uuid.UUID = ZERO_UUID


@attrs.frozen(kw_only=True)
class DeleteTopicsRequest:
    api_key: ClassVar[int] = 20

    topics: tuple[DeleteTopicState, ...] = ()
    timeout_ms: int


@attrs.frozen(kw_only=True)
class DeletableTopicResult:
    name: str | None = None
    topic_id: uuid.UUID = ZERO_UUID
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class DeleteTopicsResponse:
    api_key: ClassVar[int] = 20

    throttle_time_ms: int = 0
    responses: tuple[DeletableTopicResult, ...] = ()


@attrs.frozen(kw_only=True)
class CreatePartitionsAssignment:
    broker_ids: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class CreatePartitionsTopic:
    name: str
    count: int
    assignments: tuple[CreatePartitionsAssignment, ...] | None = None


@attrs.frozen(kw_only=True)
class CreatePartitionsRequest:
    api_key: ClassVar[int] = 37

    topics: tuple[CreatePartitionsTopic, ...] = ()
    timeout_ms: int
    validate_only: bool = False


@attrs.frozen(kw_only=True)
class CreatePartitionsTopicResult:
    name: str
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class CreatePartitionsResponse:
    api_key: ClassVar[int] = 37

    throttle_time_ms: int = 0
    results: tuple[CreatePartitionsTopicResult, ...] = ()


@attrs.frozen(kw_only=True)
class TopicPartitions:
    topic: str
    partitions: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class ElectLeadersRequest:
    api_key: ClassVar[int] = 43

    election_type: int = 0
    topic_partitions: tuple[TopicPartitions, ...] | None = None
    timeout_ms: int = 60000


@attrs.frozen(kw_only=True)
class PartitionResult:
    partition_id: int
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class ReplicaElectionResult:
    topic: str
    partition_result: tuple[PartitionResult, ...] = ()


@attrs.frozen(kw_only=True)
class ElectLeadersResponse:
    api_key: ClassVar[int] = 43

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    replica_election_results: tuple[ReplicaElectionResult, ...] = ()


@attrs.frozen(kw_only=True)
class ReassignablePartition:
    partition_index: int
    replicas: tuple[int, ...] | None = None


@attrs.frozen(kw_only=True)
class ReassignableTopic:
    name: str
    partitions: tuple[ReassignablePartition, ...] = ()


@attrs.frozen(kw_only=True)
class AlterPartitionReassignmentsRequest:
    api_key: ClassVar[int] = 45

    timeout_ms: int = 60000
    allow_replication_factor_change: bool = True
    topics: tuple[ReassignableTopic, ...] = ()


@attrs.frozen(kw_only=True)
class ReassignablePartitionResponse:
    partition_index: int
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class ReassignableTopicResponse:
    name: str
    partitions: tuple[ReassignablePartitionResponse, ...] = ()


@attrs.frozen(kw_only=True)
class AlterPartitionReassignmentsResponse:
    api_key: ClassVar[int] = 45

    throttle_time_ms: int = 0
    allow_replication_factor_change: bool = True
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    responses: tuple[ReassignableTopicResponse, ...] = ()
