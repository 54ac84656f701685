"""The gate: a transaction is seen whole, or not at all."""

import pytest

from quorate.metadata.image import ReplayError, TransactionGate
from quorate.metadata.image.transactions import Release
from quorate.metadata.records import (
    AbortTransactionRecord,
    AnyRecord,
    BeginTransactionRecord,
    EndTransactionRecord,
    NoOpRecord,
)
from tests.metadata.model.building import config

BEGIN, END, ABORT, NO_OP = (
    BeginTransactionRecord(name="b"),
    EndTransactionRecord(),
    AbortTransactionRecord(),
    NoOpRecord(),
)
R = [config("k", str(i)) for i in range(5)]


def released(*batches: list[AnyRecord]) -> list[Release | None]:
    gate, offset, found = TransactionGate(), 100, []
    for batch in batches:
        found.append(gate.offer(offset, batch))
        offset += len(batch)
    return found


def seen(last_offset: int, *records: tuple[int, AnyRecord]) -> Release:
    return Release(records, last_offset)


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([[R[0], R[1]]], [seen(101, (100, R[0]), (101, R[1]))]),
        ([[NO_OP]], [seen(100, (100, NO_OP))]),
        ([[BEGIN, R[0], END]], [seen(102, (101, R[0]))]),
        ([[BEGIN], [R[0]], [END]], [None, None, seen(102, (101, R[0]))]),
        ([[BEGIN], [R[0]], [ABORT]], [None, None, seen(102)]),
        ([[R[0], BEGIN, R[1]], [R[2], END, R[3]]],
         [seen(100, (100, R[0])), seen(105, (102, R[1]), (103, R[2]), (105, R[3]))]),
        ([[R[0], BEGIN, R[1]], [R[2], ABORT, R[3]]], [seen(100, (100, R[0])), seen(105, (105, R[3]))]),
        ([[BEGIN, R[0], END, R[1], BEGIN, R[2]], [END]],
         [seen(103, (101, R[0]), (103, R[1])), seen(106, (105, R[2]))]),
        ([[BEGIN, END]], [seen(101)]),
    ],
)  # fmt: skip
def test_what_is_released_when(batches: list[list[AnyRecord]], expected: list[Release | None]) -> None:
    assert released(*batches) == expected


def test_a_transaction_in_a_transaction_is_refused() -> None:
    with pytest.raises(ReplayError, match=r"offset 102: .* inside the transaction that began at 100"):
        released([BEGIN, R[0], BEGIN])


@pytest.mark.parametrize("closing", [END, ABORT])
def test_an_end_without_a_beginning_is_refused(closing: AnyRecord) -> None:
    with pytest.raises(ReplayError, match=r"offset 101: .* outside of any transaction"):
        released([R[0], closing])


def test_a_snapshot_ends_what_was_open() -> None:
    gate = TransactionGate()
    assert gate.offer(0, [BEGIN, R[0]]) is None
    before = gate.is_open
    gate.reset()
    assert (before, gate.is_open) == (True, False)
    assert gate.offer(50, [R[1]]) == seen(50, (50, R[1]))
    assert gate.offer(51, [BEGIN, END]) == seen(52)
