"""ActiveController: what a bug costs, and what is published."""

from typing import Any

import pytest

from quorate.controller import operations
from quorate.controller.context import Context
from quorate.controller.events import Committed, SnapshotLoaded
from quorate.controller.result import ControllerResult
from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.features import METADATA_VERSION, format_records
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.records import (
    BeginTransactionRecord,
    ConfigRecord,
    EndTransactionRecord,
    NoOpRecord,
    RemoveTopicRecord,
    TopicRecord,
)
from quorate.metadata.wire.configs import IncrementalAlterConfigsRequest
from quorate.metadata.wire.topics import CreateTopicsRequest
from tests.controller.desk import (
    OTHER,
    Desk,
    codes,
    control_batch,
    create,
    data_batch,
    registration,
    running_desk,
    set_config,
)
from tests.controller.world import directory


@pytest.fixture
def desk() -> Desk:
    """An active controller with one running broker."""
    return running_desk()


# --- bugs


def poison(context: Context, request: CreateTopicsRequest) -> ControllerResult[Any]:
    raise ZeroDivisionError("a bug")


def test_a_poisonous_request_keeps_the_leader(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(operations.HANDLERS, CreateTopicsRequest, poison)
    token = desk.submit(create("t"))

    effects = desk.turn()

    assert effects.resign is None
    assert desk.controller.active_epoch == 1
    assert codes(desk.answers[token]) == [ErrorCode.unknown_server_error]
    assert desk.controller.counters.faults == 1
    assert isinstance(effects.faults[0].error, ZeroDivisionError)
    assert "CreateTopicsRequest" in effects.faults[0].what


@pytest.mark.parametrize(
    "records",
    [
        [RemoveTopicRecord(topic_id=directory(1))],
        [ConfigRecord(resource_type=2, resource_name="t", name="x", value="y" * 40_000)],
        [ConfigRecord(resource_type=1_000, resource_name="t", name="x", value="y")],
    ],
    ids=["impossible", "too long", "not encodable"],
)
def test_records_that_make_no_sense_leave_no_trace(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, records: list[Any]
) -> None:
    good = TopicRecord(name="half", topic_id=directory(2))

    def half_good(context: Context, request: Any) -> ControllerResult[Any]:
        return ControllerResult([good, *records], None)

    monkeypatch.setitem(operations.HANDLERS, IncrementalAlterConfigsRequest, half_good)
    before = desk.submit(create("before"))
    bad = desk.submit(set_config("t", "x", "y"))
    after = desk.submit(create("after"))
    desk.turn()
    desk.commit()

    assert codes(desk.answers[bad]) == [ErrorCode.unknown_server_error]
    assert codes(desk.answers[before]) == codes(desk.answers[after]) == [ErrorCode.none]
    assert desk.controller.committed_image.topics.names() == ["after", "before"]
    assert desk.controller.active_epoch == 1


def test_a_failing_task_is_tried_again_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("quorate.controller.isr.fence", broken)
    desk.pass_time(8_999)
    desk.now_ms += 1

    effects = desk.turn()

    assert [fault.what for fault in effects.faults] == ["fence broker 1"]
    assert desk.controller.active_epoch == 1
    monkeypatch.undo()
    desk.pass_time(999)
    assert not desk.is_fenced(1), "not before a pause"
    desk.pass_time(1)
    assert desk.is_fenced(1)


def test_a_bug_after_the_records_were_taken_in_resigns(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a bug")

    waiting = desk.submit(create("t"))
    monkeypatch.setattr("quorate.controller.sessions.BrokerSessions.follow", broken)
    desk.submit(registration(5))

    effects = desk.turn()

    assert effects.append == ()
    assert effects.resign is not None
    assert desk.controller.active_epoch is None
    assert desk.controller.counters.faults == 1
    desk.log.append(control_batch(desk.log_end, 2, OTHER))
    desk.commit()
    assert codes(desk.answers[waiting]) == [ErrorCode.not_controller]


def test_a_committed_record_that_makes_no_sense_stops_the_process() -> None:
    desk = Desk()
    desk.log += [data_batch(0, 1, [RemoveTopicRecord(topic_id=directory(1))])]

    with pytest.raises(InvariantViolated, match="cannot be interpreted"):
        desk.commit()


def test_a_gap_in_what_is_committed_stops_the_process() -> None:
    desk = Desk()

    with pytest.raises(InvariantViolated):
        desk.step(Committed((data_batch(5, 1, [NoOpRecord()]),)))


# --- publications


def test_active_and_standby_publish_the_same(desk: Desk) -> None:
    desk.ask(create("a", "b", partitions=2))
    desk.ask(set_config("a", "flush.ms", "5"))
    for name in "cd":
        desk.submit(create(name))
    desk.turn()
    desk.commit()

    standby = Desk()
    standby.log = desk.log
    standby.commit()

    assert standby.controller.committed_image == desk.controller.committed_image


def test_a_publication_leads_from_one_image_to_the_next(desk: Desk) -> None:
    image = desk.controller.committed_image
    desk.effects.clear()
    desk.ask(create("a"))
    desk.submit(create("b"))
    desk.submit(set_config("a", "flush.ms", "5"))
    desk.turn()
    desk.commit()

    publications = [p for effects in desk.effects for p in effects.publications]
    assert len(publications) == 2
    for publication in publications:
        assert publication.deltas[0].image is image
        for before, after in zip(publication.deltas, publication.deltas[1:], strict=False):
            assert after.image.provenance.offset > before.image.provenance.offset
        image = publication.image
    assert image is desk.controller.committed_image
    assert {name for d in publications[1].deltas for name in d.created_topics.values()} == {"b"}


def test_a_standby_publishes_once_for_many_batches() -> None:
    desk = Desk()
    desk.log += [
        data_batch(0, 1, format_records()),
        data_batch(1, 1, [TopicRecord(name="a", topic_id=directory(1))]),
        control_batch(2, 2),
        data_batch(3, 2, [TopicRecord(name="b", topic_id=directory(2))]),
    ]

    effects = desk.commit()

    assert len(effects.publications) == 1
    published = effects.publications[0]
    assert set(published.deltas[0].created_topics.values()) == {"a", "b"}
    assert published.image.provenance == Provenance(offset=3, epoch=2, append_time_ms=0)


def test_a_standby_does_not_show_half_a_transaction() -> None:
    desk = Desk()
    desk.log += [
        data_batch(0, 1, [*format_records(), BeginTransactionRecord()]),
        data_batch(2, 1, [TopicRecord(name="a", topic_id=directory(1))]),
        data_batch(3, 1, [EndTransactionRecord()]),
    ]

    desk.commit(1)
    assert desk.controller.committed_image.features.level(METADATA_VERSION) == 21
    effects = desk.commit(1)
    assert effects.publications == ()
    assert desk.controller.committed_image.topics.topic_count == 0
    desk.commit(1)
    assert desk.controller.committed_image.topics.names() == ["a"]
    assert desk.controller.committed_image.offset == 3


def test_a_snapshot_replaces_everything() -> None:
    delta = MetadataDelta(MetadataImage.EMPTY)
    delta.replay_all(format_records())
    image = delta.apply(Provenance(offset=99, epoch=4, append_time_ms=1))
    desk = Desk()

    desk.step(SnapshotLoaded(OffsetAndEpoch(Offset(100), Epoch(4)), image))

    assert desk.controller.committed_image is image
    desk.step(Committed((data_batch(100, 4, [NoOpRecord()]),)))
    assert desk.controller.committed_image.offset == 100
