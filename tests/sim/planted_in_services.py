"""Bugs put in on purpose above the quorum: in controllers, brokers and disks. See `planted_bugs`, which lists them too.

They show only in whole clusters: by an acknowledged write that is lost, by an image that is not the log's, by what
clients cannot explain, by a broker that is fenced or not fenced against the facts.
"""

import random
from collections.abc import Iterable, Iterator
from typing import Any, Final
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
from quorate.metadata.checks import check
from quorate.metadata.ids import NodeId, Offset, OffsetAndEpoch
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.log.memory import MemoryLog
from quorate.metadata.log.snapshot_format import SnapshotChecker
from quorate.metadata.quorum import reads, replication
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.effects import Flush, ReadAnswer
from quorate.metadata.quorum.events import LogFlushed, ReadId
from quorate.metadata.quorum.roles import Leader, Progress
from tests.sim import options
from tests.sim.disk import SimLog
from tests.sim.node import SimNode
from tests.sim.planted_bugs import planted
from tests.sim.world import World


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


def long_silences(seed: int) -> options.WorldOptions:
    """Steady brokers, and controllers that stand still for longer than a session."""
    return attrs.evolve(options.steady_brokers(seed), pause_ms=(10, 30_000))


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


def many_snapshots(seed: int) -> options.WorldOptions:
    """Whoever is away for a while finds the records gone, and a snapshot in their place."""
    return attrs.evolve(busy_failovers(seed), snapshot_every_ms=100)


def damaged_snapshots(seed: int) -> options.WorldOptions:
    """Many snapshots are fetched, in parts, and one part in five arrives damaged."""
    return attrs.evolve(
        many_snapshots(seed),
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


READ_EVERY_MS: Final = 20


def with_reads(world: World) -> World:
    """Somebody reads at every leader, of whatever epoch, and must see what was committed anywhere before it asked."""

    def read(node: SimNode) -> None:
        committed = world.laws.committed_end

        def told(leads: bool) -> None:
            check(
                not leads or node.machine.applied >= committed,
                f"{node.name} answers a read from all below {node.machine.applied}, and all below {committed} was "
                "committed when it was asked",
            )

        node.confirm_read(told)

    def again() -> None:
        for node in world.nodes:
            if node.up and node.core.leads:
                read(node)
        world.schedule.after(READ_EVERY_MS, again)

    world.schedule.after(READ_EVERY_MS, again)
    return world


def slow_to_the_leader(seed: int) -> str | None:
    """What is sent to one node takes seconds while it leads; all else is quick. It hears late that it was replaced."""
    world = World(seed, options.WorldOptions(ordered=False, resign_every_ms=4000))
    network, rng, quick = world.network, random.Random(f"slow {seed}"), world.network.arrival
    victim = world.nodes[0]

    def arrival(source: NodeId, target: NodeId) -> int:
        slow = target == victim.id and victim.up and victim.core.leads and world.nemesis.active
        return quick(source, target) + (rng.randint(500, 3500) if slow else 0)

    with patch.object(network, "arrival", arrival):
        return with_reads(world).run().violation


@planted(
    "A Fetch that arrives after a read confirms it, though its sender has voted for somebody else since.",
    within=20,
    trial=slow_to_the_leader,
)
def delayed_fetch_confirms_a_read() -> Iterator[None]:
    real = replication._seen

    def seen(core: RaftCore, role: Leader, progress: Progress, now_ms: int) -> None:
        real(core, role, progress, now_ms)
        current = role.read_round
        if current is not None and core.voters.contains(progress.key):
            current.agreed.add(progress.key.id)
            reads._settle(core, role, current, now_ms)

    with patch.object(replication, "_seen", seen):
        yield


def long_pauses(seed: int) -> str | None:
    """Leaders stand still, cut off, until they are replaced; and are asked all the same."""
    paused = options.WorldOptions(
        delay_ms=(1, 1 + seed % 5),
        propose_every_ms=20,
        pause_every_ms=1500,
        pause_ms=(2500, 6000),
        partition_every_ms=1500,
        partition_ms=(3000, 8000),
    )
    return with_reads(World(seed, paused)).run(6000).violation


@planted(
    "A leader reads by a lease: a majority has fetched lately, by a clock that stood still with it (etcd#20418).",
    within=20,
    trial=long_pauses,
)
def read_by_a_lease() -> Iterator[None]:
    real = reads.on_requested

    def on_requested(core: RaftCore, read_id: ReadId, now_ms: int) -> None:
        role = core.role
        if isinstance(role, Leader) and role.high_watermark_known:
            lately = [
                one
                for one in role.progress.values()
                if core.voters.contains(one.key)
                and one.last_fetch_ms is not None
                and now_ms - one.last_fetch_ms < core.config.fetch_timeout_ms
            ]
            if len(lately) + 1 >= core.voters.majority:
                core.effects.reads.append(ReadAnswer(read_id, core.high_watermark))
                return
        real(core, read_id, now_ms)

    with patch.object(reads, "on_requested", on_requested):
        yield


@planted(
    "A broker passes an answer on at once: who was told of a change does not find it there yet.",
    within=2,
    worlds=options.draw_whole,
    only="… tells a client that",
)
def answer_not_held_until_it_shows() -> Iterator[None]:
    def hold(forwarder: Forwarder, request: Any, response: Any, now_ms: int) -> None:
        forwarder._deliver(request.submitted.ticket, response.response_data)

    with patch.object(Forwarder, "_hold", hold):
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
    "What a snapshot changed is not told to those who listen to changes (etcd#15271: events lost at compaction).",
    within=5,
    worlds=many_snapshots,
    only="…: a watcher knows",
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
    worlds=long_silences,
)
def sessions_not_begun_in_full() -> Iterator[None]:
    real = BrokerSessions.restart

    def restart(sessions: BrokerSessions, brokers: Any, now_ms: int) -> None:
        real(sessions, brokers, now_ms - sessions._timeout_ms * 9 // 10)

    with patch.object(BrokerSessions, "restart", restart):
        yield


@planted(
    "A controller that stood still fences everybody whose heartbeats it did not read meanwhile.",
    within=4,
    worlds=standing_still,
    only="broker … is fenced at",
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
