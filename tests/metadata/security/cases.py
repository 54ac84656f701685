"""For each API whose rights are asked for thing by thing: requests, what lets them in, and what is said without.

In the cluster there is one topic named `secret`; every other name is the asker's own.
"""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import attrs

from quorate.metadata.checks import ErrorCode
from quorate.metadata.security.permissions import Operation, Resource
from quorate.metadata.wire import cluster, configs, coordinators, topics
from tests.metadata.security.rights import Right, on_cluster, on_topic

SECRET: Final = "secret"
TOPIC, GROUP, CLUSTER = (
    ErrorCode.topic_authorization_failed,
    ErrorCode.group_authorization_failed,
    ErrorCode.cluster_authorization_failed,
)
_TOPIC_CONFIGS, _BROKER_CONFIGS, _METRICS_CONFIGS, _GROUP_CONFIGS = 2, 4, 16, 32


@attrs.frozen(kw_only=True)
class Case:
    """One request."""

    name: str
    request: Callable[[UUID], Any]
    """From the secret topic's id."""
    rights: tuple[Right, ...]
    """Enough to let it in, and to be told all of it."""
    code: ErrorCode | None
    """What the asker is told without them; None: only what he may not see is missing."""
    changes: bool = False

    def __str__(self) -> str:
        return self.name


def _describe_configs(kind: int, name: str) -> Callable[[UUID], Any]:
    resource = configs.DescribeConfigsResource(resource_type=kind, resource_name=name)
    return lambda _: configs.DescribeConfigsRequest(resources=(resource,))


def _alter_incrementally(kind: int, name: str, key: str, value: str) -> Callable[[UUID], Any]:
    resource = configs.IncrementalAlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=(configs.IncrementalAlterableConfig(name=key, config_operation=0, value=value),),
    )
    return lambda _: configs.IncrementalAlterConfigsRequest(resources=(resource,))


def _create(name: str) -> Callable[[UUID], Any]:
    topic = topics.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    return lambda _: topics.CreateTopicsRequest(topics=(topic,), timeout_ms=1000)


READS: Final = (
    Case(
        name="Metadata of all topics",
        request=lambda _: cluster.MetadataRequest(topics=None),
        rights=(on_topic(Operation.DESCRIBE, SECRET),),
        code=None,
    ),
    Case(
        name="Metadata by name",
        request=lambda _: cluster.MetadataRequest(
            topics=(cluster.MetadataRequestTopic(name=SECRET),), allow_auto_topic_creation=False
        ),
        rights=(on_topic(Operation.DESCRIBE, SECRET),),
        code=TOPIC,
    ),
    Case(
        name="Metadata by id",
        request=lambda topic_id: cluster.MetadataRequest(
            topics=(cluster.MetadataRequestTopic(topic_id=topic_id, name=None),)
        ),
        rights=(on_topic(Operation.DESCRIBE, SECRET),),
        code=TOPIC,
    ),
    Case(
        name="DescribeTopicPartitions of all topics",
        request=lambda _: cluster.DescribeTopicPartitionsRequest(),
        rights=(on_topic(Operation.DESCRIBE, SECRET),),
        code=None,
    ),
    Case(
        name="DescribeTopicPartitions by name",
        request=lambda _: cluster.DescribeTopicPartitionsRequest(topics=(cluster.TopicRequest(name=SECRET),)),
        rights=(on_topic(Operation.DESCRIBE, SECRET),),
        code=TOPIC,
    ),
    Case(
        name="DescribeConfigs of a topic",
        request=_describe_configs(_TOPIC_CONFIGS, SECRET),
        rights=(on_topic(Operation.DESCRIBE_CONFIGS, SECRET),),
        code=TOPIC,
    ),
    Case(
        name="DescribeConfigs of all brokers",
        request=_describe_configs(_BROKER_CONFIGS, ""),
        rights=(on_cluster(Operation.DESCRIBE_CONFIGS),),
        code=CLUSTER,
    ),
    Case(
        name="DescribeConfigs of client metrics",
        request=_describe_configs(_METRICS_CONFIGS, "m"),
        rights=(on_cluster(Operation.DESCRIBE_CONFIGS),),
        code=CLUSTER,
    ),
    Case(
        name="DescribeConfigs of a group",
        request=_describe_configs(_GROUP_CONFIGS, "g"),
        rights=((Operation.DESCRIBE_CONFIGS, Resource.GROUP, "g"),),
        code=GROUP,
    ),
)

BROKER_READS: Final = (
    Case(
        name="FindCoordinator of a group",
        request=lambda _: coordinators.FindCoordinatorRequest(
            key_type=coordinators.GROUP, coordinator_keys=("g",)
        ),
        rights=((Operation.DESCRIBE, Resource.GROUP, "g"),),
        code=GROUP,
    ),
    Case(
        name="FindCoordinator of a transactional id",
        request=lambda _: coordinators.FindCoordinatorRequest(
            key_type=coordinators.TRANSACTION, coordinator_keys=("t",)
        ),
        rights=((Operation.DESCRIBE, Resource.TRANSACTIONAL_ID, "t"),),
        code=ErrorCode.transactional_id_authorization_failed,
    ),
)
"""Of what only brokers answer."""

WRITES: Final = (
    Case(
        name="CreateTopics, with a right on the name",
        request=_create("mine"),
        rights=(on_topic(Operation.CREATE, "mine"), on_topic(Operation.DESCRIBE_CONFIGS, "mine")),
        code=TOPIC,
        changes=True,
    ),
    Case(
        name="CreateTopics, with a right on the cluster",
        request=_create("mine"),
        rights=(on_cluster(Operation.CREATE), on_topic(Operation.DESCRIBE_CONFIGS, "mine")),
        code=TOPIC,
        changes=True,
    ),
    Case(
        name="CreateTopics of one that exists",
        request=_create(SECRET),
        rights=(on_cluster(Operation.CREATE),),
        code=TOPIC,
    ),
    Case(
        name="DeleteTopics by name",
        request=lambda _: topics.DeleteTopicsRequest(
            topics=(topics.DeleteTopicState(name=SECRET),), timeout_ms=1000
        ),
        rights=(on_topic(Operation.DELETE, SECRET),),
        code=TOPIC,
        changes=True,
    ),
    Case(
        name="DeleteTopics by id, with a right on the cluster",
        request=lambda topic_id: topics.DeleteTopicsRequest(
            topics=(topics.DeleteTopicState(name=None, topic_id=topic_id),), timeout_ms=1000
        ),
        rights=(on_cluster(Operation.DELETE),),
        code=TOPIC,
        changes=True,
    ),
    Case(
        name="CreatePartitions",
        request=lambda _: topics.CreatePartitionsRequest(
            topics=(topics.CreatePartitionsTopic(name=SECRET, count=2),), timeout_ms=1000
        ),
        rights=(on_topic(Operation.ALTER, SECRET),),
        code=TOPIC,
        changes=True,
    ),
    Case(
        name="AlterConfigs",
        request=lambda _: configs.AlterConfigsRequest(
            resources=(
                configs.AlterConfigsResource(
                    resource_type=_TOPIC_CONFIGS,
                    resource_name=SECRET,
                    configs=(configs.AlterableConfig(name="retention.ms", value="1"),),
                ),
            )
        ),
        rights=(on_topic(Operation.ALTER_CONFIGS, SECRET),),
        code=TOPIC,
        changes=True,
    ),
    Case(
        name="IncrementalAlterConfigs of a topic",
        request=_alter_incrementally(_TOPIC_CONFIGS, SECRET, "retention.ms", "1"),
        rights=(on_topic(Operation.ALTER_CONFIGS, SECRET),),
        code=TOPIC,
        changes=True,
    ),
    Case(
        name="IncrementalAlterConfigs of all brokers",
        request=_alter_incrementally(_BROKER_CONFIGS, "", "log.retention.ms", "1"),
        rights=(on_cluster(Operation.ALTER_CONFIGS),),
        code=CLUSTER,
        changes=True,
    ),
    Case(
        name="IncrementalAlterConfigs of a group",
        request=_alter_incrementally(_GROUP_CONFIGS, "g", "consumer.session.timeout.ms", "50000"),
        rights=((Operation.ALTER_CONFIGS, Resource.GROUP, "g"),),
        code=GROUP,
        changes=True,
    ),
    *[
        Case(
            name=f"InitProducerId, with a right on {what}",
            request=lambda _: coordinators.InitProducerIdRequest(),
            rights=(right,),
            code=CLUSTER,
            changes=True,
        )
        for what, right in (
            ("the cluster", on_cluster(Operation.IDEMPOTENT_WRITE)),
            ("some topic", on_topic(Operation.WRITE, "mine")),
            ("all topics", on_topic(Operation.ALL, "*")),
        )
    ],
)
