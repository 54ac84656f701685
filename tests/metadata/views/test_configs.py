"""DescribeConfigs: who may be asked what, and how a config is shown. Which value counts is tested in config_keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.broker.config import BrokerConfig
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import ConfigSource, ResourceType, effective_topic_configs
from quorate.metadata.ids import NodeId
from quorate.metadata.records import ConfigRecord
from quorate.metadata.views import DescribingNode, answer_describe_configs
from quorate.metadata.wire.configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResult,
)
from tests.metadata.views.small_clusters import Cluster, Partition


def setting(kind: ResourceType, resource: str, name: str, value: str) -> ConfigRecord:
    return ConfigRecord(resource_type=kind, resource_name=resource, name=name, value=value)


SEEN = {"quorate.observed.x": "7"}
NODE = DescribingNode(
    node_id=NodeId(1),
    static={"log.retention.ms": "1000"},
    own_keys=BrokerConfig.own_keys(),
    observed=lambda: SEEN,
)
IMAGE = Cluster(
    brokers={},
    topics={"t": (Partition(replicas=(), isr=(), leader=-1),)},
    configs=(
        setting(ResourceType.TOPIC, "t", "cleanup.policy", "compact"),
        setting(ResourceType.BROKER, "1", "log.segment.bytes", "2000000"),
        setting(ResourceType.BROKER, "", "log.segment.bytes", "3000000"),
        setting(ResourceType.BROKER, "2", "log.segment.bytes", "4000000"),
        setting(ResourceType.GROUP, "g", "consumer.session.timeout.ms", "46000"),
        setting(ResourceType.CLIENT_METRICS, "m", "interval.ms", "30000"),
    ),
).image()


def describe(
    kind: int, name: str, *keys: str, synonyms: bool = False, docs: bool = False
) -> DescribeConfigsResult:
    resource = DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=keys or None
    )
    request = DescribeConfigsRequest(
        resources=(resource,), include_synonyms=synonyms, include_documentation=docs
    )
    (result,) = answer_describe_configs(IMAGE, request, NODE).results
    assert (result.resource_type, result.resource_name) == (kind, name)
    return result


def one(kind: int, name: str, key: str, **asked: bool) -> DescribeConfigsResourceResult:
    result = describe(kind, name, key, **asked)
    assert result.error_code is ErrorCode.none, result.error_message
    (config,) = result.configs
    return config


def test_a_topics_config_comes_from_the_topic_the_node_or_kafka() -> None:
    def found(key: str) -> tuple[str | None, int]:
        config = one(ResourceType.TOPIC, "t", key)
        return config.value, config.config_source

    assert found("cleanup.policy") == ("compact", ConfigSource.TOPIC)
    assert found("segment.bytes") == ("2000000", ConfigSource.DYNAMIC_BROKER)
    assert found("retention.ms") == ("1000", ConfigSource.STATIC_BROKER)
    assert found("min.insync.replicas") == ("1", ConfigSource.DEFAULT)


def test_without_keys_all_configs_are_told() -> None:
    assert len(describe(ResourceType.TOPIC, "t").configs) > 25
    assert len(describe(ResourceType.BROKER, "1").configs) > 100


def test_synonyms_and_documentation_are_told_only_if_asked_for() -> None:
    plain = one(ResourceType.TOPIC, "t", "segment.bytes")
    assert (plain.synonyms, plain.documentation) == ((), None)
    full = one(ResourceType.TOPIC, "t", "segment.bytes", synonyms=True, docs=True)
    assert [(s.name, s.value, s.source) for s in full.synonyms] == [
        ("log.segment.bytes", "2000000", ConfigSource.DYNAMIC_BROKER),
        ("log.segment.bytes", "3000000", ConfigSource.DYNAMIC_DEFAULT_BROKER),
        ("log.segment.bytes", "1073741824", ConfigSource.DEFAULT),
    ]
    assert full.documentation


def test_a_node_describes_itself_and_the_clusters_defaults() -> None:
    assert one(ResourceType.BROKER, "1", "log.segment.bytes").value == "2000000"
    (default,) = describe(ResourceType.BROKER, "").configs
    assert (default.name, default.value) == ("log.segment.bytes", "3000000")


def test_our_own_keys_are_told_with_their_defaults() -> None:
    config = one(ResourceType.BROKER, "1", "quorate.controlled.shutdown.grace.ms", docs=True)
    assert (config.value, config.config_source, config.read_only) == ("30000", ConfigSource.DEFAULT, True)
    assert config.documentation


def test_what_the_node_has_seen_of_itself_is_told_by_name_only() -> None:
    (name,) = SEEN
    seen = one(ResourceType.BROKER, "1", name)
    assert (seen.value, seen.read_only) == ("7", True)
    assert name not in {config.name for config in describe(ResourceType.BROKER, "1").configs}
    assert describe(ResourceType.BROKER, "", name).configs == ()


@pytest.mark.parametrize("name", ["2", "01", "x"])
def test_another_node_must_be_asked_itself(name: str) -> None:
    result = describe(ResourceType.BROKER, name)
    assert result.error_code is ErrorCode.invalid_request
    assert result.error_message is not None
    assert f"Ask node {name} itself" in result.error_message


def test_groups_and_metrics_subscriptions_need_not_exist() -> None:
    group = one(ResourceType.GROUP, "g", "consumer.session.timeout.ms")
    assert (group.value, group.config_source) == ("46000", ConfigSource.GROUP)
    assert describe(ResourceType.GROUP, "other").configs
    metrics = one(ResourceType.CLIENT_METRICS, "m", "interval.ms")
    assert (metrics.value, metrics.config_source) == ("30000", ConfigSource.CLIENT_METRICS)


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (ResourceType.TOPIC, "nowhere", ErrorCode.unknown_topic_or_partition),
        (ResourceType.TOPIC, "not legal", ErrorCode.invalid_topic_exception),
        (ResourceType.GROUP, "", ErrorCode.invalid_request),
        (ResourceType.CLIENT_METRICS, "", ErrorCode.invalid_request),
        (ResourceType.BROKER_LOGGER, "1", ErrorCode.invalid_request),
        (77, "x", ErrorCode.invalid_request),
    ],
)
def test_what_cannot_be_described_says_why(kind: int, name: str, code: ErrorCode) -> None:
    result = describe(kind, name)
    assert result.error_code is code
    assert result.error_message


def test_one_bad_resource_does_not_hide_the_others() -> None:
    request = DescribeConfigsRequest(
        resources=(
            DescribeConfigsResource(resource_type=ResourceType.TOPIC, resource_name="nowhere"),
            DescribeConfigsResource(resource_type=ResourceType.TOPIC, resource_name="t"),
        )
    )
    bad, good = answer_describe_configs(IMAGE, request, NODE).results
    assert (bad.error_code, bad.configs) == (ErrorCode.unknown_topic_or_partition, ())
    assert good.error_code is ErrorCode.none
    assert good.configs


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from(["cleanup.policy", "segment.bytes", "nobody.knows.this", "retention.ms"]),
            st.sampled_from(["1", "compact"]),
        )
    ),
    st.lists(
        st.tuples(
            st.integers(0, 5), st.sampled_from([None, (), ("segment.bytes",), ("nobody.knows.this", "x")])
        ),
        max_size=12,
    ),
)
def test_many_topics_together_are_described_as_each_alone(
    overrides: list[tuple[int, str, str]], asked: list[tuple[int, tuple[str, ...] | None]]
) -> None:
    image = Cluster(
        brokers={},
        topics={f"t{n}": (Partition(replicas=(), isr=(), leader=-1),) for n in range(5)},
        configs=tuple(setting(ResourceType.TOPIC, f"t{n}", key, value) for n, key, value in overrides),
    ).image()
    resources = [
        DescribeConfigsResource(
            resource_type=ResourceType.TOPIC, resource_name=f"t{n}", configuration_keys=keys
        )
        for n, keys in asked
    ]

    def described(*some: DescribeConfigsResource) -> tuple[DescribeConfigsResult, ...]:
        request = DescribeConfigsRequest(resources=some, include_synonyms=True)
        return answer_describe_configs(image, request, NODE).results

    assert described(*resources) == tuple(described(one)[0] for one in resources)
    for resource, result in zip(resources, described(*resources), strict=True):
        if result.error_code is ErrorCode.none:
            overridden = dict(image.configs.of(ResourceType.TOPIC, resource.resource_name))
            expected = effective_topic_configs(overridden, NODE.configs(image), resource.configuration_keys)
            assert [(c.name, c.value, c.config_source) for c in result.configs] == [
                (c.name, c.value, c.source) for c in expected
            ]
