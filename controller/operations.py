"""Which handler answers which request. A request that is not here never reaches the active controller."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from quorate.controller.acls import create_acls, delete_acls
from quorate.controller.alter_partition import alter_partition
from quorate.controller.configs import alter_configs, incremental_alter_configs
from quorate.controller.context import Context
from quorate.controller.credentials import alter_user_scram_credentials
from quorate.controller.elections import elect_leaders
from quorate.controller.feature_levels import update_features
from quorate.controller.heartbeats import broker_heartbeat
from quorate.controller.partitions import create_partitions
from quorate.controller.producer_ids import allocate_producer_ids, init_producer_id
from quorate.controller.quotas import alter_client_quotas
from quorate.controller.reassignments import alter_partition_reassignments
from quorate.controller.registration import register_broker, register_controller, unregister_broker
from quorate.controller.replica_dirs import assign_replicas_to_dirs
from quorate.controller.result import ControllerResult
from quorate.controller.tokens import (
    create_delegation_token,
    expire_delegation_token,
    renew_delegation_token,
)
from quorate.controller.topics import create_topics, delete_topics
from quorate.metadata.wire.acls import CreateAclsRequest, DeleteAclsRequest
from quorate.metadata.wire.brokers import (
    AllocateProducerIdsRequest,
    AlterPartitionRequest,
    AssignReplicasToDirsRequest,
    BrokerHeartbeatRequest,
    BrokerRegistrationRequest,
    ControllerRegistrationRequest,
    UnregisterBrokerRequest,
)
from quorate.metadata.wire.cluster import UpdateFeaturesRequest
from quorate.metadata.wire.configs import AlterConfigsRequest, IncrementalAlterConfigsRequest
from quorate.metadata.wire.coordinators import InitProducerIdRequest
from quorate.metadata.wire.credentials import AlterUserScramCredentialsRequest
from quorate.metadata.wire.quotas import AlterClientQuotasRequest
from quorate.metadata.wire.tokens import (
    CreateDelegationTokenRequest,
    ExpireDelegationTokenRequest,
    RenewDelegationTokenRequest,
)
from quorate.metadata.wire.topics import (
    AlterPartitionReassignmentsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    ElectLeadersRequest,
)

Handler: TypeAlias = Callable[[Context, Any], ControllerResult[Any]]

HANDLERS: Final[Mapping[type, Handler]] = {
    CreateTopicsRequest: create_topics,
    DeleteTopicsRequest: delete_topics,
    CreatePartitionsRequest: create_partitions,
    IncrementalAlterConfigsRequest: incremental_alter_configs,
    AlterConfigsRequest: alter_configs,
    ElectLeadersRequest: elect_leaders,
    AlterPartitionReassignmentsRequest: alter_partition_reassignments,
    AlterPartitionRequest: alter_partition,
    BrokerRegistrationRequest: register_broker,
    BrokerHeartbeatRequest: broker_heartbeat,
    UnregisterBrokerRequest: unregister_broker,
    ControllerRegistrationRequest: register_controller,
    AssignReplicasToDirsRequest: assign_replicas_to_dirs,
    AllocateProducerIdsRequest: allocate_producer_ids,
    InitProducerIdRequest: init_producer_id,
    CreateAclsRequest: create_acls,
    DeleteAclsRequest: delete_acls,
    AlterClientQuotasRequest: alter_client_quotas,
    AlterUserScramCredentialsRequest: alter_user_scram_credentials,
    UpdateFeaturesRequest: update_features,
    CreateDelegationTokenRequest: create_delegation_token,
    RenewDelegationTokenRequest: renew_delegation_token,
    ExpireDelegationTokenRequest: expire_delegation_token,
}
"""By the class of the request value."""

STRICT_SINCE: Final[Mapping[type, int]] = {
    CreateTopicsRequest: 6,
    CreatePartitionsRequest: 3,
    DeleteTopicsRequest: 5,
}
"""The requests that controller_mutation_rate counts, and the version since which a client is refused rather than
told to be quiet (KIP-599)."""
