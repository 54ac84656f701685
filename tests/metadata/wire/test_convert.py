"""What a version lacks, and what an old version says in another way."""

from typing import Any

import pytest

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import ZERO_UUID
from quorate.metadata.wire import brokers, cluster, raft, topics
from quorate.metadata.wire.convert import IGNORABLE, OLD_FORMS, UnsayableValue
from quorate.metadata.wire.table import APIS, decode_request, decode_response, encode_request, encode_response


def resaid(request: Any, version: int) -> Any:
    return decode_request(encode_request(request, version, 1, None)[4:]).body


def test_a_request_is_not_written_without_what_it_means() -> None:
    """validate_only came with UpdateFeatures v1: dropping it would carry out what was only to be tried."""
    trial = cluster.UpdateFeaturesRequest(validate_only=True)

    with pytest.raises(UnsayableValue, match="validate_only"):
        encode_request(trial, 0, 1, None)
    assert resaid(trial, 1) == trial


def test_an_ignorable_field_of_a_request_is_dropped() -> None:
    request = cluster.ApiVersionsRequest(client_software_name="quorate", client_software_version="1")

    assert resaid(request, 0) == cluster.ApiVersionsRequest()
    assert resaid(request, 3) == request


def test_an_answer_is_never_withheld_from_an_old_asker() -> None:
    answer = topics.CreateTopicsResponse(topics=(topics.CreatableTopicResult(name="a", num_partitions=3),))

    old = decode_response(19, 2, encode_response(19, 2, 1, answer)[4:])

    assert old == topics.CreateTopicsResponse(topics=(topics.CreatableTopicResult(name="a"),))


def test_a_field_that_a_version_lacks_has_its_default_after_reading() -> None:
    request = brokers.BrokerRegistrationRequest(broker_id=1, cluster_id="c", incarnation_id=ZERO_UUID)

    assert resaid(request, 0).previous_broker_epoch == -1


def test_a_null_uuid_array_is_not_an_empty_one() -> None:
    """A broker that does not know yet which directories are cordoned must not say that none is."""
    unknown = brokers.BrokerHeartbeatRequest(broker_id=1, current_metadata_offset=7)
    none = brokers.BrokerHeartbeatRequest(broker_id=1, current_metadata_offset=7, cordoned_log_dirs=())

    assert resaid(unknown, 2).cordoned_log_dirs is None
    assert resaid(none, 2).cordoned_log_dirs == ()
    assert (
        len(encode_request(none, 2, 1, "1")) == len(encode_request(unknown, 2, 1, "1")) + 3
    )  # as in the traces
    with pytest.raises(UnsayableValue, match="cordoned_log_dirs"):
        encode_request(none, 1, 1, "1")


def test_delete_topics_by_name_in_both_forms() -> None:
    request = topics.DeleteTopicsRequest(
        topics=(topics.DeleteTopicState(name="a"), topics.DeleteTopicState(name="b")), timeout_ms=5
    )

    assert resaid(request, 5) == request
    assert resaid(request, 6) == request


def test_delete_topics_by_id_needs_the_new_form() -> None:
    request = topics.DeleteTopicsRequest(topics=(topics.DeleteTopicState(topic_id=ZERO_UUID),), timeout_ms=5)

    with pytest.raises(UnsayableValue, match="by name only"):
        encode_request(request, 5, 1, None)


def test_who_fetches_is_one_field_in_all_versions() -> None:
    request = raft.FetchRequest(
        replica_state=raft.FetchReplicaState(replica_id=3), max_wait_ms=500, min_bytes=0
    )

    for version in range(13, 19):
        assert resaid(request, version).replica_state.replica_id == 3


def test_the_isr_without_epochs_means_unknown_epochs() -> None:
    partition = brokers.AlterPartitionRequestPartitionData(
        partition_index=0,
        leader_epoch=1,
        new_isr_with_epochs=(brokers.BrokerState(broker_id=2, broker_epoch=17),),
        partition_epoch=4,
    )
    request = brokers.AlterPartitionRequest(
        broker_id=2,
        broker_epoch=17,
        topics=(brokers.AlterPartitionRequestTopicData(topic_id=ZERO_UUID, partitions=(partition,)),),
    )

    assert resaid(request, 3) == request
    assert resaid(request, 2).topics[0].partitions[0].new_isr_with_epochs == (
        brokers.BrokerState(broker_id=2),
    )


def test_successors_keep_their_order_without_directory_ids() -> None:
    candidates = tuple(raft.ReplicaInfo(candidate_id=i, candidate_directory_id=ZERO_UUID) for i in (3, 1))
    partition = raft.EndQuorumEpochRequestPartitionData(
        partition_index=0, leader_id=2, leader_epoch=1, preferred_candidates=candidates
    )
    request = raft.EndQuorumEpochRequest(
        topics=(raft.EndQuorumEpochRequestTopicData(topic_name="t", partitions=(partition,)),)
    )

    assert resaid(request, 0) == resaid(request, 1) == request


@pytest.mark.parametrize(("upgrade_type", "after"), [(1, 1), (2, 2), (3, 2)])
def test_a_downgrade_is_allowed_or_not_in_the_oldest_form(upgrade_type: int, after: int) -> None:
    update = cluster.FeatureUpdateKey(feature="f", max_version_level=1, upgrade_type=upgrade_type)
    request = cluster.UpdateFeaturesRequest(feature_updates=(update,))

    assert resaid(request, 0).feature_updates[0].upgrade_type == after
    assert resaid(request, 1) == request


def test_all_topics_and_no_topics_are_told_apart_where_the_version_can() -> None:
    everything, nothing = cluster.MetadataRequest(), cluster.MetadataRequest(topics=())

    assert resaid(everything, 0).topics is None
    assert resaid(everything, 1).topics is None
    assert resaid(nothing, 1).topics == ()
    with pytest.raises(UnsayableValue, match="no topics"):
        encode_request(nothing, 0, 1, None)


@pytest.mark.parametrize(
    "wrong",
    [
        topics.CreatableTopicResult(name="n" * 0x8000),
        topics.CreatableTopicResult(name="a", num_partitions=2**31),
        topics.CreatableTopicResult(name="\ud800"),
        topics.CreatableTopicResult(name=None),  # type: ignore[arg-type]
        topics.CreatableTopicResult(name=7),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("version", [5, 7])
def test_a_value_of_the_wrong_shape_is_unsayable(wrong: Any, version: int) -> None:
    with pytest.raises(UnsayableValue):
        encode_response(19, version, 1, topics.CreateTopicsResponse(topics=(wrong,)))


def test_an_error_code_that_we_do_not_know_is_an_unknown_error() -> None:
    """A newer node may answer with one."""
    known = encode_response(64, 0, 1, brokers.UnregisterBrokerResponse(error_code=ErrorCode.not_controller))
    newer = known.replace(ErrorCode.not_controller.to_bytes(2, "big"), (30_000).to_bytes(2, "big"))

    assert decode_response(64, 0, newer[4:]).error_code is ErrorCode.unknown_server_error


def test_a_tag_that_we_do_not_know_is_skipped() -> None:
    frame = encode_request(brokers.UnregisterBrokerRequest(broker_id=5), 0, 1, None)[4:]
    assert frame[-1] == 0

    with_tags = frame[:-1] + bytes([2, 7, 3]) + b"abc" + bytes([9, 0])

    assert decode_request(with_tags).body == brokers.UnregisterBrokerRequest(broker_id=5)


def test_the_tables_name_only_what_exists() -> None:
    """A misspelt entry would silently do nothing."""
    classes = {
        name: thing
        for module in (brokers, cluster, raft, topics)
        for name, thing in vars(module).items()
        if hasattr(thing, "__attrs_attrs__")
    }
    for class_name, field in IGNORABLE:
        assert field in {a.name for a in classes[class_name].__attrs_attrs__}
    for (class_name, _), form in OLD_FORMS.items():
        assert form.says in {a.name for a in classes[class_name].__attrs_attrs__}
    assert {name for name, _ in IGNORABLE} >= {"FetchPartition", "VoteRequest"}
    assert set(APIS) >= {1, 3, 18, 19, 52, 62}
