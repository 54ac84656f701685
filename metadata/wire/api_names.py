"""What Kafka calls each request, by its API key: for texts about requests that are not spoken here, too.

Kafka's ApiKeys as of 4.1; a key never changes its meaning. No code decides anything by these names.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_IN_ORDER: Final = """
    Produce Fetch ListOffsets Metadata LeaderAndIsr StopReplica UpdateMetadata ControlledShutdown
    OffsetCommit OffsetFetch FindCoordinator JoinGroup Heartbeat LeaveGroup SyncGroup DescribeGroups
    ListGroups SaslHandshake ApiVersions CreateTopics DeleteTopics DeleteRecords InitProducerId OffsetForLeaderEpoch
    AddPartitionsToTxn AddOffsetsToTxn EndTxn WriteTxnMarkers TxnOffsetCommit DescribeAcls CreateAcls DeleteAcls
    DescribeConfigs AlterConfigs AlterReplicaLogDirs DescribeLogDirs
    SaslAuthenticate CreatePartitions CreateDelegationToken RenewDelegationToken
    ExpireDelegationToken DescribeDelegationToken DeleteGroups ElectLeaders
    IncrementalAlterConfigs AlterPartitionReassignments ListPartitionReassignments OffsetDelete
    DescribeClientQuotas AlterClientQuotas DescribeUserScramCredentials AlterUserScramCredentials
    Vote BeginQuorumEpoch EndQuorumEpoch DescribeQuorum AlterPartition UpdateFeatures Envelope FetchSnapshot
    DescribeCluster DescribeProducers BrokerRegistration BrokerHeartbeat
    UnregisterBroker DescribeTransactions ListTransactions AllocateProducerIds
    ConsumerGroupHeartbeat ConsumerGroupDescribe ControllerRegistration GetTelemetrySubscriptions
    PushTelemetry AssignReplicasToDirs ListConfigResources DescribeTopicPartitions
    ShareGroupHeartbeat ShareGroupDescribe ShareFetch ShareAcknowledge AddRaftVoter RemoveRaftVoter UpdateRaftVoter
    InitializeShareGroupState ReadShareGroupState WriteShareGroupState DeleteShareGroupState
    ReadShareGroupStateSummary StreamsGroupHeartbeat StreamsGroupDescribe
    DescribeShareGroupOffsets AlterShareGroupOffsets DeleteShareGroupOffsets
"""

API_NAMES: Final[Mapping[int, str]] = MappingProxyType(dict(enumerate(_IN_ORDER.split())))
"""By key, those that Kafka has given up since (4 to 7) included."""


OWN_NAMES: Final[Mapping[int, str]] = MappingProxyType({20_000: "SteerMigration"})
"""Requests that Kafka does not have (`own_schemas`)."""


def api_called(key: int) -> str:
    """How a text names it."""
    name = API_NAMES.get(key, OWN_NAMES.get(key))
    return f"API {key}" if name is None else f"{name} (API {key})"
