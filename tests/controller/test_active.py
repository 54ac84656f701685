"""ActiveController at work: answers, batches, the queue, heartbeats, the clock."""

import pytest

from quorate.controller import active, isr
from quorate.metadata.batch import MAX_BATCH_RECORDS
from quorate.metadata.checks import ErrorCode
from quorate.metadata.records import (
    NoOpRecord,
)
from quorate.metadata.wire.brokers import BrokerHeartbeatResponse, UnregisterBrokerRequest
from tests.controller.desk import (
    Desk,
    codes,
    control_batch,
    create,
    registration,
    running_desk,
    set_config,
)
from tests.controller.world import SESSION_MS, config


@pytest.fixture
def desk() -> Desk:
    """An active controller with one running broker."""
    return running_desk()


# --- answers wait for the commit


def test_an_answer_never_leaves_before_its_records_are_committed(desk: Desk) -> None:
    token = desk.submit(create("t"))
    assert token not in desk.answers

    desk.turn()
    assert token not in desk.answers
    assert desk.controller.parked_answers == 1

    desk.commit()
    assert codes(desk.answers[token]) == [ErrorCode.none]
    assert desk.controller.committed_image.topics.by_name("t") is not None


def test_a_rejection_waits_for_what_it_may_rest_on(desk: Desk) -> None:
    first = desk.submit(create("t"))
    desk.turn()
    second = desk.submit(create("t"))
    desk.turn()
    assert not {first, second} & set(desk.answers)

    desk.commit()

    assert codes(desk.answers[first]) == [ErrorCode.none]
    assert codes(desk.answers[second]) == [ErrorCode.topic_already_exists]


def test_an_answer_that_wrote_nothing_says_what_to_say_if_another_leads_by_now(desk: Desk) -> None:
    """Its commit would have proved that this controller leads; a heartbeat's answer denies nobody anything."""
    desk.ask(create("t"))
    token = desk.submit(create("t"))
    (refused,) = [one for one in desk.turn().answers if one.token == token]
    assert codes(refused.response) == [ErrorCode.topic_already_exists]
    assert codes(refused.unless_replaced) == [ErrorCode.not_controller]

    written = desk.submit(create("u"))
    desk.turn()
    (acknowledged,) = [one for one in desk.commit().answers if one.token == written]
    assert acknowledged.unless_replaced is None


def test_nothing_to_do_is_answered_at_once_when_nothing_is_pending(desk: Desk) -> None:
    desk.ask(create("t"))
    desk.ask(set_config("t", "retention.ms", "5"))
    log = len(desk.log)

    token = desk.submit(set_config("t", "retention.ms", "5"))
    desk.turn()

    assert codes(desk.answers[token]) == [ErrorCode.none]
    assert len(desk.log) == log


def test_nothing_to_do_waits_when_something_is_pending(desk: Desk) -> None:
    desk.ask(create("t"))
    desk.submit(set_config("t", "retention.ms", "5"))
    token = desk.submit(set_config("t", "retention.ms", "5"))
    desk.turn()
    assert token not in desk.answers

    desk.commit()
    assert token in desk.answers


def test_answers_leave_in_the_order_of_their_offsets(desk: Desk) -> None:
    tokens = []
    for name in "abc":
        tokens.append(desk.submit(create(name)))
        desk.turn()
    desk.commit(1)
    assert [token in desk.answers for token in tokens] == [True, False, False]
    desk.commit(2)
    assert all(token in desk.answers for token in tokens)


def test_one_drain_is_one_batch(desk: Desk) -> None:
    log = len(desk.log)
    for number in range(50):
        desk.submit(create(f"t{number}"))

    effects = desk.turn()

    assert len(effects.append) == 1
    assert effects.append[0].record_count == 100
    assert effects.append[0].append_time_ms == 77
    assert len(desk.log) == log + 1
    desk.commit()
    assert desk.controller.committed_image.topics.topic_count == 50


def test_the_requests_of_one_drain_see_each_other(desk: Desk) -> None:
    tokens = [
        desk.submit(create("t")),
        desk.submit(create("t")),
        desk.submit(set_config("t", "flush.ms", "5")),
    ]
    desk.turn()
    desk.commit()

    assert [codes(desk.answers[token]) for token in tokens] == [
        [ErrorCode.none],
        [ErrorCode.topic_already_exists],
        [ErrorCode.none],
    ]


def test_the_quorum_may_append_records_of_its_own_in_between(desk: Desk) -> None:
    first = desk.submit(create("a"))
    desk.turn()
    desk.log.append(control_batch(desk.log_end, 1))
    second = desk.submit(create("b"))
    desk.turn()

    desk.commit()

    assert {first, second} <= set(desk.answers)
    assert desk.controller.committed_image.offset == desk.log_end - 1


def test_a_broker_epoch_is_the_offset_of_its_record_within_a_shared_batch(desk: Desk) -> None:
    desk.submit(create("a", partitions=3))
    token = desk.submit(registration(2))
    desk.turn()
    desk.commit()

    records = desk.log[-1].records()
    epoch = desk.answers[token].broker_epoch
    assert epoch == desk.log[-1].base_offset + len(records) - 1


# --- batches and their limits


def test_operations_that_do_not_fit_together_make_two_batches(desk: Desk) -> None:
    desk.submit(create("a", partitions=6_000))
    desk.submit(create("b", partitions=6_000))

    effects = desk.turn()

    assert [batch.record_count for batch in effects.append] == [6_001, 6_001]
    assert effects.append[1].base_offset == effects.append[0].end_offset
    desk.commit()
    assert desk.controller.committed_image.topics.partition_count == 12_000


def test_an_atomic_operation_is_never_cut(desk: Desk) -> None:
    desk.submit(create("small"))
    desk.submit(create("largest", partitions=9_999))

    effects = desk.turn()

    assert [batch.record_count for batch in effects.append] == [2, MAX_BATCH_RECORDS]


def test_a_non_atomic_operation_is_cut(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isr, "PARTITIONS_AT_ONCE", 100_000)
    desk.ask(create("a", partitions=6_000))
    desk.ask(create("b", partitions=6_000))
    token = desk.submit(UnregisterBrokerRequest(broker_id=1))

    effects = desk.turn()

    counts = [batch.record_count for batch in effects.append]
    assert sum(counts) == 12_001
    assert max(counts) <= MAX_BATCH_RECORDS
    desk.commit(len(counts) - 1)
    assert token not in desk.answers
    desk.commit()
    assert desk.answers[token].error_code is ErrorCode.none
    image = desk.controller.committed_image
    assert image.cluster.broker(1) is None
    assert {partition.leader for topic in image.topics for _, partition in topic.partitions()} == {-1}


def test_taking_many_partitions_from_a_broker_is_spread_over_turns(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isr, "PARTITIONS_AT_ONCE", 100)
    desk.ask(create("a", partitions=350))
    token = desk.submit(UnregisterBrokerRequest(broker_id=1))

    written = []
    for _ in range(6):
        effects = desk.turn()
        desk.commit()
        written.append(sum(batch.record_count for batch in effects.append))

    assert desk.answers[token].error_code is ErrorCode.none
    assert written == [101, 0, 100, 100, 50, 0]
    topic = desk.controller.committed_image.topics.by_name("a")
    assert topic is not None
    assert {partition.leader for _, partition in topic.partitions()} == {-1}


def test_a_broker_that_was_fenced_waits_for_its_partitions(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isr, "PARTITIONS_AT_ONCE", 100)
    desk.ask(create("a", partitions=250))
    assert desk.ask(desk.beat(1, want_fence=True)).is_fenced

    answers = [desk.ask(desk.beat(1)).is_fenced for _ in range(5)]

    assert answers == [True, True, True, True, False]


def test_controlled_shutdown_waits_for_all_moves(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isr, "PARTITIONS_AT_ONCE", 100)
    desk.ask(create("a", partitions=250))

    answers = [desk.ask(desk.beat(1, want_shut_down=True)).should_shut_down for _ in range(6)]

    assert answers == [False, False, False, False, False, True]
    topic = desk.controller.committed_image.topics.by_name("a")
    assert topic is not None
    assert {partition.leader for _, partition in topic.partitions()} == {-1}


def test_a_new_controller_goes_on_moving(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isr, "PARTITIONS_AT_ONCE", 100)
    desk.ask(create("a", partitions=250))
    assert not desk.ask(desk.beat(1, want_shut_down=True)).should_shut_down
    desk.lose(2)
    desk.lead(3)

    assert not desk.ask(desk.beat(1, want_shut_down=True)).should_shut_down
    desk.pass_time(100)

    assert desk.ask(desk.beat(1, want_shut_down=True)).should_shut_down
    topic = desk.controller.committed_image.topics.by_name("a")
    assert topic is not None
    assert {partition.leader for _, partition in topic.partitions()} == {-1}


def test_too_large_an_operation_is_refused_and_nothing_is_appended(desk: Desk) -> None:
    log = len(desk.log)

    token = desk.submit(create("t", partitions=20_000))
    desk.turn()

    assert codes(desk.answers[token]) == [ErrorCode.policy_violation]
    assert len(desk.log) == log
    assert desk.controller.counters.faults == 0


def test_a_turn_leaves_the_rest_of_a_long_queue_for_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(active, "MAX_OPERATIONS_PER_TURN", 3)
    tokens = [desk.submit(create(f"t{number}")) for number in range(5)]

    assert desk.turn().append[0].record_count == 6
    assert desk.controller.queue_length == 2
    assert desk.controller.next_deadline() == desk.now_ms
    assert desk.turn().append[0].record_count == 4
    desk.commit()
    assert all(token in desk.answers for token in tokens)


def test_a_turn_ends_early_when_it_has_written_much(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active, "MAX_RECORDS_PER_TURN", 10)
    desk.submit(create("a", partitions=20))
    desk.submit(create("b"))

    desk.turn()

    assert desk.controller.queue_length == 1


# --- the queue


def test_a_request_whose_time_is_over_is_not_carried_out(desk: Desk) -> None:
    log = len(desk.log)
    token = desk.submit(create("t"), timeout_ms=100)
    desk.now_ms += 100

    desk.turn()

    assert codes(desk.answers[token]) == [ErrorCode.request_timed_out]
    assert len(desk.log) == log
    assert desk.controller.counters.operations_timed_out == 1


def test_a_full_queue_turns_away_early() -> None:
    desk = Desk(config=config(max_queued_requests=2)).lead()
    tokens = [desk.submit(create(name)) for name in "abc"]

    assert [token in desk.answers for token in tokens] == [False, False, True]
    assert codes(desk.answers[tokens[2]]) == [ErrorCode.request_timed_out]
    assert desk.controller.counters.requests_turned_away == 1


def test_too_many_parked_answers_turn_away_early() -> None:
    desk = Desk(config=config(max_parked_requests=1)).lead()
    desk.broker(1)
    desk.submit(create("a"))
    desk.turn()

    token = desk.submit(create("b"))

    assert codes(desk.answers[token]) == [ErrorCode.request_timed_out]
    desk.commit()
    assert desk.ask(create("b")).topics[0].error_code is ErrorCode.none


# --- heartbeats


def test_a_heartbeat_is_answered_at_once_behind_a_long_queue(desk: Desk) -> None:
    for number in range(20):
        desk.submit(create(f"t{number}"))

    token = desk.submit(desk.beat(1))

    assert desk.answers[token] == BrokerHeartbeatResponse(is_caught_up=True, is_fenced=False)


def test_a_stale_heartbeat_is_refused_at_once(desk: Desk) -> None:
    token = desk.submit(desk.beat(1, broker_epoch=5_000))

    assert desk.answers[token].error_code is ErrorCode.stale_broker_epoch


def test_a_heartbeat_does_not_speak_of_what_is_not_committed(desk: Desk) -> None:
    desk.submit(UnregisterBrokerRequest(broker_id=1))
    desk.turn()

    token = desk.submit(desk.beat(1))
    desk.turn()
    assert token not in desk.answers, "the registration is gone, but not for certain"

    desk.commit()
    assert desk.answers[token].error_code is ErrorCode.stale_broker_epoch


def test_a_heartbeat_that_lifts_the_fence_is_answered_after_the_commit(desk: Desk) -> None:
    desk.broker(2, running=False)
    token = desk.submit(desk.beat(2))
    assert token not in desk.answers
    desk.turn()
    again = desk.submit(desk.beat(2))
    desk.turn()
    assert not {token, again} & set(desk.answers)

    desk.commit()

    assert not desk.answers[token].is_fenced
    assert not desk.answers[again].is_fenced


def test_a_heartbeat_keeps_the_session_however_long_it_waits(desk: Desk) -> None:
    desk.pass_time(8_999)
    token = desk.submit(desk.beat(1, want_fence=True), timeout_ms=1)
    desk.now_ms += 100

    desk.turn()

    assert desk.answers[token].error_code is ErrorCode.request_timed_out
    assert desk.controller.counters.heartbeats_timed_out == 1
    assert not desk.is_fenced(1)


def test_a_silent_broker_is_fenced(desk: Desk) -> None:
    desk.ask(create("t"))

    desk.pass_time(8_999)
    assert not desk.is_fenced(1)
    desk.pass_time(1)

    assert desk.is_fenced(1)
    topic = desk.controller.committed_image.topics.by_name("t")
    assert topic is not None
    assert [partition.leader for _, partition in topic.partitions()] == [-1]


def test_many_silent_brokers_are_fenced_one_per_turn(desk: Desk) -> None:
    desk.broker(2)
    desk.broker(3)
    desk.pass_time(8_999)
    desk.now_ms += 1

    fenced = []
    for _ in range(3):
        desk.turn()
        fenced.append(sum(desk.is_fenced(broker_id) for broker_id in (1, 2, 3)))

    assert fenced == [1, 2, 3]


def test_a_new_controller_grants_full_sessions(desk: Desk) -> None:
    desk.pass_time(8_000)
    desk.lose(2)
    desk.lead(3)

    desk.pass_time(8_999)
    assert not desk.is_fenced(1)
    desk.pass_time(1)
    assert desk.is_fenced(1)


def test_a_process_that_stood_still_fences_nobody_for_it(desk: Desk) -> None:
    desk.turn()
    asked, deadline = desk.now_ms, desk.controller.next_deadline()
    assert deadline is not None
    desk.now_ms = deadline + 60_000

    effects = desk.turn()

    assert not desk.is_fenced(1)
    assert any("60000 ms late" in note for note in effects.notes)
    assert desk.controller.counters.silence_forgiven_ms == desk.now_ms - asked
    desk.commit()
    # From now on silence is the broker's own again.
    desk.pass_time(9_000)
    assert desk.is_fenced(1)


def test_also_not_if_the_end_of_a_session_was_its_next_deadline() -> None:
    desk = Desk(config=config(max_idle_interval_ms=0)).lead()
    desk.broker(1)
    session_end_ms = desk.now_ms + SESSION_MS
    while (deadline := desk.controller.next_deadline()) is not None and deadline < session_end_ms:
        desk.now_ms = deadline
        desk.turn()
    assert deadline == session_end_ms
    desk.now_ms = session_end_ms + 60_000

    desk.turn()

    assert not desk.is_fenced(1)


# --- the clock


def test_an_idle_controller_writes_no_ops(desk: Desk) -> None:
    desk.turn()
    log = len(desk.log)
    for _ in range(3):
        desk.now_ms += 499
        desk.turn()
        assert len(desk.log) == log
        desk.now_ms += 1
        desk.turn()
        log += 1
        assert len(desk.log) == log
        assert [type(r) for r in desk.log[-1].records()] == [NoOpRecord]


def test_who_writes_is_not_idle(desk: Desk) -> None:
    desk.turn()
    desk.now_ms += 499
    desk.submit(create("t"))
    desk.turn()
    log = len(desk.log)
    desk.now_ms += 499
    desk.turn()
    assert len(desk.log) == log


def test_no_ops_can_be_switched_off() -> None:
    desk = Desk(config=config(max_idle_interval_ms=0)).lead()
    log = len(desk.log)
    desk.now_ms += 100_000

    desk.turn()

    assert len(desk.log) == log


def test_a_deadline_that_was_served_is_not_asked_for_again(desk: Desk) -> None:
    for _ in range(200):
        deadline = desk.controller.next_deadline()
        assert deadline is not None
        desk.now_ms = max(desk.now_ms, deadline)
        desk.turn()
        desk.commit()
        following = desk.controller.next_deadline()
        assert following is not None
        assert following > desk.now_ms


def test_an_older_leadership_does_not_return(desk: Desk) -> None:
    desk.lose(2)
    desk.lead(3)

    assert desk.controller.active_epoch == 3
    assert desk.controller.counters.times_active == 2
    assert codes(desk.ask(create("t"))) == [ErrorCode.none]
