"""What the active controller does by the clock."""

from typing import Any

import pytest

from quorate.controller import elections
from quorate.metadata.records import NO_LEADER
from quorate.metadata.wire.brokers import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    BrokerState,
)
from quorate.metadata.wire.configs import (
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from quorate.metadata.wire.tokens import CreateDelegationTokenRequest
from tests.controller.desk import Desk, create, set_config
from tests.controller.world import config

UNCLEAN = "unclean.leader.election.enable"


def leaders(desk: Desk, topic: str = "t") -> list[int]:
    found = desk.controller.newest_image.topics.by_name(topic)
    assert found is not None
    return [partition.leader for _, partition in found.partitions()]


def cluster(**settings: Any) -> Desk:
    """Two brokers that keep their sessions for ever, and a topic with a replica on each."""
    desk = Desk(config=config(broker_session_timeout_ms=10**9, max_idle_interval_ms=0, **settings)).lead()
    desk.broker(1)
    desk.broker(2)
    desk.ask(create("t", partitions=4, factor=2))
    return desk


def restart(desk: Desk, broker_id: int) -> None:
    desk.ask(desk.beat(broker_id, want_fence=True))
    desk.ask(desk.beat(broker_id))


def join_isr(desk: Desk, broker_id: int) -> None:
    """What the leaders would report when a restarted broker has caught up."""
    topic = desk.controller.newest_image.topics.by_name("t")
    assert topic is not None
    for index, partition in topic.partitions():
        leader = desk.controller.newest_image.cluster.broker(partition.leader)
        assert leader is not None
        desk.ask(
            AlterPartitionRequest(
                broker_id=leader.id,
                broker_epoch=leader.epoch,
                topics=(
                    AlterPartitionRequestTopicData(
                        topic_id=topic.id,
                        partitions=(
                            AlterPartitionRequestPartitionData(
                                partition_index=index,
                                leader_epoch=partition.leader_epoch,
                                partition_epoch=partition.partition_epoch,
                                new_isr_with_epochs=tuple(
                                    BrokerState(broker_id=b)
                                    for b in dict.fromkeys((*partition.isr, broker_id))
                                ),
                            ),
                        ),
                    ),
                ),
            )
        )


def test_leadership_goes_back_to_the_preferred_replicas() -> None:
    desk = cluster(leader_imbalance_check_interval_ms=60_000)
    preferred = leaders(desk)
    assert sorted(preferred) == [1, 1, 2, 2]
    restart(desk, 1)
    assert set(leaders(desk)) == {2}
    join_isr(desk, 1)
    assert set(leaders(desk)) == {2}

    desk.pass_time(60_100)

    assert leaders(desk) == preferred


def test_rebalancing_can_be_switched_off() -> None:
    desk = cluster(leader_imbalance_check_interval_ms=60_000, auto_leader_rebalance_enable=False)
    restart(desk, 1)
    join_isr(desk, 1)

    desk.pass_time(200_000)

    assert set(leaders(desk)) == {2}


def leaderless(**settings: Any) -> Desk:
    """Broker 2 was the last in every ISR and is gone; broker 1 is back."""
    desk = cluster(**settings)
    desk.ask(desk.beat(1, want_fence=True))
    desk.ask(desk.beat(2, want_fence=True))
    desk.ask(desk.beat(1))
    assert set(leaders(desk)) == {NO_LEADER}
    return desk


@pytest.mark.parametrize("where", ["topic", "cluster"])
def test_allowing_unclean_elections_takes_effect_at_once(where: str) -> None:
    desk = leaderless()
    request = set_config("t", UNCLEAN, "true")
    if where == "cluster":
        change = IncrementalAlterableConfig(name=UNCLEAN, config_operation=0, value="true")
        resource = IncrementalAlterConfigsResource(resource_type=4, resource_name="", configs=(change,))
        request = IncrementalAlterConfigsRequest(resources=(resource,))

    desk.ask(request)
    desk.pass_time(100)

    assert set(leaders(desk)) == {1}


def unfence_without_elections(desk: Desk, broker_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left when a controller dies between the two."""
    with monkeypatch.context() as patched:
        patched.setattr("quorate.controller.isr._given_to", lambda *_: iter(()))
        desk.ask(desk.beat(broker_id))
    assert set(leaders(desk)) == {NO_LEADER}


def test_leaderless_partitions_are_looked_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = leaderless(unclean_leader_election_interval_ms=50_000)
    desk.pass_time(100)
    unfence_without_elections(desk, 2, monkeypatch)

    desk.pass_time(49_000)
    assert set(leaders(desk)) == {NO_LEADER}
    desk.pass_time(1_000)

    assert set(leaders(desk)) == {2}


def test_a_new_controller_finishes_elections_that_the_old_one_left_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = cluster()
    desk.ask(desk.beat(1, want_fence=True))
    desk.ask(desk.beat(2, want_fence=True))
    unfence_without_elections(desk, 2, monkeypatch)

    desk.lose(2)
    desk.lead(3)
    desk.pass_time(100)

    assert set(leaders(desk)) == {2}


def test_walks_come_in_slices_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elections, "PARTITIONS_PER_SLICE", 1)
    desk = leaderless()
    change = IncrementalAlterableConfig(name=UNCLEAN, config_operation=0, value="true")
    resource = IncrementalAlterConfigsResource(resource_type=4, resource_name="", configs=(change,))
    desk.ask(IncrementalAlterConfigsRequest(resources=(resource,)))

    led = []
    for _ in range(4):
        desk.turn()
        led.append(leaders(desk).count(1))
        desk.now_ms += 25

    assert led == [1, 2, 3, 4]


def test_expired_delegation_tokens_are_removed() -> None:
    desk = cluster(
        delegation_token_secret_key="secret",
        delegation_token_expiry_time_ms=-10,  # they have expired when they are made
        delegation_token_expiry_check_interval_ms=60_000,
    )
    desk.ask(CreateDelegationTokenRequest(), principal="User:alice")
    assert len(desk.controller.newest_image.tokens.by_id) == 1

    desk.pass_time(59_000)
    assert len(desk.controller.newest_image.tokens.by_id) == 1
    desk.pass_time(2_000)
    assert len(desk.controller.newest_image.tokens.by_id) == 0

    desk.ask(CreateDelegationTokenRequest(), principal="User:alice")
    desk.pass_time(61_000)
    assert len(desk.controller.newest_image.tokens.by_id) == 0
