"""Asking what there is: ApiVersions, Metadata, DescribeCluster and their kin; and UpdateFeatures.

Plain values, the same for every version of an API. Names and meaning are those of Kafka's message
definitions.
"""

import uuid
from typing import ClassVar, Final

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import ZERO_UUID

NOT_ASKED: Final = -(2**31)
"""Authorized operations that nobody asked for."""


@attrs.frozen(kw_only=True)
class ApiVersionsRequest:
    api_key: ClassVar[int] = 18

    client_software_name: str = ""
    client_software_version: str = ""


@attrs.frozen(kw_only=True)
class ApiVersion:
    api_key: int
    min_version: int
    max_version: int


@attrs.frozen(kw_only=True)
class SupportedFeatureKey:
    name: str
    min_version: int
    max_version: int


@attrs.frozen(kw_only=True)
class FinalizedFeatureKey:
    name: str
    max_version_level: int
    min_version_level: int


@attrs.frozen(kw_only=True)
class ApiVersionsResponse:
    api_key: ClassVar[int] = 18

    error_code: ErrorCode = ErrorCode.none
    api_keys: tuple[ApiVersion, ...] = ()
    throttle_time_ms: int = 0
    supported_features: tuple[SupportedFeatureKey, ...] = ()
    finalized_features_epoch: int = -1
    finalized_features: tuple[FinalizedFeatureKey, ...] = ()
    zk_migration_ready: bool = False


@attrs.frozen(kw_only=True)
class MetadataRequestTopic:
    topic_id: uuid.UUID = ZERO_UUID
    name: str | None = None


@attrs.frozen(kw_only=True)
class MetadataRequest:
    api_key: ClassVar[int] = 3

    topics: tuple[MetadataRequestTopic, ...] | None = None
    allow_auto_topic_creation: bool = True
    include_cluster_authorized_operations: bool = False
    include_topic_authorized_operations: bool = False


@attrs.frozen(kw_only=True)
class MetadataResponseBroker:
    node_id: int
    host: str
    port: int
    rack: str | None = None


@attrs.frozen(kw_only=True)
class MetadataResponsePartition:
    error_code: ErrorCode = ErrorCode.none
    partition_index: int
    leader_id: int = -1
    leader_epoch: int = -1
    replica_nodes: tuple[int, ...] = ()
    isr_nodes: tuple[int, ...] = ()
    offline_replicas: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class MetadataResponseTopic:
    error_code: ErrorCode = ErrorCode.none
    name: str | None = None
    topic_id: uuid.UUID = ZERO_UUID
    is_internal: bool = False
    partitions: tuple[MetadataResponsePartition, ...] = ()
    topic_authorized_operations: int = NOT_ASKED


@attrs.frozen(kw_only=True)
class MetadataResponse:
    api_key: ClassVar[int] = 3

    throttle_time_ms: int = 0
    brokers: tuple[MetadataResponseBroker, ...] = ()
    cluster_id: str | None = None
    controller_id: int = -1
    topics: tuple[MetadataResponseTopic, ...] = ()
    cluster_authorized_operations: int = NOT_ASKED
    error_code: ErrorCode = ErrorCode.none


@attrs.frozen(kw_only=True)
class TopicRequest:
    name: str


@attrs.frozen(kw_only=True)
class Cursor:
    topic_name: str
    partition_index: int


@attrs.frozen(kw_only=True)
class DescribeTopicPartitionsRequest:
    api_key: ClassVar[int] = 75

    topics: tuple[TopicRequest, ...] = ()
    response_partition_limit: int = 2000
    cursor: Cursor | None = None


@attrs.frozen(kw_only=True)
class DescribeTopicPartitionsResponsePartition:
    error_code: ErrorCode = ErrorCode.none
    partition_index: int
    leader_id: int = -1
    leader_epoch: int = -1
    replica_nodes: tuple[int, ...] = ()
    isr_nodes: tuple[int, ...] = ()
    eligible_leader_replicas: tuple[int, ...] | None = None
    last_known_elr: tuple[int, ...] | None = None
    offline_replicas: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class DescribeTopicPartitionsResponseTopic:
    error_code: ErrorCode = ErrorCode.none
    name: str | None = None
    topic_id: uuid.UUID = ZERO_UUID
    is_internal: bool = False
    partitions: tuple[DescribeTopicPartitionsResponsePartition, ...] = ()
    topic_authorized_operations: int = NOT_ASKED


@attrs.frozen(kw_only=True)
class DescribeTopicPartitionsResponse:
    api_key: ClassVar[int] = 75

    throttle_time_ms: int = 0
    topics: tuple[DescribeTopicPartitionsResponseTopic, ...] = ()
    next_cursor: Cursor | None = None


@attrs.frozen(kw_only=True)
class DescribeClusterRequest:
    api_key: ClassVar[int] = 60

    include_cluster_authorized_operations: bool = False
    endpoint_type: int = 1
    include_fenced_brokers: bool = False


@attrs.frozen(kw_only=True)
class DescribeClusterBroker:
    broker_id: int
    host: str
    port: int
    rack: str | None = None
    is_fenced: bool = False


@attrs.frozen(kw_only=True)
class DescribeClusterResponse:
    api_key: ClassVar[int] = 60

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    endpoint_type: int = 1
    cluster_id: str = ""
    controller_id: int = -1
    brokers: tuple[DescribeClusterBroker, ...] = ()
    cluster_authorized_operations: int = NOT_ASKED


@attrs.frozen(kw_only=True)
class FeatureUpdateKey:
    feature: str
    max_version_level: int
    upgrade_type: int = 1


@attrs.frozen(kw_only=True)
class UpdateFeaturesRequest:
    api_key: ClassVar[int] = 57

    timeout_ms: int = 60000
    feature_updates: tuple[FeatureUpdateKey, ...] = ()
    validate_only: bool = False


@attrs.frozen(kw_only=True)
class UpdatableFeatureResult:
    feature: str
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None


@attrs.frozen(kw_only=True)
class UpdateFeaturesResponse:
    api_key: ClassVar[int] = 57

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    results: tuple[UpdatableFeatureResult, ...] = ()


@attrs.frozen(kw_only=True)
class ListPartitionReassignmentsTopics:
    name: str
    partition_indexes: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class ListPartitionReassignmentsRequest:
    api_key: ClassVar[int] = 46

    timeout_ms: int = 60000
    topics: tuple[ListPartitionReassignmentsTopics, ...] | None = None


@attrs.frozen(kw_only=True)
class OngoingPartitionReassignment:
    partition_index: int
    replicas: tuple[int, ...] = ()
    adding_replicas: tuple[int, ...] = ()
    removing_replicas: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class OngoingTopicReassignment:
    name: str
    partitions: tuple[OngoingPartitionReassignment, ...] = ()


@attrs.frozen(kw_only=True)
class ListPartitionReassignmentsResponse:
    api_key: ClassVar[int] = 46

    throttle_time_ms: int = 0
    error_code: ErrorCode = ErrorCode.none
    error_message: str | None = None
    topics: tuple[OngoingTopicReassignment, ...] = ()
