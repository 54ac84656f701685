"""Metadata transactions on the active controller and on a standby: the same images, and half of one never shows."""

import uuid
from collections.abc import Sequence

import pytest

from quorate.controller.context import Context
from quorate.controller.requests import OwnOperation
from quorate.controller.result import ControllerResult
from quorate.metadata.ids import Epoch
from quorate.metadata.records import (
    AnyDataRecord,
    BeginTransactionRecord,
    ConfigRecord,
    EndTransactionRecord,
    TopicRecord,
)
from tests.controller.desk import Desk, create, running_desk

BEGIN, END = BeginTransactionRecord(name="copy"), EndTransactionRecord()


def topic(number: int) -> TopicRecord:
    return TopicRecord(name=f"copied-{number}", topic_id=uuid.UUID(int=(number + 1) << 70))


def setting(name: str) -> ConfigRecord:
    return ConfigRecord(resource_type=4, resource_name="", name=name, value="1")


def write(desk: Desk, *records: AnyDataRecord) -> None:
    def run(_context: Context) -> ControllerResult[None]:
        return ControllerResult(records, None)

    epoch = desk.controller.active_epoch
    assert epoch is not None
    assert desk.ask(OwnOperation(name="test", epoch=epoch, run=run)) is None


def names(desk: Desk) -> set[str]:
    return {one.name for one in desk.controller.committed_image.topics}


def standby_of(desk: Desk) -> Desk:
    behind = Desk(log=[*desk.log])
    behind.commit()
    return behind


WRITES: list[Sequence[AnyDataRecord]] = [
    (BEGIN,),
    (topic(0), topic(1)),
    (setting("log.cleaner.threads"),),
    (topic(2), END),
]


@pytest.mark.parametrize(
    "writes",
    [
        WRITES,
        [(setting("before"), BEGIN, topic(0)), (topic(1),), (END, setting("after"))],
        [(BEGIN, topic(0), END)],
        [(BEGIN, END)],
        [(BEGIN,), (END, BEGIN), (topic(3),), (END,)],
    ],
)
def test_a_standby_sees_what_the_leader_sees(writes: list[Sequence[AnyDataRecord]]) -> None:
    """The leader takes most images from its chain, a standby replays; a batch may hold more than its transaction."""
    desk = running_desk()
    standby = standby_of(desk)
    for records in writes:
        write(desk, *records)
        standby.log = [*desk.log]
        standby.commit()
        assert standby.controller.transaction_open is desk.controller.transaction_open
        assert standby.controller.committed_image == desk.controller.committed_image


def test_nothing_shows_before_the_end() -> None:
    desk = running_desk()
    for records in WRITES[:-1]:
        write(desk, *records)
    assert names(desk) == set()
    assert {one.name for one in desk.controller.newest_image.topics} == {"copied-0", "copied-1"}

    write(desk, *WRITES[-1])

    assert names(desk) == {"copied-0", "copied-1", "copied-2"}


def test_what_others_write_meanwhile_comes_with_it() -> None:
    desk = running_desk()
    write(desk, BEGIN)
    desk.ask(create("asked"))
    assert names(desk) == set()
    write(desk, END)
    assert names(desk) == {"asked"}


def test_a_leader_that_dies_inside_leaves_nothing() -> None:
    desk = running_desk()
    for records in WRITES[:-1]:
        write(desk, *records)
    desk.lose()
    desk.lead(epoch=3)

    assert names(desk) == set()
    assert not desk.controller.transaction_open
    write(desk, topic(7))
    assert names(desk) == {"copied-7"}
    assert standby_of(desk).controller.committed_image == desk.controller.committed_image


def test_an_operation_of_another_epoch_is_refused() -> None:
    """What it continues was aborted: outside of its transaction it would be believed at once."""
    desk = running_desk()
    refused = desk.ask(
        OwnOperation(name="late", epoch=Epoch(0), run=lambda _context: ControllerResult([topic(0)], None))
    )
    assert "late belongs to epoch 0" in refused.message
    assert names(desk) == set()
