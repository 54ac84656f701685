"""The state machine of brokers, exhaustively; and heartbeats that write."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from quorate.controller.assignments import place_partitions
from quorate.controller.heartbeats import (
    Beat,
    ControlState,
    assess,
    broker_heartbeat,
    control_state,
    next_state,
)
from quorate.metadata.checks import ErrorCode, RequestRejected
from quorate.metadata.features import METADATA_VERSION
from quorate.metadata.ids import NodeId
from quorate.metadata.records import (
    NO_LEADER,
    BrokerRegistrationChangeRecord,
    FeatureLevelRecord,
    PartitionChangeRecord,
)
from quorate.metadata.wire.brokers import BrokerHeartbeatRequest
from tests.controller.desk import Desk, codes, create
from tests.controller.world import World, directory, refused

FENCED, UNFENCED, SHUTTING_DOWN, STOP = ControlState

# KIP-631, as Kafka's controller has it but for the last line: (now, condition) -> next. `*` is any value.
#             now            fence  shut   caught leads  leave   next
TABLE = {
    (FENCED,        "*",   True,  "*",   "*",   "*"): STOP,
    (FENCED,        False, False, True,  "*",   "*"): UNFENCED,
    (FENCED,        True,  False, "*",   "*",   "*"): FENCED,
    (FENCED,        False, False, False, "*",   "*"): FENCED,
    (UNFENCED,      True,  True,  "*",   "*",   "*"): STOP,
    (UNFENCED,      True,  False, "*",   "*",   "*"): FENCED,
    (UNFENCED,      False, True,  "*",   True,  "*"): SHUTTING_DOWN,
    (UNFENCED,      False, True,  "*",   False, "*"): STOP,
    (UNFENCED,      False, False, "*",   "*",   "*"): UNFENCED,
    (SHUTTING_DOWN, "*",   "*",   "*",   "*",   True): STOP,
    (SHUTTING_DOWN, "*",   "*",   "*",   "*",   False): SHUTTING_DOWN,
    (STOP,          "*",   "*",   "*",   "*",   "*"): STOP,
}  # fmt: skip


def rows_for(situation: tuple[Any, ...]) -> list[ControlState]:
    return [
        state
        for key, state in TABLE.items()
        if all(wanted == "*" or wanted == given for wanted, given in zip(key, situation, strict=True))
    ]


@pytest.mark.parametrize("now", [*ControlState])
@pytest.mark.parametrize("flags", [*itertools.product((False, True), repeat=5)])
def test_every_situation_is_in_the_table_once_and_as_the_table_says(
    now: ControlState, flags: tuple[bool, ...]
) -> None:
    want_fence, want_shut_down, caught_up, leads, leave = flags
    expected = rows_for((now, *flags))

    following = next_state(
        now,
        Beat(
            want_fence=want_fence,
            want_shut_down=want_shut_down,
            caught_up=caught_up,
            leads_something=lambda: leads,
            may_leave=lambda: leave,
        ),
    )

    assert [following] == expected


def never() -> bool:
    raise AssertionError("asked although it does not matter")


def test_costly_questions_are_asked_only_where_they_matter() -> None:
    ordinary = Beat(
        want_fence=False, want_shut_down=False, caught_up=True, leads_something=never, may_leave=never
    )

    assert next_state(UNFENCED, ordinary) is UNFENCED
    assert next_state(FENCED, ordinary) is UNFENCED


# --- with an image


@pytest.fixture
def world() -> World:
    """Broker 1 leads t-0, broker 2 is in its ISR."""
    made = World()
    made.add_broker(1)
    made.add_broker(2)
    made.add_topic("t", (1, 2))
    return made


def beat(world: World, broker_id: int = 1, **fields: Any) -> BrokerHeartbeatRequest:
    values: dict[str, Any] = {
        "broker_epoch": world.broker(broker_id).epoch,
        "current_metadata_offset": world.next_offset,
        **fields,
    }
    return BrokerHeartbeatRequest(broker_id=broker_id, **values)


def send(world: World, broker_id: int = 1, **fields: Any) -> tuple[bool, bool, bool]:
    """(caught up, fenced, should shut down)"""
    request = beat(world, broker_id, **fields)
    offset, epoch = request.current_metadata_offset, request.broker_epoch
    world.sessions.touch(broker_id, epoch, offset, world.now_ms)
    response = world.run(broker_heartbeat, request)
    world.sessions.settled(broker_id, world.next_offset - 1, world.now_ms)
    return response.is_caught_up, response.is_fenced, response.should_shut_down


def changes(world: World, since: int) -> list[type]:
    return (
        [type(record) for record in world.records[since - world.next_offset :]]
        if since < world.next_offset
        else []
    )


@pytest.mark.parametrize("change", [{"broker_epoch": 99}, {"broker_epoch": -1}])
def test_an_old_registration(world: World, change: dict[str, int]) -> None:
    assert refused(world, broker_heartbeat, beat(world, **change)) is ErrorCode.stale_broker_epoch


def test_an_unknown_broker(world: World) -> None:
    request = BrokerHeartbeatRequest(broker_id=9, broker_epoch=1, current_metadata_offset=1)

    assert refused(world, broker_heartbeat, request) is ErrorCode.stale_broker_epoch
    with pytest.raises(RequestRejected):
        assess(world.context(), request)


def test_an_ordinary_heartbeat_writes_nothing(world: World) -> None:
    before = world.next_offset

    assert send(world) == (True, False, False)
    assert world.next_offset == before


def test_from_fenced_to_running() -> None:
    world = World()
    epoch = world.add_broker(1, fenced=True).epoch
    world.add_topic("t", (1,), leader=NO_LEADER)
    before = world.next_offset

    assert send(world, current_metadata_offset=epoch - 1, want_fence=True) == (False, True, False)
    assert send(world, current_metadata_offset=epoch, want_fence=True) == (True, True, False)
    assert send(world, current_metadata_offset=epoch - 1) == (False, True, False)
    assert world.next_offset == before
    assert send(world, current_metadata_offset=epoch) == (True, False, False)

    assert changes(world, before) == [BrokerRegistrationChangeRecord, PartitionChangeRecord]
    assert not world.broker(1).fenced
    assert world.partition("t").leader == 1


def test_a_broker_asks_to_be_fenced(world: World) -> None:
    before = world.next_offset

    assert send(world, want_fence=True) == (True, True, False)

    assert changes(world, before) == [PartitionChangeRecord, BrokerRegistrationChangeRecord]
    assert world.partition("t").leader == 2


def test_controlled_shutdown(world: World) -> None:
    before = world.next_offset
    assert send(world, want_shut_down=True) == (True, False, False)
    assert changes(world, before) == [BrokerRegistrationChangeRecord, PartitionChangeRecord]
    assert world.partition("t").leader == 2

    # Broker 2 has not read of it yet.
    before = world.next_offset
    assert send(world, want_shut_down=True) == (True, False, False)
    assert world.next_offset == before

    world.sessions.touch(2, world.broker(2).epoch, world.next_offset - 1, world.now_ms)
    assert send(world, want_shut_down=True) == (True, True, True)
    assert world.broker(1).fenced
    # The broker may not have heard the answer: it asks again and gets it again.
    before = world.next_offset
    assert send(world, want_shut_down=True) == (True, True, True)
    assert world.next_offset == before


def test_controlled_shutdown_cannot_be_called_off(world: World) -> None:
    send(world, want_shut_down=True)

    assert send(world, want_shut_down=False) == (True, False, False)
    assert world.broker(1).in_controlled_shutdown


def test_who_leads_nothing_may_stop_at_once(world: World) -> None:
    assert send(world, 2, want_shut_down=True) == (True, True, True)
    assert world.broker(2).fenced
    assert world.partition("t").isr == (1,)


def test_a_fenced_broker_may_stop_at_once() -> None:
    world = World()
    world.add_broker(1, fenced=True)
    before = world.next_offset

    assert send(world, want_shut_down=True) == (True, True, True)
    assert world.next_offset == before


def test_a_broker_is_not_unfenced_before_its_partitions_are_settled() -> None:
    world = World()
    world.add_broker(1, fenced=True)
    world.sessions.unsettled(1)

    assert not assess(world.context(), beat(world)).writes
    assert assess(world.context(), beat(world)).response.is_fenced
    assert assess(world.context(), beat(world)).response.is_caught_up
    world.sessions.settled(1, 0, 0)
    assert assess(world.context(), beat(world)).writes


def test_a_directory_goes_offline() -> None:
    world = World()
    world.add_broker(1, directories=2)
    world.add_broker(2)
    world.add_topic("t", (1, 2), directories=(directory(1, 1), directory(2)))

    assert send(world, offline_log_dirs=(directory(1, 1),)) == (True, False, False)

    assert world.broker(1).log_dirs == (directory(1, 0),)
    assert world.partition("t").leader == 2
    before = world.next_offset
    send(world, offline_log_dirs=(directory(1, 1),))
    assert world.next_offset == before


def test_a_broker_without_a_directory_is_fenced_and_stays_so(world: World) -> None:
    gone = (directory(1),)

    assert send(world, offline_log_dirs=gone) == (True, True, False)
    assert world.broker(1).fenced
    assert send(world, offline_log_dirs=gone) == (True, True, False)
    assert world.broker(1).fenced
    assert send(world) == (True, False, False)


@pytest.mark.parametrize(
    ("prepare", "request_fields", "writes"),
    [
        (lambda w: None, {}, False),
        (lambda w: None, {"want_fence": True}, True),
        (lambda w: None, {"want_shut_down": True}, True),
        (lambda w: w.set_broker(1, fenced=True), {}, True),
        (lambda w: w.set_broker(1, fenced=True), {"want_fence": True}, False),
        (lambda w: w.set_broker(1, fenced=True), {"want_shut_down": True}, False),
        (lambda w: w.set_broker(1, fenced=True), {"current_metadata_offset": -1}, False),
        (lambda w: None, {"offline_log_dirs": (directory(5),)}, False),
    ],
)
def test_what_writes(
    world: World, prepare: Callable[[World], None], request_fields: dict[str, Any], writes: bool
) -> None:
    prepare(world)
    request = beat(world, **request_fields)

    assert assess(world.context(), request).writes is writes
    assert bool(world.decide(broker_heartbeat, request).records) is writes


def test_states_of_the_image(world: World) -> None:
    assert control_state(world.broker(1)) is UNFENCED
    world.set_broker(1, in_controlled_shutdown=True)
    assert control_state(world.broker(1)) is SHUTTING_DOWN
    world.set_broker(1, fenced=True)
    assert control_state(world.broker(1)) is STOP


def test_a_broker_that_was_let_go_is_not_unfenced_by_a_heartbeat_that_crossed_the_news() -> None:
    """It would be made the leader of what only it has, and end in the next moment."""
    desk = Desk().lead()
    desk.broker(1)
    assert codes(desk.ask(create("t"))) == [ErrorCode.none]
    token = desk.submit(desk.beat(1, want_fence=False, want_shut_down=True))
    desk.turn()
    desk.submit(desk.beat(1, want_fence=False, want_shut_down=True))
    crossing = desk.submit(desk.beat(1, want_fence=False, want_shut_down=False))
    desk.turn()
    desk.commit()

    assert token in desk.answers
    assert desk.answers[crossing].should_shut_down
    assert desk.is_fenced(1)
    topic = desk.controller.newest_image.topics.by_name("t")
    assert topic is not None
    assert topic.partition(0).leader == NO_LEADER  # type: ignore[union-attr]


# --- cordoned directories (KIP-1066)


@pytest.fixture
def newest() -> World:
    """At 4.3-IV0: broker 1 has two directories, 2 has one, 3 leads nothing."""
    made = World()
    made.replay([FeatureLevelRecord(name=METADATA_VERSION, feature_level=30)])
    made.add_broker(1, directories=2)
    made.add_broker(2)
    return made


def test_what_a_broker_says_of_its_directories_is_kept(newest: World) -> None:
    send(newest, cordoned_log_dirs=())
    assert newest.broker(1).cordoned_log_dirs == ()
    send(newest, cordoned_log_dirs=(directory(1, 1),))
    assert newest.broker(1).cordoned_log_dirs == (directory(1, 1),)

    before = newest.next_offset
    send(newest, cordoned_log_dirs=(directory(1, 1),))
    send(newest)  # it does not know yet: null
    assert newest.next_offset == before


def test_before_that_level_nothing_is_written_of_it(world: World) -> None:
    before = world.next_offset
    send(world, cordoned_log_dirs=(directory(1),))
    assert world.next_offset == before


def test_a_transition_comes_first_and_the_next_heartbeat_says_it_again(newest: World) -> None:
    newest.replay([
        BrokerRegistrationChangeRecord(
            version=3, broker_id=NodeId(1), broker_epoch=newest.broker(1).epoch, fenced=True
        )
    ])  # fmt: skip
    send(newest, cordoned_log_dirs=())
    assert (newest.broker(1).fenced, newest.broker(1).cordoned_log_dirs) == (False, None)
    send(newest, cordoned_log_dirs=())
    assert newest.broker(1).cordoned_log_dirs == ()


def test_a_broker_takes_nothing_new_when_all_its_directories_are_cordoned(newest: World) -> None:
    send(newest, cordoned_log_dirs=(directory(1, 1),))
    assert {r for replicas in place_partitions(newest.context(), 8, 1) for r in replicas} == {1, 2}
    send(newest, cordoned_log_dirs=(directory(1, 0), directory(1, 1)))
    assert {r for replicas in place_partitions(newest.context(), 8, 1) for r in replicas} == {2}
