"""ListConfigResources."""

import pytest

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.records import ConfigRecord
from quorate.metadata.views.config_resources import answer_list_config_resources
from quorate.metadata.wire.configs import ListConfigResourcesRequest
from quorate.metadata.wire.table import decode_request, encode_request
from tests.metadata.views.small_clusters import Broker, Cluster

TOPIC, BROKER, LOGGER, METRICS, GROUP = (int(kind) for kind in ResourceType)
CLUSTER = Cluster(
    brokers={
        2: Broker(listeners={"PLAINTEXT": 1}),
        1: Broker(listeners={}),
        3: Broker(listeners={}, fenced=True),
    },
    topics={"b": (), "a": ()},
    configs=(
        ConfigRecord(resource_type=METRICS, resource_name="m", name="interval.ms", value="1000"),
        ConfigRecord(
            resource_type=GROUP, resource_name="g", name="consumer.session.timeout.ms", value="50000"
        ),
        ConfigRecord(
            resource_type=GROUP, resource_name="gone", name="consumer.session.timeout.ms", value="1"
        ),
        ConfigRecord(
            resource_type=GROUP, resource_name="gone", name="consumer.session.timeout.ms", value=None
        ),
        ConfigRecord(resource_type=TOPIC, resource_name="a", name="retention.ms", value="1"),
    ),
)


def listed(*types: int) -> list[tuple[int, str]]:
    response = answer_list_config_resources(CLUSTER.image(), ListConfigResourcesRequest(resource_types=types))
    return [(one.resource_type, one.resource_name) for one in response.config_resources]


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ((TOPIC,), [(TOPIC, "a"), (TOPIC, "b")]),
        ((BROKER,), [(BROKER, "1"), (BROKER, "2")]),
        ((METRICS, GROUP), [(METRICS, "m"), (GROUP, "g")]),
        ((LOGGER,), [(LOGGER, "1"), (LOGGER, "2")]),
    ],
)
def test_what_there_is_of_a_type(types: tuple[int, ...], expected: list[tuple[int, str]]) -> None:
    assert listed(*types) == expected


def test_no_type_means_all_of_them() -> None:
    assert listed() == listed(TOPIC, BROKER, LOGGER, METRICS, GROUP)


def test_version_0_asks_for_client_metrics() -> None:
    frame = encode_request(ListConfigResourcesRequest(), 0, 1, None)[4:]

    assert decode_request(frame).body.resource_types == (METRICS,)


def test_a_type_that_nobody_knows() -> None:
    with pytest.raises(RequestRejected) as refusal:
        listed(TOPIC, 3)

    assert refusal.value.code is ErrorCode.unsupported_version
