"""Bugs put in on purpose, each for one law that nothing else would see broken: see `planted_bugs` and `test_laws`.

Most of them do no harm for a while: that is why only their law finds them, and why it is there.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

import attrs

from quorate.broker import loader as loader_module
from quorate.broker.loader import Cause, MetadataLoader, Publication
from quorate.controller import partition_change
from quorate.metadata.batch import RecordBatch
from quorate.metadata.carry_out import World as Shell
from quorate.metadata.carry_out import carry_out
from quorate.metadata.ids import FIRST_OFFSET, Epoch, Offset, OffsetAndEpoch
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage, Provenance
from quorate.metadata.image.rows import PartitionRegistration
from quorate.metadata.log.interface import EpochStart
from quorate.metadata.log.memory import MemoryLog
from quorate.metadata.quorum import elections, replication, snapshots
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.effects import Effects
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.epochs import EpochHistory
from quorate.metadata.quorum.events import SnapshotInstalled
from quorate.metadata.quorum.roles import Candidate, Follower, Leader, Prospective, Resigned, Role, Unattached
from quorate.metadata.quorum.transitions import Why
from tests.sim import node as sim_node
from tests.sim import options
from tests.sim.machine import Machine
from tests.sim.node import SimNode
from tests.sim.planted_bugs import half_is_enough, planted
from tests.sim.planted_in_services import busy_failovers

# ---- worlds in which little happens ------------------------------------------------------------------------


def one_leader(seed: int) -> options.WorldOptions:
    """Nothing goes wrong: whoever is elected first leads to the end."""
    return options.WorldOptions(
        observers=2, delay_ms=(1, 1 + seed % 10), propose_every_ms=20, fetch_max_bytes=300
    )


def one_leader_with_snapshots(seed: int) -> options.WorldOptions:
    return attrs.evolve(one_leader(seed), snapshot_every_ms=200)


def alone(seed: int) -> options.WorldOptions:
    """The only voter, which is told to resign now and then."""
    return options.WorldOptions(voters=1, resign_every_ms=500 + 100 * (seed % 5))


def cut_off_now_and_then(seed: int) -> options.WorldOptions:
    return options.WorldOptions(
        delay_ms=(1, 1 + seed % 10), propose_every_ms=20, partition_every_ms=3000, partition_ms=(2500, 5000)
    )


def leaders_that_die_at_rest(seed: int) -> options.WorldOptions:
    """Little is written, so that spare controllers have all that voters have."""
    return options.WorldOptions(
        observers=2 + 2 * (seed % 2), propose_every_ms=1000, crash_every_ms=2000, down_ms=(500, 2000)
    )


def changing_voters(seed: int) -> options.WorldOptions:
    return attrs.evolve(one_leader(seed), spares=2, members_every_ms=200)


def busy_without_snapshots(seed: int) -> options.WorldOptions:
    return attrs.evolve(busy_failovers(seed), snapshot_every_ms=None)


def bare_snapshots(seed: int) -> options.WorldOptions:
    return attrs.evolve(one_leader_with_snapshots(seed), crash_every_ms=1000, down_ms=(500, 1500))


# ---- elections on record -----------------------------------------------------------------------------------


def _on_record(
    kind: type[Role], change: Callable[[Any, ElectionState], ElectionState]
) -> AbstractContextManager[Any]:
    """Whenever a replica turns into such a role, its record is another one."""
    real = RaftCore.become

    def become(core: RaftCore, why: Why, role: Role, election: ElectionState, now_ms: int) -> None:
        real(core, why, role, change(role, election) if isinstance(role, kind) else election, now_ms)

    return patch.object(RaftCore, "become", become)


@planted(
    "Who is elected does not put on record that it leads: after a restart it would not know.",
    within=2,
    worlds=one_leader,
    only="a leader is not on record",
)
def leader_not_on_record() -> Iterator[None]:
    with _on_record(Leader, lambda role, election: attrs.evolve(election, leader_id=None)):
        yield


@planted(
    "A candidate counts its own vote and does not put it on record: after a restart it would vote again.",
    within=2,
    worlds=one_leader,
    only="a candidate has not voted",
)
def own_vote_not_on_record() -> Iterator[None]:
    with _on_record(Candidate, lambda role, election: attrs.evolve(election, voted=None)):
        yield


@planted(
    "A follower does not put on record whom it follows.",
    within=2,
    worlds=one_leader,
    only="a replica follows somebody else",
)
def followed_leader_not_on_record() -> Iterator[None]:
    with _on_record(Follower, lambda role, election: attrs.evolve(election, leader_id=None)):
        yield


@planted(
    "Who finds a leader forgets whom it has voted for in that epoch.",
    within=2,
    worlds=one_leader,
    only="a vote was taken back",
)
def vote_forgotten_when_the_leader_is_found() -> Iterator[None]:
    with _on_record(Follower, lambda role, election: attrs.evolve(election, voted=None)):
        yield


@planted(
    "Who asks for pre-votes forgets the leader of its epoch.",
    within=5,
    worlds=cut_off_now_and_then,
    only="the leader of an epoch was forgotten",
)
def leader_forgotten_by_a_prospective() -> Iterator[None]:
    def forget(role: Prospective, election: ElectionState) -> ElectionState:
        role.leader, role.awaits_leader = None, False
        return attrs.evolve(election, leader_id=None)

    with _on_record(Prospective, forget):
        yield


@planted(
    "Every voter starts as if it had just resigned.",
    within=2,
    worlds=one_leader,
    only="a resigned leader never was",
)
def everybody_starts_as_resigned() -> Iterator[None]:
    real = elections.start

    def start(core: RaftCore, now_ms: int) -> None:
        real(core, now_ms)
        if core.is_voter:
            core.role = Resigned(now_ms + 100, set())

    with patch.object(elections, "start", start):
        yield


@planted(
    "A leader that gave up its epoch leads it again when nobody else stood.",
    within=3,
    worlds=alone,
    only="an epoch is led a second time after resignation",
)
def resigned_leader_leads_on() -> Iterator[None]:
    real = elections._poll_resigned

    def poll(core: RaftCore, role: Resigned, now_ms: int) -> None:
        if role.election_deadline_ms <= now_ms and len(core.voters) == 1:
            core.role = Leader(Offset(core.log.end.offset - 1), now_ms + 1000, None)
        else:
            real(core, role, now_ms)

    with patch.object(elections, "_poll_resigned", poll):
        yield


@planted(
    "An observer that misses the leader sets itself a time for its election.",
    within=2,
    worlds=one_leader,
    only="a replica without a vote stands",
)
def observer_waits_for_its_election() -> Iterator[None]:
    real = elections._poll_unattached

    def poll(core: RaftCore, role: Unattached, deadline: int | None, now_ms: int) -> None:
        real(core, role, deadline, now_ms)
        if not core.is_voter:
            role.election_deadline_ms = now_ms + core.election_timeout()

    with patch.object(elections, "_poll_unattached", poll):
        yield


# ---- the log -----------------------------------------------------------------------------------------------


@planted(
    "An epoch begins without a record of its own: nothing is committed before somebody writes (figure 8).",
    within=2,
    worlds=one_leader,
    only="a leader has no record of its own epoch",
)
def epoch_without_a_record() -> Iterator[None]:
    with patch.object(replication, "open_epoch", lambda core, granting, now_ms: None):
        yield


@planted(
    "A follower takes over the leader's high watermark though its log does not reach that far yet.",
    within=2,
    worlds=one_leader,
    only="the high watermark lies beyond the log",
)
def watermark_ahead_of_the_log() -> Iterator[None]:
    real = replication._follow_high_watermark
    truth: dict[RaftCore, Offset | None] = {}

    def follow(core: RaftCore, told: Offset | None) -> None:
        core.high_watermark = truth.get(core, core.high_watermark)
        real(core, told)
        truth[core] = core.high_watermark
        if told is not None:
            core.high_watermark = max(told, core.high_watermark or told)

    with patch.object(replication, "_follow_high_watermark", follow):
        yield


@planted(
    "Who finds a new leader forgets its high watermark, as Kafka's replicas do.",
    within=5,
    worlds=cut_off_now_and_then,
    only="the high watermark went back",
)
def watermark_forgotten_with_its_leader() -> Iterator[None]:
    real = elections._to_follower

    def to_follower(core: RaftCore, *arguments: Any) -> None:
        real(core, *arguments)
        core.high_watermark = None

    with patch.object(elections, "_to_follower", to_follower):
        yield


@planted(
    "A replica drops the log below its snapshots and forgets that it has them: whoever is behind gets nothing.",
    within=2,
    worlds=one_leader_with_snapshots,
    only="the log has lost its beginning",
)
def own_snapshots_forgotten() -> Iterator[None]:
    real = snapshots.let_go

    def let_go(core: RaftCore, oldest_kept: OffsetAndEpoch, now_ms: int) -> None:
        real(core, oldest_kept, now_ms)
        if core.log.start > 0:
            core.log.snapshots = ()

    with patch.object(snapshots, "let_go", let_go):
        yield


@planted(
    "A replica believes that its log still has its beginning, which it dropped.",
    within=2,
    worlds=one_leader_with_snapshots,
    only="… has lost the beginning",
)
def dropped_beginning_believed_in() -> Iterator[None]:
    real = snapshots.on_created

    def on_created(core: RaftCore, snapshot_id: OffsetAndEpoch) -> None:
        real(core, snapshot_id)
        core.log.start = FIRST_OFFSET

    with patch.object(snapshots, "on_created", on_created):
        yield


@planted(
    "When the log's beginning goes, the epochs that ended in it stay known, as if all began at its start.",
    within=10,
    worlds=options.deposed_leaders,
    only="epochs do not rise",
)
def epochs_of_the_dropped_beginning_kept() -> Iterator[None]:
    def from_start(history: EpochHistory, start: Offset, log_end: Offset) -> EpochHistory:
        return EpochHistory(
            tuple(EpochStart(entry.epoch, max(entry.offset, start)) for entry in history.starts)
        )

    with patch.object(EpochHistory, "from_start", from_start):
        yield


@planted(
    "A leader takes its log for cut whenever it appends: each flush that runs then is made again.",
    within=2,
    worlds=one_leader,
    only="a leader cut its own log",
)
def leader_takes_its_log_for_cut() -> Iterator[None]:
    real = RaftCore._on_proposed

    def on_proposed(core: RaftCore, *arguments: Any) -> None:
        real(core, *arguments)
        core.log.generation += 1

    with patch.object(RaftCore, "_on_proposed", on_proposed):
        yield


@planted(
    "A cut leaves the log's generation as it was: a flush from before it would be believed.",
    within=10,
    worlds=options.deposed_leaders,
    only="the log was cut and old flushes",
)
def cut_without_a_new_generation() -> Iterator[None]:
    real = replication._truncate

    def truncate(core: RaftCore, diverging: OffsetAndEpoch) -> None:
        generation = core.log.generation
        real(core, diverging)
        core.log.generation = generation

    with patch.object(replication, "_truncate", truncate):
        yield


@planted(
    "Until its flush is over, a spare controller takes its last record for one of the epoch before.",
    within=2,
    worlds=one_leader,
    only="… believes in …, its log ends at",
)
def last_epoch_not_known_before_the_flush() -> Iterator[None]:
    def older(before: OffsetAndEpoch, now: OffsetAndEpoch) -> OffsetAndEpoch:
        return OffsetAndEpoch(now.offset, Epoch(now.epoch - 1))

    with _not_known_before_the_flush("end", older):
        yield


@planted(
    "Until its flush is over, a spare controller goes by the voters that its last records have replaced.",
    within=2,
    worlds=changing_voters,
    only="… takes … for the voters",
)
def last_voters_not_known_before_the_flush() -> Iterator[None]:
    with _not_known_before_the_flush("voters", lambda before, now: before):
        yield


@contextmanager
def _not_known_before_the_flush(what: str, older: Callable[[Any, Any], Any]) -> Iterator[None]:
    """Until it fetches again, a spare controller believes something else of its log."""
    real_append, real_fetch = replication.append, replication._fetch
    truth: dict[RaftCore, Any] = {}

    def append(core: RaftCore, batches: Iterable[RecordBatch]) -> None:
        before = getattr(core.log, what)
        real_append(core, batches)
        if not core.is_voter:
            truth[core] = getattr(core.log, what)
            setattr(core.log, what, older(before, truth[core]))

    def fetch(core: RaftCore, now_ms: int) -> None:
        if core in truth:
            setattr(core.log, what, truth.pop(core))
        real_fetch(core, now_ms)

    with patch.object(replication, "append", append), patch.object(replication, "_fetch", fetch):
        yield


@planted(
    "Who hears the end of its leader while the last part of a snapshot comes, installs it all the same.",
    within=2,
    worlds=busy_failovers,
    only="… loads a snapshot as",
)
def snapshot_installed_without_a_leader() -> Iterator[None]:
    real = snapshots.on_fetch_snapshot_response

    def on_response(core: RaftCore, *arguments: Any) -> None:
        real(core, *arguments)
        if core.installing is not None:
            core.role = Unattached(arguments[-1] + core.election_timeout() if core.is_voter else None)

    with patch.object(snapshots, "on_fetch_snapshot_response", on_response):
        yield


@planted(
    "A controller names its snapshot by the epoch before that of its last record.",
    within=1,
    worlds=bare_snapshots,
    only="… is no end of a committed batch",
)
def snapshot_named_by_the_wrong_epoch() -> Iterator[None]:
    real = Machine.snapshot

    def snapshot(machine: Machine, core: RaftCore, wall_ms: int) -> Any:
        truth = machine.at
        if core.config.durable:
            machine.at = OffsetAndEpoch(truth.offset, Epoch(max(0, truth.epoch - 1)))
        try:
            return real(machine, core, wall_ms)
        finally:
            machine.at = truth

    with patch.object(Machine, "snapshot", snapshot):
        yield


@planted(
    "The last batch of a snapshot is not read.",
    within=5,
    worlds=bare_snapshots,
    only="… has another state",
)
def last_batch_of_a_snapshot_not_read() -> Iterator[None]:
    real = MemoryLog.snapshot_records

    def snapshot_records(log: MemoryLog, snapshot_id: OffsetAndEpoch) -> Iterator[RecordBatch]:
        *batches, _, footer = real(log, snapshot_id)
        return iter([*batches, footer])

    with patch.object(MemoryLog, "snapshot_records", snapshot_records):
        yield


# ---- commits, votes and disks --------------------------------------------------------------------------------


@planted(
    "A candidate leads with the votes of half the voters.",
    within=2,
    worlds=one_leader,
    only="… leads epoch … with the votes of",
)
def elected_by_half_of_the_voters() -> Iterator[None]:
    real = elections._maybe_lead

    def lead(core: RaftCore, role: Candidate, now_ms: int) -> None:
        with half_is_enough():
            real(core, role, now_ms)

    with patch.object(elections, "_maybe_lead", lead):
        yield


@planted(
    "An observer writes the batches that it fetched anew, with its own time: they are no longer the leader's.",
    within=2,
    worlds=one_leader,
    only="… committed something else than",
)
def batches_sealed_anew() -> Iterator[None]:
    real = replication.append

    def append(core: RaftCore, batches: Iterable[RecordBatch]) -> None:
        real(core, batches if core.is_voter else [_sealed_anew(batch) for batch in batches])

    with patch.object(replication, "append", append):
        yield


def _sealed_anew(batch: RecordBatch) -> RecordBatch:
    return RecordBatch.seal(
        batch.records(),
        base_offset=batch.base_offset,
        epoch=batch.epoch,
        append_time_ms=batch.append_time_ms + 1,
        is_control=batch.is_control,
    )


@planted(
    "A follower calls committed what ends in the midst of a batch, as long as more is to come.",
    within=5,
    worlds=one_leader,
    only="… applied all below",
)
def commit_in_the_midst_of_a_batch() -> Iterator[None]:
    real = replication._follow_high_watermark

    def follow(core: RaftCore, told: Offset | None) -> None:
        real(core, told)
        committed = core.effects.committed
        if committed is not None and 0 < committed < core.log.end.offset:
            core.effects.committed = Offset(committed - 1)

    with patch.object(replication, "_follow_high_watermark", follow):
        yield


@planted(
    "Who its leader is, a follower keeps in memory only: the file is written for votes.",
    within=2,
    worlds=one_leader,
    only="…: … is not on its disk",
)
def followed_leader_not_written() -> Iterator[None]:
    def forgetful(effects: Effects, machine: Shell) -> SnapshotInstalled | None:
        election = effects.election
        if election is not None and election.voted is None and election.leader_id is not None:
            effects = attrs.evolve(effects, election=None)
        return carry_out(effects, machine)

    with patch.object(sim_node, "carry_out", forgetful):
        yield


@planted(
    "The disk of a controller that does not vote says that all is flushed, and has flushed nothing.",
    within=2,
    worlds=one_leader,
    only="… believes all below",
)
def flush_that_does_nothing() -> Iterator[None]:
    real = SimNode._flushed

    def flushed(node: SimNode, life: int) -> None:
        node._flush_on_disk = node._flush_on_disk or not node.is_voter
        real(node, life)

    with patch.object(SimNode, "_flushed", flushed):
        yield


@planted(
    "A controller that does not vote takes itself for a voter, stands, and is elected.",
    within=5,
    worlds=leaders_that_die_at_rest,
    only="… leads and is no voter",
)
def observer_elected() -> Iterator[None]:
    real_stand, real_lead = elections._maybe_stand, elections._maybe_lead

    def stand(core: RaftCore, role: Prospective, now_ms: int) -> None:
        role.granted.intersection_update(core.voters.ids)
        real_stand(core, role, now_ms)

    def lead(core: RaftCore, role: Candidate, now_ms: int) -> None:
        role.granted.intersection_update(core.voters.ids)
        real_lead(core, role, now_ms)

    with (
        patch.object(
            RaftCore, "is_voter", property(lambda core: core.config.durable and len(core.voters) > 0)
        ),
        patch.object(elections, "_maybe_stand", stand),
        patch.object(elections, "_maybe_lead", lead),
    ):
        yield


# ---- images ------------------------------------------------------------------------------------------------


@planted(
    "A publication says that it follows the one before the last.",
    within=2,
    worlds=busy_failovers,
    only="…: a publication does not follow",
)
def publication_follows_an_older_one() -> Iterator[None]:
    real = MetadataLoader._publish
    shown: dict[MetadataLoader, MetadataImage] = {}

    def publish(loader: MetadataLoader, cause: Cause, delta: MetadataDelta | None) -> Publication:
        publication = real(loader, cause, delta)
        before, shown[loader] = shown.get(loader, publication.before), publication.before
        return publication if delta is None else Publication(before, publication.image, cause, delta)

    with patch.object(MetadataLoader, "_publish", publish):
        yield


@planted(
    "A broker shows an older image once more, and says so (etcd#15220).",
    within=2,
    worlds=busy_failovers,
    only="… publishes the image of",
)
def broker_goes_back() -> Iterator[None]:
    real = MetadataLoader._publish
    shown: dict[MetadataLoader, list[MetadataImage]] = {}

    def publish(loader: MetadataLoader, cause: Cause, delta: MetadataDelta | None) -> Publication:
        images = shown.setdefault(loader, [])
        images.append(loader.image)
        if len(images) != 8:
            return real(loader, cause, delta if len(images) != 9 else None)
        before, loader._published = loader._published, images[-3]
        return Publication(before or MetadataImage.EMPTY, images[-3], Cause.SNAPSHOT)

    with patch.object(MetadataLoader, "_publish", publish):
        yield


@planted(
    "A broker's image says that it ends in another epoch than its last record.",
    within=2,
    worlds=busy_without_snapshots,
    only="…: the image at offset",
)
def image_of_another_epoch() -> Iterator[None]:
    def provenance(*, offset: int, epoch: int, append_time_ms: int) -> Provenance:
        return Provenance(offset=offset, epoch=epoch + 1, append_time_ms=append_time_ms)

    with patch.object(loader_module, "Provenance", provenance):
        yield


# ---- partitions --------------------------------------------------------------------------------------------


@planted(
    "Who was eligible stays eligible, also once it leads or is in sync again.",
    within=6,
    worlds=options.draw_eligible,
    only="… is led by",
)
def eligible_for_ever() -> Iterator[None]:
    def eligible(partition: PartitionRegistration, *_: Any) -> tuple[int, ...]:
        return tuple(sorted({*partition.eligible_leader_replicas, *partition.isr}))

    with patch.object(partition_change, "_eligible", eligible):
        yield
