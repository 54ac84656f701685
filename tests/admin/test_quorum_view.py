"""What the leader's word and the voters' silence amount to."""

import uuid

import pytest

from quorate.admin.quorum_view import BEHIND_MS, QuorumView, Replica, replicas_of, with_flushes
from quorate.metadata.addresses import Address
from quorate.metadata.disk_speed import OBSERVED_FLUSH, SLOW_FLUSH
from quorate.metadata.wire.configs import (
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)
from quorate.metadata.wire.raft import DescribeQuorumReplicaState, DescribeQuorumResponsePartitionData

_DIRECTORY = uuid.UUID(int=500)
_NOW = 1_000_000


def _state(id, end, caught_up, fetched=None):
    return DescribeQuorumReplicaState(
        replica_id=id,
        replica_directory_id=_DIRECTORY,
        log_end_offset=end,
        last_fetch_timestamp=caught_up if fetched is None else fetched,
        last_caught_up_timestamp=caught_up,
    )


def _partition(*voters, observers=()):
    return DescribeQuorumResponsePartitionData(
        partition_index=0,
        leader_id=2,
        leader_epoch=7,
        high_watermark=100,
        current_voters=voters,
        observers=observers,
    )


def _view(replicas, leader=2):
    return QuorumView(
        cluster_id="c", leader_id=leader, leader_epoch=7, high_watermark=100, replicas=tuple(replicas)
    )


def test_lags_and_times_are_measured_by_the_leader_alone():
    partition = _partition(
        _state(3, 97, _NOW - 40, _NOW - 5), _state(2, 101, _NOW), observers=(_state(101, 100, _NOW - 10),)
    )

    third, leader, observer = sorted(
        replicas_of(partition, {2: Address("h", 2)}, {}), key=lambda one: (one.role == "observer", -one.id)
    )

    assert (third.id, third.lag, third.caught_up_ms_ago, third.fetched_ms_ago) == (3, 4, 40, 5)
    assert (leader.id, leader.lag, leader.caught_up_ms_ago, leader.leads, leader.address) == (
        2,
        0,
        0,
        True,
        "h:2",
    )
    assert (observer.id, observer.role, observer.lag) == (101, "observer", 1)


def test_a_replica_that_never_fetched_has_no_lag_and_is_a_problem():
    view = _view(replicas_of(_partition(_state(1, -1, -1), _state(2, 10, _NOW)), {}, {}))

    assert view.replicas[0].lag is None
    assert view.problems() == ["voter 1 has not caught up since this leader leads"]


def test_a_quorum_in_step_is_healthy():
    view = _view(
        replicas_of(_partition(_state(1, 10, _NOW - 400), _state(2, 10, _NOW)), {}, {1: None, 2: None})
    )

    assert view.problems() == []
    assert view.document()["healthy"] is True


def test_a_voter_behind_for_long_is_a_problem_and_an_observer_is_not():
    late = _NOW - BEHIND_MS - 100
    partition = _partition(_state(1, 4, late), _state(2, 10, _NOW), observers=(_state(101, 1, late),))

    assert _view(replicas_of(partition, {}, {})).problems() == ["voter 1 is 6 records behind, for 5.1 s"]


def test_every_node_that_was_asked_is_listed_with_its_error():
    partition = _partition(_state(1, 10, _NOW), _state(2, 10, _NOW))
    view = _view(replicas_of(partition, {}, {1: "nothing listens there"}))

    nodes = view.document()["nodes"]

    assert [(node["id"], node["error"]) for node in nodes] == [(1, "nothing listens there"), (2, None)]
    assert view.problems() == ["voter 1 does not answer: nothing listens there"]


def test_without_a_leader_the_quorum_is_not_healthy_and_yet_answered():
    asked = [
        Replica(id=None, role="asked", address="h:1"),
        Replica(id=None, role="asked", address="h:2", error="refused"),
    ]
    view = _view(asked, leader=None)

    assert view.answered
    assert view.problems() == ["there is no active controller", "h:2 does not answer: refused"]
    assert not _view(asked[1:], leader=None).answered


@pytest.mark.parametrize(
    ("word", "role", "voters", "observers", "silent"),
    [
        ("in step", "voter", [_state(3, 100, _NOW - 100)], [], {}),
        ("lagging", "voter", [_state(3, 40, _NOW - BEHIND_MS - 1, _NOW)], [], {}),
        ("catching up", "voter", [_state(3, 40, -1, _NOW)], [], {}),
        ("unreachable", "voter", [_state(3, 100, _NOW - 100)], [], {3: "refused"}),
        ("in step", "observer", [], [_state(3, 100, _NOW - 100)], {}),
        ("lagging", "observer", [], [_state(3, 40, _NOW - BEHIND_MS - 1, _NOW)], {}),
        ("catching up", "observer", [], [_state(3, 40, -1, _NOW)], {}),
        ("silent", "observer", [], [_state(3, 100, _NOW - BEHIND_MS - 1, _NOW - BEHIND_MS - 1)], {}),
        ("silent", "voter", [_state(3, 100, _NOW - BEHIND_MS - 1, _NOW - BEHIND_MS - 1)], [], {}),
        ("silent", "observer", [], [_state(3, 40, -1, _NOW - BEHIND_MS - 1)], {}),
    ],
)
def test_each_state_has_its_word(word, role, voters, observers, silent):
    partition = _partition(_state(2, 100, _NOW), *voters, observers=observers)

    (third,) = [one for one in replicas_of(partition, {}, silent) if one.id == 3]

    assert (third.role, third.state) == (role, word)
    assert third.document()["state"] == word


def test_where_nobody_leads_each_address_speaks_for_itself():
    words = [Replica(id=None, role="asked", address="h:1", error=error).state for error in (None, "refused")]
    assert words == ["answers", "unreachable"]


def _said_of_flushes(**values):
    configs = tuple(
        DescribeConfigsResourceResult(name=name, value=value, read_only=True, is_sensitive=False)
        for name, value in values.items()
    )
    result = DescribeConfigsResult(resource_type=4, resource_name="3", configs=configs)
    return DescribeConfigsResponse(results=(result,))


@pytest.mark.parametrize(
    ("taken", "slow", "problems"),
    [
        (
            "340",
            "100",
            ["voter 3 has a slow disk: it takes 340 ms for a flush (median of the last 20; more than 100)"],
        ),
        ("100", "100", []),
        (None, "100", []),
        ("340", None, []),
    ],
)
def test_a_slow_disk_is_named_with_its_numbers(taken, slow, problems):
    partition = _partition(_state(2, 100, _NOW), _state(3, 100, _NOW))
    leader, third = replicas_of(partition, {}, {})
    answer = _said_of_flushes(**{OBSERVED_FLUSH: taken, SLOW_FLUSH: slow})

    told = with_flushes(third, answer)

    assert _view([leader, told]).problems() == problems
    assert told.document()["flush_median_ms"] == (int(taken) if taken else None)
