"""Answers from the image: what brokers and controllers tell clients without asking anybody (pure).

One function per API, `answer_…`, from an image and a request to a response. Where the client stands decides what it
may be told: `AtBroker`, `AtController`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from quorate.metadata.image.image import MetadataImage
from quorate.metadata.views.acls import answer_describe_acls
from quorate.metadata.views.api_versions import answer_api_versions
from quorate.metadata.views.cluster import answer_describe_cluster
from quorate.metadata.views.config_resources import answer_list_config_resources
from quorate.metadata.views.configs import DescribingNode, answer_describe_configs
from quorate.metadata.views.coordinators import answer_find_coordinator
from quorate.metadata.views.credentials import answer_user_scram_credentials
from quorate.metadata.views.metadata import answer_metadata, may_make, unknown_names
from quorate.metadata.views.quorum import QuorumStatus, ReplicaStatus, answer_describe_quorum
from quorate.metadata.views.quotas import answer_client_quotas
from quorate.metadata.views.reassignments import answer_partition_reassignments
from quorate.metadata.views.tokens import answer_describe_tokens
from quorate.metadata.views.topic_partitions import answer_topic_partitions
from quorate.metadata.views.viewpoint import AtBroker, AtController, Viewpoint
from quorate.metadata.wire.acls import DescribeAclsRequest
from quorate.metadata.wire.cluster import ListPartitionReassignmentsRequest
from quorate.metadata.wire.configs import ListConfigResourcesRequest
from quorate.metadata.wire.credentials import DescribeUserScramCredentialsRequest
from quorate.metadata.wire.quotas import DescribeClientQuotasRequest

SAME_EVERYWHERE: Final[Mapping[type, Callable[[MetadataImage, Any], Any]]] = {
    DescribeAclsRequest: answer_describe_acls,
    DescribeClientQuotasRequest: answer_client_quotas,
    DescribeUserScramCredentialsRequest: answer_user_scram_credentials,
    ListPartitionReassignmentsRequest: answer_partition_reassignments,
    ListConfigResourcesRequest: answer_list_config_resources,
}
"""Answers that depend on the image alone: at a broker, at a controller, for whoever asks."""

__all__ = [
    "SAME_EVERYWHERE",
    "AtBroker",
    "AtController",
    "DescribingNode",
    "QuorumStatus",
    "ReplicaStatus",
    "Viewpoint",
    "answer_api_versions",
    "answer_describe_cluster",
    "answer_describe_configs",
    "answer_describe_quorum",
    "answer_describe_tokens",
    "answer_find_coordinator",
    "answer_metadata",
    "answer_topic_partitions",
    "may_make",
    "unknown_names",
]
