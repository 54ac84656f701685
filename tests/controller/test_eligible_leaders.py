"""Eligible leader replicas (KIP-966): who may lead when the ISR is empty, and who may not."""

from typing import Any

import pytest

from quorate.controller import isr
from quorate.controller.activation import activate
from quorate.controller.alter_partition import alter_partition
from quorate.controller.configs import alter_configs, incremental_alter_configs
from quorate.controller.elections import PREFERRED, UNCLEAN, elect_leaders
from quorate.controller.feature_levels import SAFE_DOWNGRADE, UPGRADE, update_features
from quorate.controller.reassignments import alter_partition_reassignments
from quorate.controller.registration import register_broker
from quorate.metadata.checks import ErrorCode
from quorate.metadata.config_keys import ResourceType
from quorate.metadata.features import ELR_VERSION, LIGHTWEIGHT, METADATA_VERSION, format_records
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.records import (
    NO_LEADER,
    RECOVERED,
    RECOVERING,
    UNCHANGED,
    AnyDataRecord,
    ClearElrRecord,
    ConfigRecord,
    FeatureLevelRecord,
)
from quorate.metadata.wire.brokers import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    BrokerRegistrationRequest,
    BrokerState,
    Feature,
)
from quorate.metadata.wire.cluster import FeatureUpdateKey, UpdateFeaturesRequest
from quorate.metadata.wire.configs import (
    AlterableConfig,
    AlterConfigsRequest,
    AlterConfigsResource,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.topics import (
    AlterPartitionReassignmentsRequest,
    ElectLeadersRequest,
    ReassignablePartition,
    ReassignableTopic,
    TopicPartitions,
)
from tests.controller.world import CLUSTER_ID, World, config, directory, incarnation

MIN_ISR = "min.insync.replicas"


def world_with(min_isr: int, *partitions: tuple[int, ...], **settings: Any) -> World:
    """Three brokers with data, and topic t; a write needs `min_isr` replicas."""
    made = World(config=config(**settings))
    made.replay([
        FeatureLevelRecord(name=METADATA_VERSION, feature_level=23),
        FeatureLevelRecord(name=ELR_VERSION, feature_level=1),
    ])  # fmt: skip
    for broker_id in (1, 2, 3):
        made.add_broker(broker_id)
    made.add_topic("t", *(partitions or [(1, 2, 3)]))
    set_min_isr(made, str(min_isr))
    return made


def set_min_isr(world: World, value: str, topic: str = "t") -> None:
    world.replay([ConfigRecord(resource_type=2, resource_name=topic, name=MIN_ISR, value=value)])


def fence(world: World, *broker_ids: int) -> None:
    for broker_id in broker_ids:
        world.replay(isr.fence(world.context(), world.broker(broker_id)).records)


def unfence(world: World, *broker_ids: int) -> None:
    for broker_id in broker_ids:
        world.replay(isr.unfence(world.context(), world.broker(broker_id)).records)


def restart(world: World, broker_id: int, *, cleanly: bool, life: int = 1) -> ErrorCode:
    """Another process registers in a broker's place."""
    known = world.image.cluster.broker(broker_id)
    request = BrokerRegistrationRequest(
        broker_id=broker_id,
        cluster_id=CLUSTER_ID,
        incarnation_id=incarnation(broker_id, life),
        features=(
            Feature(name=METADATA_VERSION, min_supported_version=1, max_supported_version=25),
            Feature(name=ELR_VERSION, min_supported_version=0, max_supported_version=1),
        ),
        log_dirs=(directory(broker_id),),
        previous_broker_epoch=known.epoch if cleanly and known is not None else -1,
    )
    code: ErrorCode = world.run(register_broker, request).error_code
    return code


def state(world: World, index: int = 0) -> tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(leader, ISR, eligible, last known)"""
    found = world.partition("t", index)
    return found.leader, found.isr, found.eligible_leader_replicas, found.last_known_elr


def in_sync(world: World, *members: int) -> ErrorCode:
    """The leader says who is in sync."""
    now = world.partition("t")
    states = tuple(BrokerState(broker_id=m, broker_epoch=world.broker(m).epoch) for m in members)
    wanted = AlterPartitionRequestPartitionData(
        partition_index=0,
        leader_epoch=now.leader_epoch,
        partition_epoch=now.partition_epoch,
        new_isr_with_epochs=states,
        leader_recovery_state=RECOVERED,
    )
    topic = AlterPartitionRequestTopicData(topic_id=world.topic("t").id, partitions=(wanted,))
    request = AlterPartitionRequest(
        broker_id=now.leader, broker_epoch=world.broker(now.leader).epoch, topics=(topic,)
    )
    response = world.run(alter_partition, request)
    code: ErrorCode = response.topics[0].partitions[0].error_code
    return code


# --- the ISR shrinks, and grows again


def test_nobody_is_eligible_while_enough_are_in_sync() -> None:
    world = world_with(2)

    fence(world, 3)

    assert state(world) == (1, (1, 2), (), ())


def test_who_makes_the_isr_too_small_is_eligible() -> None:
    world = world_with(2)
    fence(world, 3, 2)

    assert state(world) == (1, (1,), (2,), ())


def test_the_isr_may_be_empty_and_the_last_leader_is_known() -> None:
    world = world_with(2)
    fence(world, 3, 2, 1)

    assert state(world) == (NO_LEADER, (), (1, 2), (1,))


def test_who_was_neither_in_sync_nor_eligible_does_not_lead() -> None:
    world = world_with(2)
    fence(world, 3, 2, 1)

    unfence(world, 3)

    assert state(world) == (NO_LEADER, (), (1, 2), (1,))


def test_an_eligible_replica_leads_alone_and_without_loss() -> None:
    world = world_with(2)
    fence(world, 3, 2, 1)

    unfence(world, 2)

    assert state(world) == (2, (2,), (1,), ())
    assert world.partition("t").leader_recovery_state == RECOVERED


def test_the_order_of_the_assignment_decides_between_eligible_replicas() -> None:
    world = world_with(3, (3, 1, 2))
    fence(world, 3, 1, 2)
    assert state(world) == (NO_LEADER, (), (1, 2, 3), (2,))
    world.set_broker(1, fenced=False)
    world.set_broker(2, fenced=False)

    unfence(world, 3)

    assert state(world) == (3, (3,), (1, 2), ())


def test_while_the_isr_has_members_an_eligible_replica_does_not_lead() -> None:
    """The only member of the ISR may have gone on; nothing else is known of it."""
    world = world_with(2, (1, 2))
    fence(world, 2)
    world.set_broker(2, fenced=False)
    world.set_broker(1, fenced=True)
    located = [(world.topic("t"), 0, world.partition("t"))]

    (record,) = isr.elect(world.context(), located, isr.Electorate(world.context()))

    assert record.leader == NO_LEADER
    assert record.isr is UNCHANGED


def test_nobody_is_eligible_any_more_once_enough_are_in_sync() -> None:
    world = world_with(2)
    fence(world, 3, 2, 1)
    unfence(world, 2, 1)
    assert state(world) == (2, (2,), (1,), ())

    assert in_sync(world, 2, 1) is ErrorCode.none

    assert state(world) == (2, (2, 1), (), ())


def test_an_isr_that_grows_but_is_too_small_keeps_who_is_eligible() -> None:
    world = world_with(3)
    fence(world, 3, 2, 1)
    unfence(world, 2, 3)
    assert state(world) == (2, (2,), (1, 3), ())

    assert in_sync(world, 2, 3) is ErrorCode.none

    assert state(world) == (2, (2, 3), (1,), ())


def test_a_write_needs_no_more_replicas_than_there_are() -> None:
    world = world_with(3, (1, 2))

    fence(world, 2)
    assert state(world) == (1, (1,), (2,), ())
    unfence(world, 2)
    assert in_sync(world, 1, 2) is ErrorCode.none
    assert state(world) == (1, (1, 2), (), ())


def test_without_the_feature_the_last_member_stays_in_the_isr() -> None:
    world = world_with(2)
    world.replay([FeatureLevelRecord(name=ELR_VERSION, feature_level=0)])

    fence(world, 3, 2, 1)

    assert state(world) == (NO_LEADER, (1,), (), ())


def test_when_the_feature_ends_a_partition_that_needs_its_eligible_replicas_keeps_them() -> None:
    world = world_with(2)
    fence(world, 3, 2, 1)
    world.run(
        update_features,
        UpdateFeaturesRequest(
            feature_updates=(
                FeatureUpdateKey(feature=ELR_VERSION, max_version_level=0, upgrade_type=SAFE_DOWNGRADE),
            )
        ),
    )
    assert not world.context().keeps_eligible_leaders

    unfence(world, 3)
    assert state(world) == (NO_LEADER, (), (1, 2), (1,))
    unfence(world, 2)

    assert state(world) == (2, (2,), (), ())


# --- nobody is eligible


def test_the_last_leader_comes_back_uncleanly_when_nobody_is_left() -> None:
    world = world_with(1)
    fence(world, 3, 2, 1)
    assert state(world) == (NO_LEADER, (), (1,), (1,))
    assert restart(world, 1, cleanly=False) is ErrorCode.none
    assert state(world) == (NO_LEADER, (), (), (1,))
    unfence(world, 2)
    assert state(world) == (NO_LEADER, (), (), (1,)), "only the last leader"

    unfence(world, 1)

    assert state(world) == (1, (1,), (), ())
    assert world.partition("t").leader_recovery_state == RECOVERING


def test_where_unclean_elections_are_allowed_anybody_leads() -> None:
    world = world_with(1)
    world.replay([
        ConfigRecord(resource_type=2, resource_name="t", name="unclean.leader.election.enable", value="true")
    ])  # fmt: skip
    fence(world, 3, 2, 1)
    restart(world, 1, cleanly=False)

    unfence(world, 2)

    assert state(world) == (2, (2,), (), ())
    assert world.partition("t").leader_recovery_state == RECOVERING


def test_an_unclean_election_on_demand_takes_an_eligible_replica_first() -> None:
    world = world_with(2, (3, 2, 1))
    fence(world, 3, 2, 1)
    assert state(world) == (NO_LEADER, (), (1, 2), (1,))
    world.set_broker(3, fenced=False)
    world.set_broker(2, fenced=False)

    answer = world.run(elect_leaders, _election(UNCLEAN))

    assert answer.replica_election_results[0].partition_result[0].error_code is ErrorCode.none
    assert state(world) == (2, (2,), (1,), ())
    assert world.partition("t").leader_recovery_state == RECOVERED


def test_a_preferred_replica_leads_out_of_the_eligible_ones() -> None:
    world = world_with(2)
    fence(world, 3, 2, 1)
    world.set_broker(1, fenced=False)

    answer = world.run(elect_leaders, _election(PREFERRED))

    assert answer.replica_election_results[0].partition_result[0].error_code is ErrorCode.none
    assert state(world) == (1, (1,), (2,), ())


def _election(kind: int) -> ElectLeadersRequest:
    return ElectLeadersRequest(
        election_type=kind, topic_partitions=(TopicPartitions(topic="t", partitions=(0,)),)
    )


# --- how a broker stopped


def test_a_broker_that_stopped_cleanly_stays_eligible() -> None:
    world = world_with(2)
    fence(world, 3, 2)

    restart(world, 2, cleanly=True)

    assert state(world) == (1, (1,), (2,), ())


def test_a_broker_that_stopped_uncleanly_is_neither_in_sync_nor_eligible() -> None:
    world = world_with(2, (1, 2, 3), (2, 1), (3, 1))
    fence(world, 3, 2)
    assert [state(world, i)[1:3] for i in range(3)] == [((1,), (2,)), ((1,), (2,)), ((1,), (3,))]

    restart(world, 2, cleanly=False)

    assert [state(world, i)[1:3] for i in range(3)] == [((1,), ()), ((1,), ()), ((1,), (3,))]


def test_a_leader_that_stopped_uncleanly_and_was_not_fenced_yet_loses_everything() -> None:
    world = world_with(2, (1, 2))
    world.sessions.clear()

    assert restart(world, 1, cleanly=False) is ErrorCode.none

    assert state(world) == (2, (2,), (), ())


def test_of_a_broker_that_was_unregistered_nobody_knows_how_it_stopped() -> None:
    world = world_with(2)
    fence(world, 3, 2)
    world.replay(isr.unregister(world.context(), world.broker(2)).records)
    assert state(world) == (1, (1,), (2,), ())

    assert restart(world, 2, cleanly=True) is ErrorCode.none

    assert state(world) == (1, (1,), (), ())


def test_a_broker_without_data_has_nothing_to_lose() -> None:
    world = world_with(2)
    for broker_id in (1, 2, 3):
        world.add_broker(broker_id, lightweight=True)
    fence(world, 3, 2, 1)
    request = BrokerRegistrationRequest(
        broker_id=2,
        cluster_id=CLUSTER_ID,
        incarnation_id=incarnation(2, 5),
        features=(
            Feature(name=LIGHTWEIGHT, min_supported_version=1, max_supported_version=1),
            Feature(name=METADATA_VERSION, min_supported_version=1, max_supported_version=25),
            Feature(name=ELR_VERSION, min_supported_version=0, max_supported_version=1),
        ),
        log_dirs=(directory(2),),
    )
    world.run(register_broker, request)
    assert state(world)[2] == (1, 2)

    unfence(world, 2)

    assert state(world) == (2, (2,), (1,), ())


def test_a_broker_is_registered_only_when_no_list_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards nobody could tell that what is left of its former life is not to be trusted."""
    monkeypatch.setattr(isr, "PARTITIONS_AT_ONCE", 2)
    world = world_with(2, (1, 2), (2, 1), (2, 3), (3, 2), (2,))
    fence(world, 2)
    former = world.broker(2).incarnation_id

    answers = []
    while world.broker(2).incarnation_id == former:
        answers.append(restart(world, 2, cleanly=False))

    assert answers == [ErrorCode.request_timed_out] * 2 + [ErrorCode.none]
    assert not any(2 in {*state(world, i)[1], *state(world, i)[2]} for i in range(5))


def test_a_broker_that_comes_back_without_one_of_its_directories_has_lost_something() -> None:
    world = world_with(2)
    world.add_broker(2, directories=2)
    fence(world, 3, 2)
    assert state(world) == (1, (1,), (2,), ())

    assert restart(world, 2, cleanly=True) is ErrorCode.none

    assert state(world) == (1, (1,), (), ())


def test_a_replica_whose_directory_went_offline_is_not_eligible() -> None:
    """Whatever is put in its place may be empty."""
    world = world_with(3, (1, 2, 3))
    world.add_broker(2, directories=2)
    fence(world, 3)
    assert state(world) == (1, (1, 2), (3,), ())

    world.replay(isr.lose_directories(world.context(), world.broker(2), [directory(2)]).records)
    assert state(world) == (1, (1,), (3,), ())
    world.add_broker(3, directories=2)
    world.replay(isr.lose_directories(world.context(), world.broker(3), [directory(3)]).records)
    assert state(world) == (1, (1,), (), ())


# --- reassignments


def test_who_is_taken_out_of_the_assignment_is_not_eligible() -> None:
    world = world_with(3)
    fence(world, 3, 2)
    assert state(world) == (1, (1,), (2, 3), ())
    moved = (ReassignablePartition(partition_index=0, replicas=(1, 3)),)
    request = AlterPartitionReassignmentsRequest(
        topics=(ReassignableTopic(name="t", partitions=moved),), allow_replication_factor_change=True
    )
    world.run(alter_partition_reassignments, request)
    unfence(world, 3)

    in_sync(world, 1, 3)

    assert world.partition("t").replicas == (1, 3)
    assert state(world) == (1, (1, 3), (), ())


# --- min.insync.replicas


def setting(type_: int, name: str, value: str | None) -> IncrementalAlterConfigsRequest:
    change = IncrementalAlterableConfig(name=MIN_ISR, config_operation=0 if value else 1, value=value)
    resource = IncrementalAlterConfigsResource(resource_type=type_, resource_name=name, configs=(change,))
    return IncrementalAlterConfigsRequest(resources=(resource,))


@pytest.mark.parametrize(
    ("type_", "name", "forgotten"), [(ResourceType.TOPIC, "t", "t"), (ResourceType.BROKER, "", "")]
)
def test_another_number_of_replicas_forgets_who_was_eligible(type_: int, name: str, forgotten: str) -> None:
    world = world_with(2)
    fence(world, 3, 2, 1)

    result = world.decide(incremental_alter_configs, setting(type_, name, "3"))

    assert result.records == [
        ConfigRecord(resource_type=int(type_), resource_name=name, name=MIN_ISR, value="3"),
        ClearElrRecord(topic_name=forgotten),
    ]
    world.replay(result.records)
    assert state(world) == (NO_LEADER, (), (), ())


def test_the_older_call_forgets_too() -> None:
    world = world_with(2)
    resource = AlterConfigsResource(
        resource_type=ResourceType.TOPIC,
        resource_name="t",
        configs=(AlterableConfig(name="retention.ms", value="1"),),
    )

    records = world.decide(alter_configs, AlterConfigsRequest(resources=(resource,))).records

    assert ClearElrRecord(topic_name="t") in records, "min.insync.replicas was not named, so it is deleted"


def test_other_configs_forget_nothing() -> None:
    world = world_with(2)
    change = IncrementalAlterableConfig(name="retention.ms", config_operation=0, value="1")
    resource = IncrementalAlterConfigsResource(
        resource_type=ResourceType.TOPIC, resource_name="t", configs=(change,)
    )

    records = world.decide(
        incremental_alter_configs, IncrementalAlterConfigsRequest(resources=(resource,))
    ).records

    assert [type(record) for record in records] == [ConfigRecord]


def test_the_cluster_has_one_number() -> None:
    world = world_with(2)
    world.replay([ConfigRecord(resource_type=4, resource_name="", name=MIN_ISR, value="1")])

    for name, value in (("1", "2"), ("", None)):
        answer = world.run(incremental_alter_configs, setting(ResourceType.BROKER, name, value))
        assert answer.responses[0].error_code is ErrorCode.invalid_config
        assert "while ELR is enabled" in answer.responses[0].error_message

    world.replay([FeatureLevelRecord(name=ELR_VERSION, feature_level=0)])
    for name, value in (("1", "2"), ("", None)):
        answer = world.run(incremental_alter_configs, setting(ResourceType.BROKER, name, value))
        assert answer.responses[0].error_code is ErrorCode.none


# --- the feature begins


def enabling(validate_only: bool = False) -> UpdateFeaturesRequest:
    update = FeatureUpdateKey(feature=ELR_VERSION, max_version_level=1, upgrade_type=UPGRADE)
    return UpdateFeaturesRequest(feature_updates=(update,), validate_only=validate_only)


def test_when_it_begins_the_cluster_gets_its_number_and_brokers_lose_theirs() -> None:
    world = World(config=config(static={MIN_ISR: "2"}))
    world.replay([FeatureLevelRecord(name=METADATA_VERSION, feature_level=23)])
    world.add_broker(1, features={ELR_VERSION: (0, 1)})
    world.replay([ConfigRecord(resource_type=4, resource_name="1", name=MIN_ISR, value="3")])

    assert world.decide(update_features, enabling()).records == [
        ConfigRecord(resource_type=4, resource_name="", name=MIN_ISR, value="2"),
        ConfigRecord(resource_type=4, resource_name="1", name=MIN_ISR, value=None),
        FeatureLevelRecord(name=ELR_VERSION, feature_level=1),
    ]
    assert world.decide(update_features, enabling(validate_only=True)).records == ()


def test_a_number_that_the_cluster_has_already_stays() -> None:
    world = World()
    world.replay([
        FeatureLevelRecord(name=METADATA_VERSION, feature_level=23),
        ConfigRecord(resource_type=4, resource_name="", name=MIN_ISR, value="3"),
    ])  # fmt: skip

    assert world.decide(update_features, enabling()).records == [
        FeatureLevelRecord(name=ELR_VERSION, feature_level=1)
    ]


def test_it_needs_its_metadata_version() -> None:
    world = World()
    world.replay([FeatureLevelRecord(name=METADATA_VERSION, feature_level=22)])

    answer = world.run(update_features, enabling())

    assert answer.error_code is ErrorCode.invalid_update_version
    assert "depends on metadata.version 23 (4.0-IV1)" in answer.error_message


def test_a_cluster_that_is_formatted_with_it_has_its_number_from_the_first_moment() -> None:
    world = World()
    empty = world.context(image=MetadataImage.EMPTY)
    first: list[AnyDataRecord] = [*format_records(25, {ELR_VERSION: 1})]

    records = activate(empty, first, transaction_open=False).records

    assert ConfigRecord(resource_type=4, resource_name="", name=MIN_ISR, value="1") in records
    assert not any(
        isinstance(r, ConfigRecord) for r in activate(empty, first[:1], transaction_open=False).records
    )
