"""ActiveController: becoming active, losing leadership, and what becomes of those who wait."""

import pytest

from quorate.controller.events import BootstrapRead, LeaderChanged, SnapshotLoaded
from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.features import format_records
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.quorum.messages import LeaderAndEpoch
from quorate.metadata.records import (
    AbortTransactionRecord,
    BeginTransactionRecord,
    FeatureLevelRecord,
    MigrationState,
    TopicRecord,
    ZkMigrationStateRecord,
)
from tests.controller.desk import (
    NODE,
    OTHER,
    Desk,
    codes,
    control_batch,
    create,
    data_batch,
    running_desk,
)
from tests.controller.world import config, directory


@pytest.fixture
def desk() -> Desk:
    """An active controller with one running broker."""
    return running_desk()


# --- becoming active


def test_a_standby_refuses_and_says_whom_to_ask() -> None:
    desk = Desk()
    token = desk.submit(create("t"))
    assert codes(desk.answers[token]) == [ErrorCode.not_controller]
    assert "No leader is known" in desk.answers[token].topics[0].error_message

    desk.step(LeaderChanged(LeaderAndEpoch(Epoch(4), OTHER)))
    token = desk.submit(create("t"))
    assert "node 3001" in desk.answers[token].topics[0].error_message


def test_being_elected_is_not_being_active() -> None:
    desk = Desk()
    desk.elect(1)

    token = desk.submit(create("t"))
    desk.turn()

    assert codes(desk.answers[token]) == [ErrorCode.not_controller]
    assert desk.controller.active_epoch is None
    assert desk.turn().append == ()


def test_an_empty_log_gets_its_first_records() -> None:
    desk = Desk().lead()

    assert [type(r) for r in desk.log[1].records()] == [FeatureLevelRecord, ZkMigrationStateRecord]
    assert desk.controller.committed_image.features.metadata_version == 21


def test_the_first_records_are_those_that_the_node_was_formatted_with() -> None:
    desk = Desk()
    desk.step(BootstrapRead(format_records(25)))

    desk.lead()

    assert desk.controller.committed_image.features.metadata_version == 25


def test_what_the_log_says_beats_what_the_node_was_formatted_with() -> None:
    desk = Desk()
    desk.step(BootstrapRead(format_records(25)))
    desk.log += [data_batch(0, 1, format_records(22))]
    desk.commit()

    desk.lead(2)

    assert desk.controller.committed_image.features.metadata_version == 22
    assert len(desk.log) == 2


def test_a_transaction_that_a_dead_leader_left_open_is_aborted_first() -> None:
    desk = Desk(config=config(unclean_leader_election_interval_ms=1))
    desk.log += [
        data_batch(0, 1, format_records()),
        data_batch(1, 1, [BeginTransactionRecord(), TopicRecord(name="half", topic_id=directory(1))]),
    ]
    desk.commit()
    assert desk.controller.transaction_open
    assert desk.controller.committed_image.offset == 0

    desk.elect(2)
    desk.commit()
    desk.claim()
    token = desk.submit(create("t"))
    desk.turn()

    assert [type(r) for r in desk.log[-1].records()] == [AbortTransactionRecord]
    desk.commit()
    assert token in desk.answers
    assert not desk.controller.transaction_open
    assert desk.controller.committed_image.topics.topic_count == 0


def test_a_level_that_this_node_cannot_write_at() -> None:
    desk = Desk()
    desk.log += [data_batch(0, 1, format_records(20))]
    desk.elect(2)
    desk.commit()

    effects = desk.claim()

    assert effects.resign is not None
    assert "20 (3.8-IV0)" in effects.resign
    assert desk.controller.active_epoch is None


def test_claiming_twice_is_a_bug_of_the_quorum(desk: Desk) -> None:
    with pytest.raises(InvariantViolated):
        desk.claim()


# --- leadership lost


def test_on_loss_the_chain_is_dropped_and_the_queue_is_refused(desk: Desk) -> None:
    desk.submit(create("appended"))
    desk.turn()
    waiting = desk.submit(create("waiting"))

    desk.lose(2)

    assert codes(desk.answers[waiting]) == [ErrorCode.not_controller]
    assert "node 3001" in desk.answers[waiting].topics[0].error_message
    assert desk.controller.newest_image is desk.controller.committed_image
    assert desk.controller.newest_image.topics.by_name("appended") is None
    assert desk.controller.active_epoch is None


def test_news_of_the_same_leadership_changes_nothing(desk: Desk) -> None:
    desk.submit(create("t"))
    desk.step(LeaderChanged(LeaderAndEpoch(Epoch(1), NODE)))

    assert desk.controller.active_epoch == 1
    assert desk.controller.queue_length == 1


def test_what_the_next_leader_commits_is_a_success(desk: Desk) -> None:
    token = desk.submit(create("t"))
    desk.turn()
    desk.lose(2)
    assert token not in desk.answers

    desk.log.append(control_batch(desk.log_end, 2, OTHER))
    desk.commit()

    assert codes(desk.answers[token]) == [ErrorCode.none]
    assert desk.controller.committed_image.topics.by_name("t") is not None


def test_what_the_next_leader_replaces_is_not_done(desk: Desk) -> None:
    token = desk.submit(create("t"))
    desk.turn()
    base = desk.log[desk.committed].base_offset
    desk.lose(2)

    desk.replace_uncommitted(control_batch(base, 2, OTHER))
    assert token not in desk.answers
    desk.commit()

    assert codes(desk.answers[token]) == [ErrorCode.not_controller]
    assert desk.controller.committed_image.topics.by_name("t") is None


def test_what_does_not_show_in_time_is_unknown(desk: Desk) -> None:
    token = desk.submit(create("t"), timeout_ms=5_000)
    desk.turn()
    desk.lose(2, leader=None)
    assert desk.controller.next_deadline() == desk.now_ms + 5_000

    desk.now_ms += 4_999
    desk.turn()
    assert token not in desk.answers
    desk.now_ms += 1
    desk.turn()

    assert codes(desk.answers[token]) == [ErrorCode.request_timed_out]
    assert "not known" in desk.answers[token].topics[0].error_message
    assert desk.controller.next_deadline() is None


def test_a_snapshot_may_hide_what_became_of_it(desk: Desk) -> None:
    token = desk.submit(create("t"))
    desk.turn()
    desk.lose(2)

    image = desk.controller.committed_image
    desk.step(SnapshotLoaded(OffsetAndEpoch(Offset(1_000), Epoch(7)), image))

    assert codes(desk.answers[token]) == [ErrorCode.request_timed_out]


@pytest.mark.parametrize(("epoch", "code"), [(1, ErrorCode.none), (2, ErrorCode.not_controller)])
def test_a_snapshot_that_ends_exactly_there_tells(desk: Desk, epoch: int, code: ErrorCode) -> None:
    token = desk.submit(create("t"))
    desk.turn()
    end = desk.log_end
    desk.lose(2)

    image = desk.controller.committed_image
    desk.step(SnapshotLoaded(OffsetAndEpoch(end, Epoch(epoch)), image))

    assert codes(desk.answers[token]) == [code]


def test_outcomes_are_also_read_while_leading_again(desk: Desk) -> None:
    token = desk.submit(create("t"))
    desk.turn()
    desk.lose(2, leader=None)

    desk.elect(3)
    desk.commit()

    assert codes(desk.answers[token]) == [ErrorCode.none]


def test_a_new_leaders_records_may_come_before_the_news_of_it(desk: Desk) -> None:
    appended = desk.submit(create("t"))
    desk.turn()
    waiting = desk.submit(create("u"))
    base = desk.log[desk.committed].base_offset
    records = [TopicRecord(name="x", topic_id=directory(1))]
    desk.replace_uncommitted(control_batch(base, 2, OTHER), data_batch(base + 1, 2, records))

    desk.commit()

    assert codes(desk.answers[appended]) == [ErrorCode.not_controller]
    assert codes(desk.answers[waiting]) == [ErrorCode.not_controller]
    assert desk.controller.active_epoch is None
    assert desk.controller.committed_image.topics.names() == ["x"]


@pytest.mark.parametrize("state", [MigrationState.PRE_MIGRATION, MigrationState.MIGRATION])
def test_who_was_started_without_the_migrations_flag_does_not_lead_while_it_runs(
    state: MigrationState,
) -> None:
    """It would not write to ZooKeeper, in silence; Kafka's takes that for the end of the migration."""
    desk = Desk()
    moving = ZkMigrationStateRecord(zk_migration_state=state.value)
    desk.log += [data_batch(0, 1, [*format_records(), moving])]
    desk.elect(2)
    desk.commit()

    effects = desk.claim()

    assert effects.resign is not None
    assert "zookeeper.metadata.migration.enable" in effects.resign
    assert desk.controller.active_epoch is None
