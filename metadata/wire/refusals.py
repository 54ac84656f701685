"""What a refused request is answered, API by API.

Kafka has no common error answer: most responses carry one code at the top, the older ones one for each item that
was asked for. A client looks only where its API keeps it, so a refusal must land there (Kafka: `getErrorResponse`
of each request).
"""

from collections.abc import Callable
from typing import Any, Final

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.wire import acls, cluster, configs, coordinators, credentials, quotas, topics

Refusal = Callable[[Any, ErrorCode, str | None], Any]
"""(request, code, message) -> response"""


def refusal_of(request: type, response: type) -> Refusal:
    """How a request of this class is refused."""
    return _PER_ITEM.get(request) or _at_the_top(response)


def _at_the_top(response: type) -> Refusal:
    """The response has one code, and perhaps a message beside it."""
    if any(field.name == "error_message" for field in attrs.fields(response)):
        return lambda request, code, message: response(error_code=code, error_message=message)
    return lambda request, code, message: response(error_code=code)


def _metadata(request: cluster.MetadataRequest, code: ErrorCode, message: str | None) -> Any:
    return cluster.MetadataResponse(
        error_code=code,
        topics=tuple(
            cluster.MetadataResponseTopic(
                error_code=code,
                name=topic.name or "",  # v10 and v11 ask by id alone and cannot be answered without a name
                topic_id=topic.topic_id,
            )
            for topic in request.topics or ()
        ),
    )


def _find_coordinator(
    request: coordinators.FindCoordinatorRequest, code: ErrorCode, message: str | None
) -> Any:
    return coordinators.FindCoordinatorResponse(
        error_code=code,
        error_message=message,
        coordinators=tuple(
            coordinators.Coordinator(key=key, error_code=code, error_message=message)
            for key in request.coordinator_keys
        ),
    )


def _describe_topic_partitions(
    request: cluster.DescribeTopicPartitionsRequest, code: ErrorCode, message: str | None
) -> Any:
    return cluster.DescribeTopicPartitionsResponse(
        topics=tuple(
            cluster.DescribeTopicPartitionsResponseTopic(error_code=code, name=topic.name)
            for topic in request.topics
        )
    )


def _create_topics(request: topics.CreateTopicsRequest, code: ErrorCode, message: str | None) -> Any:
    return topics.CreateTopicsResponse(
        topics=tuple(
            topics.CreatableTopicResult(name=topic.name, error_code=code, error_message=message)
            for topic in request.topics
        )
    )


def _delete_topics(request: topics.DeleteTopicsRequest, code: ErrorCode, message: str | None) -> Any:
    return topics.DeleteTopicsResponse(
        responses=tuple(
            topics.DeletableTopicResult(
                name=topic.name, topic_id=topic.topic_id, error_code=code, error_message=message
            )
            for topic in request.topics
        )
    )


def _create_partitions(request: topics.CreatePartitionsRequest, code: ErrorCode, message: str | None) -> Any:
    return topics.CreatePartitionsResponse(
        results=tuple(
            topics.CreatePartitionsTopicResult(name=topic.name, error_code=code, error_message=message)
            for topic in request.topics
        )
    )


def _elect_leaders(request: topics.ElectLeadersRequest, code: ErrorCode, message: str | None) -> Any:
    # v0 has no code at the top, so each partition carries it as well.
    return topics.ElectLeadersResponse(
        error_code=code,
        replica_election_results=tuple(
            topics.ReplicaElectionResult(
                topic=topic.topic,
                partition_result=tuple(
                    topics.PartitionResult(partition_id=partition, error_code=code, error_message=message)
                    for partition in topic.partitions
                ),
            )
            for topic in request.topic_partitions or ()
        ),
    )


def _alter_reassignments(
    request: topics.AlterPartitionReassignmentsRequest, code: ErrorCode, message: str | None
) -> Any:
    return topics.AlterPartitionReassignmentsResponse(
        error_code=code,
        error_message=message,
        responses=tuple(
            topics.ReassignableTopicResponse(
                name=topic.name,
                partitions=tuple(
                    topics.ReassignablePartitionResponse(
                        partition_index=partition.partition_index, error_code=code, error_message=message
                    )
                    for partition in topic.partitions
                ),
            )
            for topic in request.topics
        ),
    )


def _describe_configs(request: configs.DescribeConfigsRequest, code: ErrorCode, message: str | None) -> Any:
    return configs.DescribeConfigsResponse(
        results=tuple(
            configs.DescribeConfigsResult(
                error_code=code,
                error_message=message,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
            for resource in request.resources
        )
    )


def _alter_configs(response: type) -> Refusal:
    def refuse(request: Any, code: ErrorCode, message: str | None) -> Any:
        return response(
            responses=tuple(
                configs.AlterConfigsResourceResponse(
                    error_code=code,
                    error_message=message,
                    resource_type=resource.resource_type,
                    resource_name=resource.resource_name,
                )
                for resource in request.resources
            )
        )

    return refuse


def _create_acls(request: acls.CreateAclsRequest, code: ErrorCode, message: str | None) -> Any:
    refused = acls.AclCreationResult(error_code=code, error_message=message)
    return acls.CreateAclsResponse(results=(refused,) * len(request.creations))


def _delete_acls(request: acls.DeleteAclsRequest, code: ErrorCode, message: str | None) -> Any:
    refused = acls.DeleteAclsFilterResult(error_code=code, error_message=message)
    return acls.DeleteAclsResponse(filter_results=(refused,) * len(request.filters))


def _alter_quotas(request: quotas.AlterClientQuotasRequest, code: ErrorCode, message: str | None) -> Any:
    return quotas.AlterClientQuotasResponse(
        entries=tuple(
            quotas.AlteredEntryResult(error_code=code, error_message=message, entity=entry.entity)
            for entry in request.entries
        )
    )


def _describe_quotas(
    request: quotas.DescribeClientQuotasRequest, code: ErrorCode, message: str | None
) -> Any:
    return quotas.DescribeClientQuotasResponse(error_code=code, error_message=message, entries=None)


def _alter_credentials(
    request: credentials.AlterUserScramCredentialsRequest, code: ErrorCode, message: str | None
) -> Any:
    users = dict.fromkeys([one.name for one in request.deletions] + [one.name for one in request.upsertions])
    return credentials.AlterUserScramCredentialsResponse(
        results=tuple(
            credentials.AlterUserScramCredentialsResult(user=user, error_code=code, error_message=message)
            for user in users
        )
    )


_PER_ITEM: Final[dict[type, Refusal]] = {
    cluster.MetadataRequest: _metadata,
    coordinators.FindCoordinatorRequest: _find_coordinator,
    cluster.DescribeTopicPartitionsRequest: _describe_topic_partitions,
    topics.CreateTopicsRequest: _create_topics,
    topics.DeleteTopicsRequest: _delete_topics,
    topics.CreatePartitionsRequest: _create_partitions,
    topics.ElectLeadersRequest: _elect_leaders,
    topics.AlterPartitionReassignmentsRequest: _alter_reassignments,
    acls.CreateAclsRequest: _create_acls,
    acls.DeleteAclsRequest: _delete_acls,
    quotas.AlterClientQuotasRequest: _alter_quotas,
    quotas.DescribeClientQuotasRequest: _describe_quotas,
    credentials.AlterUserScramCredentialsRequest: _alter_credentials,
    configs.DescribeConfigsRequest: _describe_configs,
    configs.AlterConfigsRequest: _alter_configs(configs.AlterConfigsResponse),
    configs.IncrementalAlterConfigsRequest: _alter_configs(configs.IncrementalAlterConfigsResponse),
}
