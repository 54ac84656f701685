"""Where two logs part, and what either has that the other lacks.

Batches are never cut anew once they are written, so two logs that agree hold the same bytes: they are compared batch
by batch, from the first offset that both can still read. What lies in a snapshot of one of them cannot be compared
record by record; then only the states that they amount to can (`lost_and_back`).
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from quorate.admin.errors import Refused
from quorate.admin.offline_log import LogFiles
from quorate.admin.output import plural
from quorate.admin.record_text import record_document, type_name
from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch, uuid_to_text
from quorate.metadata.image.changes import difference
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.log.directory import DirectoryInfo, describe_directory
from quorate.metadata.log.recovery import RecoveryReport
from quorate.metadata.records import KRaftVersionRecord, LeaderChangeRecord, NoOpRecord, VotersRecord

FIRST_SHOWN: Final = 20
_OF_THE_QUORUM: Final = frozenset(
    type_name(kind) for kind in (LeaderChangeRecord, KRaftVersionRecord, VotersRecord, NoOpRecord)
)


@attrs.define(kw_only=True)
class Tail:
    """What one log has from the parting on."""

    first: Offset
    end: Offset
    epochs: tuple[Epoch, ...] = ()
    types: dict[str, int] = attrs.Factory(dict)
    """How many records of each type."""
    shown: list[tuple[Offset, Epoch, Any]] = attrs.Factory(list)
    """The first few: offset, epoch, record."""

    @property
    def count(self) -> int:
        return sum(self.types.values())

    @property
    def data_count(self) -> int:
        """Without what the quorum writes about itself: nobody was promised that."""
        return sum(count for name, count in self.types.items() if name not in _OF_THE_QUORUM)

    def add(self, batch: RecordBatch) -> None:
        if batch.epoch not in self.epochs:
            self.epochs = (*self.epochs, batch.epoch)
        for offset, record in enumerate(batch.records(), batch.base_offset):
            name = type_name(record)
            self.types[name] = self.types.get(name, 0) + 1
            if len(self.shown) < FIRST_SHOWN:
                self.shown.append((Offset(offset), batch.epoch, record))

    def text(self) -> str:
        """`offsets 12 to 17, epochs 3: 4 CONFIG_RECORD, 1 NO_OP_RECORD`."""
        if not self.count:
            return "nothing"
        kinds = ", ".join(f"{self.types[name]} {name}" for name in sorted(self.types))
        epochs = ", ".join(map(str, self.epochs))
        return (
            f"{plural(self.count, 'record')}, offsets {self.first} to {self.end - 1}, epoch {epochs}: {kinds}"
        )

    def document(self) -> dict[str, Any]:
        return {
            "records": self.count,
            "first_offset": self.first if self.count else None,
            "last_offset": self.end - 1 if self.count else None,
            "epochs": list(self.epochs),
            "types": dict(sorted(self.types.items())),
            "shown": [
                {"offset": offset, "epoch": epoch, **record_document(record)}
                for offset, epoch, record in self.shown
            ],
        }


@attrs.frozen(kw_only=True)
class Parting:
    """Two logs beside each other."""

    compared_from: Offset | None
    """Below, nothing was compared: a log begins there. None: no offset can be read in both."""
    at: OffsetAndEpoch
    """Up to here they are the same; the epoch is that of the last record that they share."""
    left: Tail
    right: Tail

    @property
    def same(self) -> bool:
        return self.compared_from is not None and not self.left.count and not self.right.count

    @property
    def diverge(self) -> bool:
        """Both go on, each in its own way: one of them holds what was never committed, or was given up."""
        return bool(self.left.count and self.right.count)

    def document(self) -> dict[str, Any]:
        return {
            "same": self.same,
            "compared_from": self.compared_from,
            "part_at": {"offset": self.at.offset, "epoch": self.at.epoch},
            "diverge": self.diverge,
            "left": self.left.document(),
            "right": self.right.document(),
        }


def compare(left: pathlib.Path, right: pathlib.Path) -> Parting:
    """Reads both directories, changes neither.

    Raises:
        StorageRefused: one of them is no log that a node would start on.
        Refused: they belong to different clusters.
    """
    infos = describe_directory(left), describe_directory(right)
    if infos[0].meta.cluster_id != infos[1].meta.cluster_id:
        raise Refused(
            "These logs have nothing to do with each other.",
            where=f"{left}, {right}",
            why=f"one is of cluster {infos[0].meta.cluster_id}, the other of {infos[1].meta.cluster_id}",
        )
    return compare_logs(left, infos[0].log, right, infos[1].log)


def compare_logs(
    left: pathlib.Path, left_log: RecoveryReport, right: pathlib.Path, right_log: RecoveryReport
) -> Parting:
    """As `compare`, of directories that were described already."""
    start = max(left_log.start, right_log.start)
    if start > min(left_log.end.offset, right_log.end.offset):
        return _apart(left, left_log, right, right_log)
    ours, theirs = _batches(left, left_log, start), _batches(right, right_log, start)
    at = OffsetAndEpoch(start, Epoch(0))
    one, other = next(ours, None), next(theirs, None)
    while one is not None and other is not None and one.data == other.data:
        at = one.end
        one, other = next(ours, None), next(theirs, None)
    return Parting(
        compared_from=start,
        at=at,
        left=_tail(at.offset, left_log, one, ours),
        right=_tail(at.offset, right_log, other, theirs),
    )


def _batches(directory: pathlib.Path, log: RecoveryReport, start: Offset) -> Iterator[RecordBatch]:
    """As far as recovery would keep them."""
    return (one for one in LogFiles.at(directory).batches(start) if one.end_offset <= log.end.offset)


def _tail(first: Offset, log: RecoveryReport, batch: RecordBatch | None, rest: Iterator[RecordBatch]) -> Tail:
    tail = Tail(first=first, end=log.end.offset)
    while batch is not None:
        tail.add(batch)
        batch = next(rest, None)
    return tail


def _apart(
    left: pathlib.Path, left_log: RecoveryReport, right: pathlib.Path, right_log: RecoveryReport
) -> Parting:
    """One begins, with a snapshot, behind the other's end: it has more, and nobody can say what exactly."""
    first = min(left_log.end.offset, right_log.end.offset)

    def beyond(directory: pathlib.Path, log: RecoveryReport) -> Tail:
        tail = Tail(first=max(first, log.start), end=log.end.offset)
        if log.end.offset > first:
            for batch in _batches(directory, log, tail.first):
                tail.add(batch)
        return tail

    end = left_log.end if left_log.end.offset == first else right_log.end
    return Parting(compared_from=None, at=end, left=beyond(left, left_log), right=beyond(right, right_log))


@attrs.frozen(kw_only=True)
class States:
    """What becomes of topics if one state takes the place of another."""

    lost: Mapping[str, str]
    """Topic id (text) -> name: known to the other state only."""
    back: Mapping[str, str]
    """Known to the one that stays; the other never knew them, or knows of their end."""


def lost_and_back(stays: MetadataImage, goes: MetadataImage) -> States:
    """Topics by id: one that was deleted and created anew under its name is both."""
    changes = difference(goes, stays)
    return States(
        lost={uuid_to_text(one.id): one.name for one in changes.deleted_topics.values()},
        back={uuid_to_text(topic_id): name for topic_id, name in changes.created_topics.items()},
    )


def ends(info: DirectoryInfo) -> str:
    """`offsets 0 to 57, last epoch 3, flushed up to 57 at least`."""
    log = info.log
    return (
        f"offsets {log.start} to {log.end.offset}, last epoch {log.end.epoch}, "
        f"flushed up to {log.flushed_to} at least"
    )
