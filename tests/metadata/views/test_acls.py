"""DescribeAcls: the ACLs that a filter means, by the resource that they are about."""

import pytest

from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.image import MetadataDelta, MetadataImage, Provenance
from quorate.metadata.security.permissions import Operation, Permission
from quorate.metadata.views.acls import answer_describe_acls
from quorate.metadata.wire.acls import DescribeAclsRequest
from tests.metadata.security.rights import acl_records, on_cluster, on_topic


@pytest.fixture(scope="module")
def image() -> MetadataImage:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all(
        [
            *acl_records([on_topic(Operation.WRITE, "b"), on_topic(Operation.READ, "b")]),
            *acl_records([on_topic(Operation.READ, "a"), on_cluster(Operation.ALTER)]),
            *acl_records([on_topic(Operation.READ, "b")], principal="User:bob", permission=Permission.DENY),
        ]
    )
    return delta.apply(Provenance(offset=5, epoch=1, append_time_ms=0))


def asked(**conditions: object) -> DescribeAclsRequest:
    everything = {"resource_type_filter": 1, "pattern_type_filter": 1, "operation": 1, "permission_type": 1}
    return DescribeAclsRequest(**(everything | conditions))  # type: ignore[arg-type]


def told(image: MetadataImage, **conditions: object) -> list[tuple[str, list[tuple[str, int, int]]]]:
    found = answer_describe_acls(image, asked(**conditions))
    return [
        (one.resource_name, [(acl.principal, acl.operation, acl.permission_type) for acl in one.acls])
        for one in found.resources
    ]


def test_everything_by_resource_and_in_order(image: MetadataImage) -> None:
    assert told(image) == [
        ("a", [("User:alice", 3, 3)]),
        ("b", [("User:alice", 3, 3), ("User:alice", 4, 3), ("User:bob", 3, 2)]),
        ("kafka-cluster", [("User:alice", 7, 3)]),
    ]


def test_conditions(image: MetadataImage) -> None:
    assert told(image, principal_filter="User:bob") == [("b", [("User:bob", 3, 2)])]
    assert told(image, resource_name_filter="a") == [("a", [("User:alice", 3, 3)])]
    assert told(image, resource_name_filter="nothing") == []
    assert told(image, resource_type_filter=4) == [("kafka-cluster", [("User:alice", 7, 3)])]


def test_a_number_that_kafka_does_not_have(image: MetadataImage) -> None:
    with pytest.raises(RequestRejected) as refusal:
        answer_describe_acls(image, asked(operation=77))

    assert refusal.value.code is ErrorCode.invalid_request
