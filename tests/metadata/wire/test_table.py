"""The table of requests: versions that clients need, headers, and the rules around ApiVersions."""

import uuid

import attrs
import pytest

from quorate.metadata.checks import ErrorCode, RemoteProtocolError
from quorate.metadata.wire import cluster, configs, envelope, raft, topics
from quorate.metadata.wire.table import (
    API_VERSIONS,
    APIS,
    Access,
    UnsupportedRequest,
    correlation_id_of,
    decode_header,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    holds_error,
    offered,
    refusal,
    unsupported_api_versions,
)

VOTER = uuid.UUID(int=5)
VERSIONS = {
    "Fetch": (13, 18),
    "Metadata": (0, 13),
    "ApiVersions": (0, 4),
    "CreateTopics": (2, 7),
    "DeleteTopics": (1, 6),
    "DescribeConfigs": (1, 4),
    "AlterConfigs": (0, 2),
    "CreatePartitions": (0, 3),
    "IncrementalAlterConfigs": (0, 1),
    "ListPartitionReassignments": (0, 0),
    "DescribeQuorum": (0, 2),
    "UpdateFeatures": (0, 2),
    "DescribeCluster": (0, 2),
    "DescribeTopicPartitions": (0, 0),
    "BrokerRegistration": (0, 4),
    "BrokerHeartbeat": (0, 2),
    "AlterPartition": (2, 3),
    "Envelope": (0, 0),
    "FetchSnapshot": (0, 1),
    "AllocateProducerIds": (0, 0),
    "AssignReplicasToDirs": (0, 0),
}
"""What librdkafka, kafka-python, aiokafka, Kafka's tools and Kafka's brokers send, less what KIP-896 dropped."""


@pytest.mark.parametrize(("name", "versions"), VERSIONS.items())
def test_the_versions_of_clients_and_brokers_are_spoken(name: str, versions: tuple[int, int]) -> None:
    (api,) = [api for api in APIS.values() if api.name == name]

    assert (api.first, api.last) == versions


def test_what_brokers_forward() -> None:
    """KIP-590, as Kafka's KafkaApis does it; the quorum's own requests and heartbeats never travel in an envelope.
    InitProducerId does not with Kafka's brokers, which hold blocks of ids; these ask for one when a producer does.
    """
    assert {api.name for api in APIS.values() if api.forwardable} == {
        "CreateTopics",
        "DeleteTopics",
        "CreatePartitions",
        "InitProducerId",
        "AlterConfigs",
        "IncrementalAlterConfigs",
        "ElectLeaders",
        "AlterPartitionReassignments",
        "ListPartitionReassignments",
        "UpdateFeatures",
        "UnregisterBroker",
        "DescribeQuorum",
        "AddRaftVoter",
        "RemoveRaftVoter",
        "AlterClientQuotas",
        "AlterUserScramCredentials",
        "CreateDelegationToken",
        "RenewDelegationToken",
        "ExpireDelegationToken",
        "CreateAcls",
        "DeleteAcls",
        "SteerMigration",
    }


def test_only_other_nodes_may_speak_raft() -> None:
    for key in (1, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82):
        assert APIS[key].access is Access.CLUSTER_ACTION
    assert APIS[API_VERSIONS].access is Access.NOTHING


def test_a_read_is_not_a_write() -> None:
    reads = {api.name for api in APIS.values() if api.reads}

    assert reads >= {"Metadata", "DescribeQuorum", "DescribeConfigs"}
    assert not any(
        word in name for name in reads for word in ("Create", "Delete", "Alter", "Update", "Elect", "Vote")
    )


def test_offered_is_the_table_cut_down_to_what_is_served() -> None:
    assert offered({44, 18}) == (
        cluster.ApiVersion(api_key=18, min_version=0, max_version=4),
        cluster.ApiVersion(api_key=44, min_version=0, max_version=1),
    )


def test_a_request_begins_as_kafka_writes_it() -> None:
    """The head of a request that a Java admin client sent through an envelope."""
    head = bytes.fromhex("0013 0007 00000003 000d") + b"adminclient-1" + b"\0"
    request = topics.CreateTopicsRequest(topics=(topics.CreatableTopic(name="a"),))

    frame = encode_request(request, 7, 3, "adminclient-1")

    assert frame[4 : 4 + len(head)] == head
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4


def test_an_old_version_has_no_tags_in_its_head() -> None:
    frame = encode_request(topics.CreateTopicsRequest(), 4, 3, None)[4:]

    assert frame == bytes.fromhex("0013 0004 00000003 ffff00000000 0000ea60 00")


def test_a_response_has_tags_in_its_head_where_its_version_is_flexible() -> None:
    answer = topics.CreateTopicsResponse()

    assert encode_response(19, 4, 9, answer)[4:] == bytes.fromhex("0000000900000000 00000000")
    assert encode_response(19, 5, 9, answer)[4:] == bytes.fromhex("00000009 0000000000 01 00")


def test_the_answer_to_api_versions_never_has_tags_in_its_head() -> None:
    """A client must be able to read it before it knows which versions the node speaks (KIP-511)."""
    answer = cluster.ApiVersionsResponse(api_keys=offered({18}))

    data = encode_response(API_VERSIONS, 4, 9, answer)

    assert data[4:] == bytes.fromhex("00000009000002 0012 0000 0004 000000000000")
    assert decode_response(API_VERSIONS, 4, data[4:]) == answer


def test_api_versions_in_an_unknown_version_is_told_the_range_as_v0() -> None:
    """librdkafka asks again with the greatest version of that body (KIP-511)."""
    data = encode_response(API_VERSIONS, 0, 9, unsupported_api_versions())

    assert data[4:] == bytes.fromhex("000000090023000000010012 0000 0004")


def test_a_feature_from_0_is_shown_from_v4_on_only() -> None:
    """Parsers of the time of v3 break on it."""
    answer = cluster.ApiVersionsResponse(
        supported_features=(
            cluster.SupportedFeatureKey(name="kraft.version", min_version=0, max_version=1),
            cluster.SupportedFeatureKey(name="metadata.version", min_version=21, max_version=25),
        ),
        finalized_features_epoch=12,
        finalized_features=(
            cluster.FinalizedFeatureKey(name="kraft.version", max_version_level=1, min_version_level=1),
        ),
    )

    v4 = decode_response(API_VERSIONS, 4, encode_response(API_VERSIONS, 4, 1, answer)[4:])
    v3 = decode_response(API_VERSIONS, 3, encode_response(API_VERSIONS, 3, 1, answer)[4:])
    v2 = decode_response(API_VERSIONS, 2, encode_response(API_VERSIONS, 2, 1, answer)[4:])

    assert v4 == answer
    assert v3 == attrs.evolve(answer, supported_features=answer.supported_features[1:])
    assert v2 == cluster.ApiVersionsResponse()


@pytest.mark.parametrize("head", ["0012 0063 00000007 0002 6d65", "7fff 0000 00000007 0002 6d65"])
def test_what_is_not_spoken_is_told_with_its_head(head: str) -> None:
    frame = bytes.fromhex(head) + b"anything"

    with pytest.raises(UnsupportedRequest) as caught:
        decode_request(frame)

    assert caught.value.header.correlation_id == 7
    assert caught.value.header.client_id == "me"


@pytest.mark.parametrize(
    "frame", [b"", b"\0\x12\0\0\0\0\0\1\0", bytes.fromhex("0012 0000 00000001 0005") + b"ab"]
)
def test_a_head_that_does_not_fit_is_the_peers_fault(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_header(frame)


def test_a_client_id_need_not_be_there() -> None:
    header, end = decode_header(bytes.fromhex("0012 0000 00000001 ffff"))

    assert header.client_id is None
    assert end == 10


def test_a_response_too_short_for_its_id_is_the_peers_fault() -> None:
    with pytest.raises(RemoteProtocolError):
        correlation_id_of(b"\0\0\0")


def test_a_memoryview_is_a_frame_too() -> None:
    frame = encode_request(cluster.MetadataRequest(), 13, 5, "me")[4:]

    assert decode_request(memoryview(frame)).correlation_id == 5


def test_ten_hostile_bytes_cost_nothing() -> None:
    """Lengths that no frame could hold are refused before anything is made for them."""
    for length in ("ffffffff0f", "8080808008", "ffffffffff"):
        frame = bytes.fromhex("002c 0001 00000001 0000 00" + length)
        with pytest.raises(RemoteProtocolError):
            decode_request(frame)
    with pytest.raises(RemoteProtocolError):
        decode_request(bytes.fromhex("0003 0001 00000001 00007fffffff"))


def test_a_refusal_lands_where_the_api_keeps_its_errors() -> None:
    alter = configs.IncrementalAlterConfigsRequest(
        resources=(configs.IncrementalAlterConfigsResource(resource_type=2, resource_name="a"),)
    )

    assert refusal(alter, ErrorCode.invalid_config, "why") == configs.IncrementalAlterConfigsResponse(
        responses=(
            configs.AlterConfigsResourceResponse(
                error_code=ErrorCode.invalid_config, error_message="why", resource_type=2, resource_name="a"
            ),
        )
    )
    assert refusal(
        raft.RemoveRaftVoterRequest(voter_id=1, voter_directory_id=VOTER), ErrorCode.voter_not_found, "w"
    ) == (raft.RemoveRaftVoterResponse(error_code=ErrorCode.voter_not_found, error_message="w"))
    assert refusal(
        envelope.EnvelopeRequest(request_data=b"", client_host_address=b""), ErrorCode.not_controller
    ) == (envelope.EnvelopeResponse(error_code=ErrorCode.not_controller))
    elect = topics.ElectLeadersRequest(
        topic_partitions=(topics.TopicPartitions(topic="a", partitions=(0, 1)),)
    )
    refused = refusal(elect, ErrorCode.not_controller, "why")
    assert refused.error_code is ErrorCode.not_controller
    assert [r.error_code for r in refused.replica_election_results[0].partition_result] == [
        ErrorCode.not_controller
    ] * 2


def test_an_error_is_found_at_any_depth() -> None:
    deep = topics.AlterPartitionReassignmentsResponse(
        responses=(
            topics.ReassignableTopicResponse(
                name="a",
                partitions=(
                    topics.ReassignablePartitionResponse(partition_index=0),
                    topics.ReassignablePartitionResponse(
                        partition_index=1, error_code=ErrorCode.not_controller
                    ),
                ),
            ),
        )
    )

    assert holds_error(deep, ErrorCode.not_controller)
    assert not holds_error(deep, ErrorCode.invalid_request)
    assert holds_error(raft.VoteResponse(error_code=ErrorCode.invalid_request), ErrorCode.invalid_request)
    assert not holds_error(
        cluster.DescribeTopicPartitionsResponse(next_cursor=None), ErrorCode.not_controller
    )


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (b"", "an empty frame is no request: its head alone has 10 bytes"),
        (bytes(9), "a frame of 9 bytes is no request: its head alone has 10 bytes"),
        (bytes(8) + b"\0\2a\xff", "the client id is no UTF-8: byte 1 of 2"),
        (bytes(8) + b"\0\3a", "a client id of 3 bytes in a frame of 11"),
    ],
)
def test_a_frame_without_a_head_is_said_to_be_one(frame: bytes, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as said:
        decode_request(frame)

    assert str(said.value) == text
