"""Bugs put in on purpose above the quorum: in controllers, brokers and disks. See `planted_bugs`, which lists them too.

They show only in whole clusters: by an acknowledged write that is lost, by an image that is not the log's, by what
clients cannot explain, by a broker that is fenced or not fenced against the facts.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from unittest.mock import patch

import attrs

from quorate.broker import forwarding
from quorate.broker.forwarding import Failure, Forwarder
from quorate.broker.loader import Cause, MetadataLoader, Publication
from quorate.controller.active import ActiveController
from quorate.controller.faults import Situation
from quorate.controller.purgatory import Purgatory
from quorate.controller.requests import Answer
from quorate.controller.sessions import BrokerSessions
from quorate.controller.speculation import Speculation
from quorate.metadata import batch as batch_module
from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Offset, OffsetAndEpoch
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.log.memory import MemoryLog
from quorate.metadata.log.snapshot_format import SnapshotChecker
from quorate.metadata.quorum.effects import Flush
from quorate.metadata.quorum.events import LogFlushed
from tests.sim import options
from tests.sim.disk import SimLog
from tests.sim.node import SimNode
from tests.sim.planted_bugs import planted


def busy_failovers(seed: int) -> options.WorldOptions:
    """Clients that never rest, and leaders that go while much is under way."""
    return options.WorldOptions(
        propose_every_ms=None,
        brokers=1 + seed % 2,
        clients=4,
        think_ms=5,
        topics=2,
        patience_ms=(500, 5000),
        delay_ms=(1, 1 + 10 * (seed % 4)),
        flush_ms=(0, 5 + 50 * (seed % 3)),
        session_ms=3000,
        heartbeat_ms=500,
        crash_every_ms=2000,
        down_ms=(1, 1000),
        partition_every_ms=2000,
        partition_ms=(500, 5000),
        resign_every_ms=1000,
        reset_every_ms=400,
        snapshot_every_ms=300,
        laziness=0.3,
        broker_dies=True,
    )


def bad_disks(seed: int) -> options.WorldOptions:
    """Flushes fail, appends find no room, logs rot."""
    return options.WorldOptions(
        delay_ms=(1, 1 + seed % 10),
        flush_ms=(0, 20),
        propose_every_ms=20,
        crash_every_ms=1500,
        crash_all=0.3,
        down_ms=(1, 500),
        fsync_fails=0.05,
        fsync_stalls=0.01,
        full_disk_every_ms=1000,
        rot_every_ms=1500,
        snapshot_every_ms=4000,
    )


def standing_still(seed: int) -> options.WorldOptions:
    """One controller that now and then stands still for longer than a session."""
    return options.WorldOptions(
        voters=1,
        brokers=2,
        brokers_are_well=True,
        clients=1,
        think_ms=1000,
        idle_ms=5000 * (seed % 2),
        pause_every_ms=12_000,
        pause_ms=(10_000, 20_000),
    )


def damaged_snapshots(seed: int) -> options.WorldOptions:
    """Many snapshots are fetched, in parts, and one part in five arrives damaged."""
    return attrs.evolve(
        busy_failovers(seed),
        snapshot_every_ms=100,
        crash_every_ms=500,
        down_ms=(500, 1500),
        snapshot_max_bytes=300,
        damage=0.2,
    )


# ---- answers -------------------------------------------------------------------------------------------


@planted(
    "The controller answers before the records are committed: a failover loses what was acknowledged.",
    within=10,
    worlds=busy_failovers,
)
def answered_before_commit() -> Iterator[None]:
    with patch.object(Speculation, "is_pending", property(lambda speculation: False)):
        yield


@planted(
    "An answer whose records were replaced by the next leader's is given all the same.",
    within=20,
    worlds=busy_failovers,
)
def success_for_replaced_records() -> Iterator[None]:
    def resolve(purgatory: Purgatory, ends: Iterable[OffsetAndEpoch]) -> list[Answer]:
        answers: list[Answer] = []
        for end in ends:
            for parked in list(purgatory._unresolved):
                if end.epoch > parked.epoch or parked.end_offset <= end.offset:
                    purgatory._unresolved.remove(parked)
                    answers.append(parked.answer())
        return answers

    with patch.object(Purgatory, "resolve", resolve):
        yield


@planted(
    "Who loses the leadership says NOT_CONTROLLER to all who wait, as if nothing of theirs could survive.",
    within=20,
    worlds=busy_failovers,
)
def refused_though_appended() -> Iterator[None]:
    real = ActiveController._leave_office

    def leave(controller: ActiveController) -> tuple[Answer, ...]:
        waiting = list(controller._purgatory._waiting)
        controller._purgatory._waiting.clear()
        refused = [parked.pending.refuse_for(Situation.NOT_ACTIVE) for parked in waiting]
        return (*real(controller), *refused)

    with patch.object(ActiveController, "_leave_office", leave):
        yield


@planted(
    "A write whose connection broke is sent again: a create that was carried out is answered ALREADY_EXISTS (#3039).",
    within=20,
    worlds=busy_failovers,
)
def lost_write_sent_again() -> Iterator[None]:
    real = Forwarder._on_failed

    def on_failed(forwarder: Forwarder, event: forwarding.Failed, now_ms: int) -> None:
        if event.failure is Failure.LOST:
            event = forwarding.Failed(event.attempt, Failure.NOT_WRITTEN)
        real(forwarder, event, now_ms)

    with patch.object(Forwarder, "_on_failed", on_failed):
        yield


@planted(
    "A leader answers reads and refusals without asking whether it still leads: old news (etcd#20418, Jepsen etcd).",
    within=20,
    worlds=busy_failovers,
)
def reads_not_confirmed() -> Iterator[None]:
    with patch.object(SimNode, "confirm_read", lambda node, tell: tell(True)):
        yield


# ---- images ----------------------------------------------------------------------------------------------


@planted(
    "What was decided and not committed outlives the leadership: the next one begins with it.",
    within=20,
    worlds=busy_failovers,
)
def speculative_image_kept() -> Iterator[None]:
    real_leave, real_claimed = ActiveController._leave_office, ActiveController._on_claimed
    kept: dict[ActiveController, MetadataImage] = {}

    def leave(controller: ActiveController) -> Any:
        kept[controller] = controller.newest_image
        return real_leave(controller)

    def claimed(controller: ActiveController, *arguments: Any) -> Any:
        effects = real_claimed(controller, *arguments)
        office = controller._office
        if office is not None and controller in kept:
            office.speculation.image = kept[controller]
        return effects

    with (
        patch.object(ActiveController, "_leave_office", leave),
        patch.object(ActiveController, "_on_claimed", claimed),
    ):
        yield


@planted(
    "The first batch behind a snapshot is taken for part of it (etcd#13766: state and index apart).",
    within=20,
    worlds=busy_failovers,
)
def batch_after_snapshot_skipped() -> Iterator[None]:
    real_load, real_replay = MetadataLoader.load, MetadataLoader._replay
    loaded: set[MetadataLoader] = set()

    def load(loader: MetadataLoader, image: MetadataImage, end: Offset) -> Publication | None:
        loaded.add(loader)
        return real_load(loader, image, end)

    def replay(loader: MetadataLoader, batch: RecordBatch, delta: MetadataDelta) -> int | None:
        if loader in loaded and not batch.is_control:
            loaded.discard(loader)
            return batch.end_offset - 1
        return real_replay(loader, batch, delta)

    with patch.object(MetadataLoader, "load", load), patch.object(MetadataLoader, "_replay", replay):
        yield


@planted(
    "A broker shows its clients an older image once more (etcd#15220: watchers see events twice).",
    within=5,
    worlds=busy_failovers,
)
def broker_image_rewinds() -> Iterator[None]:
    real = MetadataLoader._publish
    shown: dict[MetadataLoader, list[MetadataImage]] = {}

    def publish(loader: MetadataLoader, cause: Cause, delta: MetadataDelta | None) -> Publication:
        images = shown.setdefault(loader, [])
        images.append(loader.image)
        if len(images) % 20 == 0:
            return Publication(images[-2], images[-5], Cause.SNAPSHOT)
        return real(loader, cause, delta)

    with patch.object(MetadataLoader, "_publish", publish):
        yield


@planted(
    "What a snapshot changed is not told to those who listen to changes (etcd#15271: events lost at compaction).",
    within=20,
    worlds=busy_failovers,
)
def snapshot_changes_not_told() -> Iterator[None]:
    real = MetadataLoader._publish

    def publish(loader: MetadataLoader, cause: Cause, delta: MetadataDelta | None) -> Publication:
        publication = real(loader, cause, delta)
        if cause is Cause.SNAPSHOT:
            return Publication(
                publication.before, publication.image, cause, MetadataDelta(publication.before)
            )
        return publication

    with patch.object(MetadataLoader, "_publish", publish):
        yield


# ---- sessions --------------------------------------------------------------------------------------------


@planted(
    "The sessions of brokers are not begun anew at a failover: one that died is never fenced (KAFKA-15019).",
    within=20,
    worlds=busy_failovers,
)
def sessions_lost_at_failover() -> Iterator[None]:
    with patch.object(BrokerSessions, "restart", lambda sessions, brokers, now_ms: sessions.clear()):
        yield


@planted(
    "A session never ends: a dead broker stays unfenced.",
    within=10,
    worlds=busy_failovers,
)
def sessions_never_expire() -> Iterator[None]:
    with (
        patch.object(BrokerSessions, "expired", lambda sessions, now_ms: iter(())),
        patch.object(BrokerSessions, "next_expiry_ms", lambda sessions: None),
    ):
        yield


@planted(
    "A new controller counts the silence of before its time: it fences brokers that are well (KAFKA-14392).",
    within=10,
    worlds=options.steady_brokers,
)
def sessions_not_begun_in_full() -> Iterator[None]:
    real = BrokerSessions.restart

    def restart(sessions: BrokerSessions, brokers: Any, now_ms: int) -> None:
        real(sessions, brokers, now_ms - sessions._timeout_ms * 9 // 10)

    with patch.object(BrokerSessions, "restart", restart):
        yield


@planted(
    "A controller that stood still fences everybody whose heartbeats it did not read meanwhile.",
    within=20,
    worlds=standing_still,
)
def own_silence_held_against_brokers() -> Iterator[None]:
    with patch.object(BrokerSessions, "forgive", lambda sessions, silence_ms: None):
        yield


@planted(
    "Heartbeats wait behind a queue of writes, and count only when their turn comes.",
    within=20,
    worlds=standing_still,
)
def heartbeat_not_counted_on_arrival() -> Iterator[None]:
    with patch.object(BrokerSessions, "touch", lambda sessions, *arguments: False):
        yield


# ---- disks -----------------------------------------------------------------------------------------------


@planted(
    "A failed fsync is tried again, and the second one says that all is well (Rebello, ATC'20).",
    within=20,
    worlds=bad_disks,
)
def fsync_failure_retried() -> Iterator[None]:
    def fsync_failed(node: SimNode, flush: Flush) -> None:
        node._flush = None
        node.deliver(LogFlushed(flush.end_offset, flush.generation))

    with patch.object(SimNode, "fsync_failed", fsync_failed):
        yield


@planted(
    "An append that found no room is taken for done.",
    within=20,
    worlds=bad_disks,
)
def full_disk_ignored() -> Iterator[None]:
    def append(log: SimLog, batches: Any, flushed_to: Offset) -> None:
        if not log.full:
            MemoryLog.append(log, batches, flushed_to)

    with patch.object(SimLog, "append", append):
        yield


@planted(
    "A flipped bit, or a batch in another one's place, is not looked for at the start (NATS 2.12.1).",
    within=20,
    worlds=bad_disks,
)
def damaged_log_not_noticed() -> Iterator[None]:
    with patch.object(SimLog, "damage", lambda log: None):
        yield


@planted(
    "Nobody checks a fetched snapshot: a bit that flipped on the way becomes part of the image.",
    within=20,
    worlds=damaged_snapshots,
)
def damaged_snapshot_believed() -> Iterator[None]:
    def take_footer(checker: SnapshotChecker, batch: RecordBatch) -> None:
        checker._finished = True

    with (
        patch.object(batch_module, "crc32c", lambda data: 0),
        patch.object(SnapshotChecker, "_take_footer", take_footer),
    ):
        yield
