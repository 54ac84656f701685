"""Answers that wait, and what becomes of them when leadership is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.controller.purgatory import Parked, Purgatory
from quorate.controller.requests import PendingRequest
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.wire.brokers import UnregisterBrokerRequest, UnregisterBrokerResponse

DONE = UnregisterBrokerResponse()


def parked(token: int, end_offset: int, epoch: int = 1, deadline_ms: int = 100) -> Parked:
    request = UnregisterBrokerRequest(broker_id=1)
    pending = PendingRequest(request=request, token=token, deadline_ms=deadline_ms, api_version=0)
    return Parked(Offset(end_offset), Epoch(epoch), pending, DONE)


def end(offset: int, epoch: int) -> OffsetAndEpoch:
    return OffsetAndEpoch(Offset(offset), Epoch(epoch))


def test_release_in_order_up_to_the_commit() -> None:
    purgatory = Purgatory()
    for token, offset in ((1, 10), (2, 10), (3, 12), (4, 15)):
        purgatory.park(parked(token, offset))

    assert purgatory.release(Offset(9)) == []
    assert [a.token for a in purgatory.release(Offset(12))] == [1, 2, 3]
    assert len(purgatory) == 1


def test_nothing_is_resolved_or_expired_while_leading() -> None:
    purgatory = Purgatory()
    purgatory.park(parked(1, 10))

    assert purgatory.resolve([end(20, 1)]) == []
    assert purgatory.expire(1_000) == []
    assert purgatory.next_deadline_ms() is None


def outcomes(purgatory: Purgatory, *ends: OffsetAndEpoch) -> dict[int, ErrorCode]:
    return {answer.token: answer.response.error_code for answer in purgatory.resolve(ends)}


def lost(*waiting: Parked) -> Purgatory:
    purgatory = Purgatory()
    for one in waiting:
        purgatory.park(one)
    purgatory.leadership_lost()
    return purgatory


def test_the_first_batch_that_reaches_the_offset_decides() -> None:
    purgatory = lost(parked(1, 10), parked(2, 12), parked(3, 14))

    assert outcomes(purgatory, end(9, 1)) == {}
    assert outcomes(purgatory, end(10, 1), end(12, 1)) == {1: ErrorCode.none, 2: ErrorCode.none}
    assert outcomes(purgatory, end(20, 2)) == {3: ErrorCode.not_controller}
    assert len(purgatory) == 0


def test_a_later_epoch_decides_before_the_offset_is_reached() -> None:
    # The new log may be shorter than the old one was, and stay so for long.
    purgatory = lost(parked(1, 10), parked(2, 100))

    assert outcomes(purgatory, end(10, 1), end(11, 2)) == {1: ErrorCode.none, 2: ErrorCode.not_controller}


@pytest.mark.parametrize(
    ("snapshot", "code"),
    [
        (end(12, 1), ErrorCode.none),
        (end(10, 1), ErrorCode.none),
        (end(9, 1), None),
        (end(9, 2), ErrorCode.not_controller),
        (end(10, 2), ErrorCode.not_controller),
        (end(11, 2), ErrorCode.request_timed_out),
    ],
)
def test_what_a_snapshot_tells(snapshot: OffsetAndEpoch, code: ErrorCode | None) -> None:
    purgatory = lost(parked(1, 10))

    found = [answer.response.error_code for answer in purgatory.snapshot_loaded(snapshot)]

    assert found == ([] if code is None else [code])


def test_expiry_says_that_nothing_is_known() -> None:
    purgatory = lost(parked(1, 10, deadline_ms=50), parked(2, 12, deadline_ms=40))
    assert purgatory.next_deadline_ms() == 40

    assert [(a.token, a.response.error_code) for a in purgatory.expire(49)] == [
        (2, ErrorCode.request_timed_out)
    ]
    assert [a.token for a in purgatory.expire(50)] == [1]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=6),
    st.integers(0, 12),
    st.integers(1, 3),
    st.data(),
)
def test_a_success_is_told_exactly_when_the_records_survived(
    sizes: list[int], kept_batches: int, new_epoch_step: int, data: st.DataObject
) -> None:
    """Ours: batches of epoch 1. The next leader keeps some of them and goes on in another epoch."""
    ends: list[int] = []
    for size in sizes:
        ends.append((ends[-1] if ends else 0) + size)
    waiting = [parked(token, offset) for token, offset in enumerate(ends)]
    purgatory = lost(*waiting)
    kept = ends[: min(kept_batches, len(ends))]
    committed = [end(offset, 1) for offset in kept]
    offset = kept[-1] if kept else 0
    while offset < ends[-1]:
        offset += data.draw(st.integers(1, 5))
        committed.append(end(offset, 1 + new_epoch_step))

    found = outcomes(purgatory, *committed)

    assert found == {
        token: ErrorCode.none if offset in kept else ErrorCode.not_controller
        for token, offset in enumerate(ends)
    }
