"""Bugs put in on purpose, each for one law that nothing else would see broken: see `planted_bugs` and `test_laws`.

Most of them do no harm for a while: that is why only their law finds them, and why it is there.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import attrs

from quorate.broker.loader import Cause, MetadataLoader, Publication
from quorate.metadata import batch as batch_module
from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import FIRST_OFFSET, Offset, OffsetAndEpoch
from quorate.metadata.image.delta import MetadataDelta
from quorate.metadata.image.image import MetadataImage
from quorate.metadata.log.interface import EpochStart
from quorate.metadata.log.snapshot_format import SnapshotChecker
from quorate.metadata.quorum import elections, replication, snapshots
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.epochs import EpochHistory
from quorate.metadata.quorum.roles import Candidate, Follower, Leader, Prospective, Resigned, Role, Unattached
from quorate.metadata.quorum.transitions import Why
from tests.sim import controllers, options
from tests.sim.planted_bugs import planted
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


def damaged_snapshots_of_bare_quorums(seed: int) -> options.WorldOptions:
    """Snapshots travel in parts, and parts arrive damaged."""
    return options.WorldOptions(
        observers=2,
        delay_ms=(1, 1 + seed % 10),
        propose_every_ms=20,
        snapshot_every_ms=100,
        crash_every_ms=1000,
        down_ms=(500, 1500),
        snapshot_max_bytes=300,
        damage=0.2,
    )


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
            core.role = Leader(Offset(core.log.end.offset - 1), now_ms, None)
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
    "A replica drops the log below its snapshot and forgets that it has it: whoever is behind gets nothing.",
    within=2,
    worlds=one_leader_with_snapshots,
    only="the log has lost its beginning",
)
def own_snapshots_forgotten() -> Iterator[None]:
    real = snapshots.on_created

    def on_created(core: RaftCore, snapshot_id: OffsetAndEpoch) -> None:
        real(core, snapshot_id)
        if core.log.start > 0:
            core.log.snapshots = ()

    with patch.object(snapshots, "on_created", on_created):
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
    def from_start(history: EpochHistory, start: Offset) -> EpochHistory:
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
    "After a cut the last epoch is still that of what was cut off.",
    within=10,
    worlds=options.deposed_leaders,
    only="… believes in …, its log ends at",
)
def epoch_of_the_tail_kept_after_a_cut() -> Iterator[None]:
    real = replication._truncate

    def truncate(core: RaftCore, diverging: OffsetAndEpoch) -> None:
        epoch = core.log.end.epoch
        real(core, diverging)
        core.log.end = OffsetAndEpoch(core.log.end.offset, epoch)

    with patch.object(replication, "_truncate", truncate):
        yield


@planted(
    "Who hears the end of its leader while the last part of a snapshot comes, installs it all the same.",
    within=5,
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
    "A snapshot is named by the epoch in which it is made, not by that of its last record.",
    within=5,
    worlds=busy_failovers,
    only="… is no end of a committed batch",
)
def snapshot_named_by_the_wrong_epoch() -> Iterator[None]:
    real = controllers.snapshot_of

    def snapshot_of(core: RaftCore, image: MetadataImage) -> Any:
        at = attrs.evolve(image.provenance, epoch=core.election.epoch + 1)
        return real(core, attrs.evolve(image, provenance=at))

    with patch.object(controllers, "snapshot_of", snapshot_of):
        yield


@planted(
    "Nobody checks a fetched snapshot: a bit that flipped on the way becomes part of the state.",
    within=10,
    worlds=damaged_snapshots_of_bare_quorums,
    only="… has another state",
)
def damaged_state_believed() -> Iterator[None]:
    def take_footer(checker: SnapshotChecker, batch: RecordBatch) -> None:
        checker._finished = True

    with (
        patch.object(batch_module, "crc32c", lambda data: 0),
        patch.object(SnapshotChecker, "_take_footer", take_footer),
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
    "Control records do not move a broker's image on: it is behind what it has taken in.",
    within=2,
    worlds=busy_failovers,
    only="… took in all below",
)
def control_records_do_not_move_the_image() -> Iterator[None]:
    real = MetadataLoader._replay

    def replay(loader: MetadataLoader, batch: RecordBatch, delta: MetadataDelta) -> int | None:
        return None if batch.is_control else real(loader, batch, delta)

    with patch.object(MetadataLoader, "_replay", replay):
        yield
