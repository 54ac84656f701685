"""FindCoordinator at a broker that coordinates nothing: it points to those that do, or asks for patience."""

from typing import Any

import pytest

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.ids import NodeId
from quorate.metadata.security.permissions import Operation, Resource, permit_everything
from quorate.metadata.views import AtBroker, answer_find_coordinator
from quorate.metadata.views.coordinators import partition_of
from quorate.metadata.wire.coordinators import GROUP, SHARE, TRANSACTION, Coordinator, FindCoordinatorRequest
from tests.metadata.views.small_clusters import CLUSTER_ID, Broker, Cluster, Partition

LISTENERS = {"PLAINTEXT": 1, "EXTERNAL": 2}
LED = {broker: Partition(replicas=(broker,), isr=(broker,), leader=broker) for broker in (1, 2, 3)}
IMAGE = Cluster(
    brokers={
        1: Broker(listeners=LISTENERS),
        2: Broker(listeners={"PLAINTEXT": 1}),
        3: Broker(listeners=LISTENERS, fenced=True),
        4: Broker(listeners=LISTENERS, lightweight=True),
    },
    topics={"__consumer_offsets": (LED[1], LED[2], LED[3]), "__share_group_state": (LED[1],)},
).image()
A_SHARE = "g:AAAAAAAAAAAAAAAAAAAAAQ:7"


def ask(key_type: int, *keys: str, version: int = 6, listener: str = "PLAINTEXT", permits: Any = None) -> Any:
    request = FindCoordinatorRequest(
        key_type=key_type, key=keys[0], coordinator_keys=keys if version >= 4 else ()
    )
    viewpoint = AtBroker(cluster_id=CLUSTER_ID, node_id=NodeId(9), listener_name=listener)
    return answer_find_coordinator(IMAGE, request, viewpoint, version, permits or permit_everything)


def group_on(partition: int) -> str:
    """A group whose offsets lie there."""
    return next(name for name in map("g{}".format, range(100)) if partition_of(name, 3) == partition)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", 0),
        ("Aa", 2112),
        ("hello", 99162322),
        ("quorate", 664315435),  # overflows on the way
        ("\N{GRINNING FACE}", 1772899),  # two UTF-16 units: 0xD83D * 31 + 0xDE00
        ("polygenelubricants", 0),  # its hash code is -2**31
    ],
)
def test_a_key_falls_where_java_says(key: str, code: int) -> None:
    assert [partition_of(key, count) for count in (50, 7, 1)] == [code % 50, code % 7, 0]


def test_a_negative_hash_code_is_made_positive_not_masked() -> None:
    """`Math.abs`, not `& 0x7fffffff`: "group" has the code 98629247, "consumer" -567770122."""
    assert partition_of("consumer", 50) == 567770122 % 50


def test_each_group_has_the_leader_of_its_partition() -> None:
    first, second, fenced = (group_on(number) for number in range(3))
    assert ask(GROUP, second, first, fenced).coordinators == (
        Coordinator(key=second, node_id=2, host="b2", port=1),
        Coordinator(key=first, node_id=1, host="b1", port=1),
        Coordinator(key=fenced, error_code=ErrorCode.coordinator_not_available),
    )


def test_the_client_is_told_of_its_own_listener_or_of_nobody() -> None:
    first, second = group_on(0), group_on(1)
    found = ask(GROUP, first, second, listener="EXTERNAL").coordinators
    assert [(one.node_id, one.port, one.error_code) for one in found] == [
        (1, 2, ErrorCode.none),
        (-1, -1, ErrorCode.coordinator_not_available),
    ]


def test_below_v4_the_one_coordinator_is_the_answer() -> None:
    found = ask(GROUP, group_on(1), version=3)
    assert (found.node_id, found.host, found.port, found.coordinators) == (2, "b2", 1, ())


def test_until_the_topic_is_made_clients_are_sent_to_those_who_make_it() -> None:
    """Not to one that is fenced, stores no data, or cannot be reached; all of the others have their share."""
    found = ask(TRANSACTION, *"abcdefgh").coordinators
    assert {(one.node_id, one.host, one.error_code) for one in found} == {
        (1, "b1", ErrorCode.none),
        (2, "b2", ErrorCode.none),
    }
    assert ask(TRANSACTION, "t", version=2).node_id in (1, 2)
    assert {one.node_id for one in ask(TRANSACTION, *"abcdefgh", listener="EXTERNAL").coordinators} == {1}


def test_where_nobody_can_make_the_topic_the_client_asks_again() -> None:
    found = ask(TRANSACTION, "t", version=2, listener="INTERNAL")
    assert (found.error_code, found.node_id) == (ErrorCode.coordinator_not_available, -1)


def test_shared_partitions_are_for_nodes_and_have_keys_of_their_own() -> None:
    (found, broken, unknown) = ask(SHARE, A_SHARE, "g:7", "g:no-id:7").coordinators
    assert (found.node_id, broken.error_code, unknown.error_code) == (
        1,
        ErrorCode.invalid_request,
        ErrorCode.invalid_request,
    )
    with pytest.raises(RequestRejected) as refused:
        ask(SHARE, A_SHARE, permits=lambda *_, **__: False)
    assert refused.value.code is ErrorCode.cluster_authorization_failed


@pytest.mark.parametrize(("key_type", "version"), [(3, 6), (-1, 6), (SHARE, 5)])
def test_a_type_of_keys_that_does_not_exist_is_refused(key_type: int, version: int) -> None:
    with pytest.raises(RequestRejected) as refused:
        ask(key_type, "k", version=version)
    assert refused.value.code is ErrorCode.invalid_request


@pytest.mark.parametrize(
    ("key_type", "resource", "code"),
    [
        (GROUP, Resource.GROUP, ErrorCode.group_authorization_failed),
        (TRANSACTION, Resource.TRANSACTIONAL_ID, ErrorCode.transactional_id_authorization_failed),
    ],
)
def test_who_may_not_see_a_key_is_told_so_key_by_key(
    key_type: int, resource: Resource, code: ErrorCode
) -> None:
    def permits(operation: Operation, of: Resource, name: str, *, log_if_denied: bool = True) -> bool:
        return (operation, of, name) == (Operation.DESCRIBE, resource, "mine")

    mine, other = ask(key_type, "mine", "other", permits=permits).coordinators
    assert mine.error_code is not code
    assert (other.error_code, other.node_id) == (code, -1)
