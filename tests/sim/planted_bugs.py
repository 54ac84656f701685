"""Bugs put in on purpose: the simulator is only worth its silence if each of these breaks it.

Every bug replaces one decision of the core, or the order of its effects, while its `with` block lasts; nothing of it
exists outside the tests. They are the bugs that other systems had (in the story of each), written as wrappers that lie
to the real code about one thing, so that they stay planted when that code moves.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

import attrs

from quorate.metadata.carry_out import World as Machine
from quorate.metadata.carry_out import carry_out
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import NodeId, Offset, OffsetAndEpoch, ReplicaKey
from quorate.metadata.log.memory import MemoryLog
from quorate.metadata.quorum import elections, replication
from quorate.metadata.quorum.core import Outstanding, RaftCore
from quorate.metadata.quorum.effects import Effects, Peer
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import Correlation, LogFlushed, SnapshotInstalled, Token
from quorate.metadata.quorum.messages import (
    FetchRequest,
    FetchResponse,
    LeaderAndEpoch,
    Response,
    VoteRequest,
)
from quorate.metadata.quorum.roles import (
    Candidate,
    Follower,
    Leader,
    Progress,
    Prospective,
    Resigned,
    Unattached,
)
from quorate.metadata.quorum.transitions import Why
from quorate.metadata.quorum.voters import VoterHistory, VoterSet
from tests.sim import node as sim_node
from tests.sim import options

Plant = Callable[[], Any]
Worlds = Callable[[int], options.WorldOptions]
Trial = Callable[[int], str | None]
"""What a seed is taken for where that is no world of the simulator: what was found wrong, or None."""


@attrs.frozen(kw_only=True)
class PlantedBug:
    """A bug, why it is one, how to put it in, and how long it may stay undetected."""

    name: str
    story: str
    plant: Plant = attrs.field(repr=False)
    within: int
    """It must be caught within the first so many seeds."""
    worlds: Worlds = attrs.field(repr=False)
    """Where it is looked for: the ordinary mixture, or worlds made for its kind."""
    trial: Trial | None = attrs.field(default=None, repr=False)
    """Instead of worlds: a story of a few real parts, told by a seed."""
    only: str | None = None
    """The beginning of the law without which nobody finds it (`law_book`)."""

    @property
    def where(self) -> str:
        """The name of its worlds, or of its trial."""
        return (self.worlds if self.trial is None else self.trial).__name__


def slow_disks(seed: int) -> options.WorldOptions:
    """Leaders resign while a long flush of theirs runs, and at once follow somebody who has another history."""
    return options.WorldOptions(
        delay_ms=(1, 1 + seed % 20),
        flush_ms=(0, 600),
        flush_notice_ms=(0, 50),
        propose_every_ms=10,
        resign_every_ms=400,
    )


def contested_elections(seed: int) -> options.WorldOptions:
    """Five voters, slow messages, and nobody lives long: several stand in one epoch, and voters die while voting."""
    return options.WorldOptions(
        voters=5,
        shuffle_ties=True,
        ordered=False,
        delay_ms=(1, 50 + 50 * (seed % 5)),
        propose_every_ms=None,
        crash_every_ms=100,
        crash_inside=1.0,
        down_ms=(1, 20),
        resign_every_ms=500,
    )


def compacted_while_away(seed: int) -> options.WorldOptions:
    """A leader is cut off and writes alone; until it comes back the others have snapshots and short logs."""
    return options.WorldOptions(
        delay_ms=(1, 1 + seed % 20),
        propose_every_ms=20,
        partition_every_ms=1500,
        partition_ms=(3000, 6000),
        snapshot_every_ms=100,
    )


def overtaken(seed: int) -> options.WorldOptions:
    """Messages overtake each other all the time, and little else goes wrong."""
    return options.WorldOptions(
        ordered=False,
        shuffle_ties=True,
        delay_ms=(1, 60 + 20 * (seed % 5)),
        duplicate=0.3,
        propose_every_ms=20,
    )


def rivals(seed: int) -> options.WorldOptions:
    """Equal voters that stand at the same time, over and over."""
    return options.WorldOptions(
        voters=3 + 2 * (seed % 2),
        shuffle_ties=True,
        delay_ms=(1, 100),
        propose_every_ms=200,
        resign_every_ms=300,
        crash_every_ms=1000,
        down_ms=(1, 300),
    )


def snapshots_and_crashes(seed: int) -> options.WorldOptions:
    """Logs begin with a snapshot almost at once, and everybody starts again from that."""
    return options.WorldOptions(
        voters=3,
        observers=seed % 2,
        delay_ms=(1, 1 + seed % 10),
        flush_ms=(0, 100),
        propose_every_ms=20,
        snapshot_every_ms=200,
        crash_every_ms=400,
        crash_all=0.2,
        down_ms=(1, 1500),
        snapshot_max_bytes=300,
    )


PLANTED_BUGS: Final[list[PlantedBug]] = []


def planted(
    story: str,
    *,
    within: int,
    worlds: Worlds = options.draw_plain,
    trial: Trial | None = None,
    only: str | None = None,
) -> Callable[[Callable[[], Iterator[None]]], Plant]:
    def register(generator: Callable[[], Iterator[None]]) -> Plant:
        plant = contextmanager(generator)
        bug = PlantedBug(
            name=generator.__name__,
            story=story,
            plant=plant,
            within=within,
            worlds=worlds,
            trial=trial,
            only=only,
        )
        PLANTED_BUGS.append(bug)
        return plant

    return register


# ---- what must be on disk before it is said ------------------------------------------------------------


@planted(
    "A vote is forgotten at a crash and given again to another: two leaders (PySyncObj#84).",
    within=60,
    worlds=options.election_storm,
)
def vote_not_persisted() -> Iterator[None]:
    def forgetful(effects: Effects, machine: Machine) -> SnapshotInstalled | None:
        election = effects.election
        if election is not None and election.voted is not None and election.leader_id is None:
            effects = attrs.evolve(effects, election=None)
        return carry_out(effects, machine)

    with patch.object(sim_node, "carry_out", forgetful):
        yield


@planted(
    "The answer leaves, the power fails, and the vote in it was never written.",
    within=20,
    worlds=contested_elections,
    only="… votes for … in epoch",
)
def answer_sent_before_vote_is_written() -> Iterator[None]:
    def hasty(effects: Effects, machine: Machine) -> SnapshotInstalled | None:
        if effects.append:
            return carry_out(effects, machine)  # its answers read what is appended
        carry_out(Effects(send=effects.send), machine)
        return carry_out(attrs.evolve(effects, send=()), machine)

    with patch.object(sim_node, "carry_out", hasty):
        yield


@planted(
    "A follower asks for what comes next before it has flushed what came (NATS 2.12.1).",
    within=10,
    only="… calls … committed; they are on",
)
def fetch_before_flush() -> Iterator[None]:
    real = replication.may_fetch

    def may_fetch(core: RaftCore) -> bool:
        with _flushed(core):
            return real(core)

    with patch.object(replication, "may_fetch", may_fetch):
        yield


@planted(
    "The leader counts itself before its own flush (etcd#14370).",
    within=20,
)
def leader_counts_itself_before_flush() -> Iterator[None]:
    real = replication._advance_high_watermark

    def advance(core: RaftCore, now_ms: int) -> None:
        with _flushed(core):
            real(core, now_ms)

    with patch.object(replication, "_advance_high_watermark", advance):
        yield


@contextmanager
def _flushed(core: RaftCore) -> Iterator[None]:
    """As if all that was written were flushed."""
    truth, core.log.flushed_end = core.log.flushed_end, core.log.end.offset
    try:
        yield
    finally:
        core.log.flushed_end = truth


@contextmanager
def probing_for_divergence() -> Iterator[None]:
    """No bug, but the ground for one: a deposed leader asks at once whether it must cut, while its flush still runs.

    It asks as nobody (-1), so that nothing is counted. The core itself waits for the flush, so that a cut never meets
    one: its second guard, the generation, shows what it is for only here.
    """
    real_may_fetch, real_fetch = replication.may_fetch, replication._fetch

    def may_fetch(core: RaftCore) -> bool:
        with _flushed(core):
            return real_may_fetch(core)

    def fetch(core: RaftCore, now_ms: int) -> None:
        if core.log.flushed_end == core.log.end.offset or not isinstance(core.role, Follower):
            real_fetch(core, now_ms)
            return
        request = FetchRequest(
            replica=ReplicaKey(NodeId(-1)),
            epoch=core.election.epoch,
            offset=core.log.end.offset,
            last_fetched_epoch=core.log.end.epoch,
            max_wait_ms=0,
            max_bytes=core.config.fetch_max_bytes,
        )
        core.send(Peer(core.role.leader_id, core.role.endpoint), request, now_ms)

    with patch.object(replication, "may_fetch", may_fetch), patch.object(replication, "_fetch", fetch):
        yield


@planted(
    "A flush that began before the log was cut vouches for what was appended since (etcd#22442).",
    within=60,
    worlds=slow_disks,
)
def flush_from_before_a_truncation_believed() -> Iterator[None]:
    real = replication.on_flushed

    def on_flushed(core: RaftCore, event: LogFlushed, now_ms: int) -> None:
        end = Offset(min(event.end_offset, core.log.end.offset))
        real(core, LogFlushed(end, core.log.generation), now_ms)

    with probing_for_divergence(), patch.object(replication, "on_flushed", on_flushed):
        yield


# ---- elections -------------------------------------------------------------------------------------------


@planted(
    "A replica votes for everybody who asks (DaosRaft PR#70).",
    within=60,
)
def two_votes_in_one_epoch() -> Iterator[None]:
    real = elections._grants_vote

    def grants(core: RaftCore, request: VoteRequest, now_ms: int) -> bool:
        if isinstance(core.role, Unattached):
            core.election = attrs.evolve(core.election, voted=None)
        return real(core, request, now_ms)

    with patch.object(elections, "_grants_vote", grants):
        yield


@planted(
    "A vote is given without a look at the candidate's log: it may lack committed records (paper, 5.4.1).",
    within=60,
)
def vote_without_comparing_logs() -> Iterator[None]:
    def ignoring(real: Callable[..., bool]) -> Callable[..., bool]:
        def grants(core: RaftCore, request: VoteRequest, *rest: Any) -> bool:
            best = OffsetAndEpoch(Offset(1 << 40), request.epoch)
            return real(core, attrs.evolve(request, last=best), *rest)

        return grants

    vote, pre_vote = ignoring(elections._grants_vote), ignoring(elections._grants_pre_vote)
    with patch.object(elections, "_grants_vote", vote), patch.object(elections, "_grants_pre_vote", pre_vote):
        yield


@planted(
    "Half of the voters is taken for a majority.",
    within=10,
)
def majority_off_by_one() -> Iterator[None]:
    with half_is_enough():
        yield


@contextmanager
def half_is_enough() -> Iterator[None]:
    half = property(lambda voters: max(1, len(voters.voters) // 2))
    with patch.object(VoterSet, "majority", half):
        yield


@planted(
    "A restarted leader goes on in its epoch: the offsets it lost are given to other records (KRaft: Resigned).",
    within=5,
    only="epoch … is led twice",
)
def restarted_leader_leads_the_same_epoch() -> Iterator[None]:
    real = elections.start

    def start(core: RaftCore, now_ms: int) -> None:
        real(core, now_ms)
        if isinstance(core.role, Resigned) and core.log.end.epoch == core.election.epoch:
            core.role = Leader(Offset(core.log.end.offset - 1), now_ms, now_ms + 3000)

    with patch.object(elections, "start", start):
        yield


@planted(
    "Pre-votes, given in the epoch before and to several, are counted as votes (cockroach#123297).",
    within=10,
    worlds=rivals,
)
def pre_votes_counted_as_votes() -> Iterator[None]:
    real = elections._stand

    def stand(core: RaftCore, why: Why, now_ms: int) -> None:
        before = core.role
        real(core, why, now_ms)
        if isinstance(before, Prospective) and isinstance(core.role, Candidate):
            core.role.granted |= before.granted
            elections._maybe_lead(core, core.role, now_ms)

    with patch.object(elections, "_stand", stand):
        yield


@planted(
    "Two equals refuse each other the pre-vote, over and over: nobody ever leads (kafka#17807).",
    within=5,
    worlds=rivals,
)
def equals_refuse_each_other() -> Iterator[None]:
    real = elections._grants_pre_vote

    def grants(core: RaftCore, request: VoteRequest) -> bool:
        return real(core, request) and request.last != core.log.end

    with patch.object(elections, "_grants_pre_vote", grants):
        yield


@planted(
    "News of an older epoch are followed: the epoch goes back (WRaft PR#118).",
    within=10,
    worlds=rivals,
    only="the epoch went back",
)
def older_epoch_believed() -> Iterator[None]:
    real = elections.on_vote_request

    def on_vote_request(core: RaftCore, token: Token, request: VoteRequest, now_ms: int) -> None:
        if request.epoch < core.election.epoch and not request.pre_vote and not core.leads:
            core.election = core.effects.election = ElectionState(request.epoch)
            core.role = Unattached(now_ms + core.election_timeout())
            core.outstanding.clear()
        real(core, token, request, now_ms)

    with patch.object(elections, "on_vote_request", on_vote_request):
        yield


# ---- the log ---------------------------------------------------------------------------------------------


@planted(
    "The Fetch that arrived last counts, also if it was sent earlier: what a replica has shrinks (PySyncObj#167).",
    within=5,
    worlds=overtaken,
)
def match_regresses_on_reordered_fetches() -> Iterator[None]:
    real = replication._valid_fetch

    def valid_fetch(
        core: RaftCore, role: Leader, progress: Progress, request: FetchRequest, now_ms: int
    ) -> None:
        if progress.end_offset is not None and request.offset < progress.end_offset:
            progress.end_offset = request.offset
            if core.high_watermark is not None:
                core.high_watermark = core.effects.committed = min(core.high_watermark, request.offset)
        real(core, role, progress, request, now_ms)

    with patch.object(replication, "_valid_fetch", valid_fetch):
        yield


@planted(
    "After a crash the log ends before its newest snapshot and is gone on with (etcd#18055: log behind snapshot).",
    within=5,
    worlds=snapshots_and_crashes,
)
def log_behind_its_snapshot_kept() -> Iterator[None]:
    with patch.object(MemoryLog, "_restart_at", _nothing_if_behind(MemoryLog._restart_at)):
        yield


def _nothing_if_behind(real: Callable[[MemoryLog, Offset], None]) -> Callable[[MemoryLog, Offset], None]:
    def restart_at(log: MemoryLog, offset: Offset) -> None:
        if offset > log.end_offset and log._fetched is None:
            return
        real(log, offset)

    return restart_at


@planted(
    "A snapshot says nothing of who votes: who starts from it has lost that history (kafka#21025).",
    within=5,
    worlds=snapshots_and_crashes,
)
def snapshot_loses_the_voters() -> Iterator[None]:
    def at(history: VoterHistory, end: Offset) -> tuple[int, VoterSet]:
        return history.kraft_version, VoterSet.empty()

    with patch.object(VoterHistory, "at", at):
        yield


@planted(
    "Records of an older epoch are committed by counting replicas (paper, figure 8; PySyncObj#169).",
    within=10,
    only="… leads epoch … and commits",
)
def old_epoch_committed_by_counting() -> Iterator[None]:
    real = replication._advance_high_watermark

    def advance(core: RaftCore, now_ms: int) -> None:
        role = core.role
        if not isinstance(role, Leader):
            return
        truth, role.epoch_start = role.epoch_start, Offset(-1)
        try:
            real(core, now_ms)
        finally:
            role.epoch_start = truth

    with patch.object(replication, "_advance_high_watermark", advance):
        yield


@planted(
    "A follower cuts its log back to where the diverging epoch began, committed or not (raftos#26).",
    within=60,
)
def truncation_below_the_high_watermark() -> Iterator[None]:
    real = replication._truncate

    def truncate(core: RaftCore, diverging: OffsetAndEpoch) -> None:
        known, core.high_watermark = core.high_watermark, None
        starts = [one.offset for one in core.log.epochs.starts if one.epoch <= diverging.epoch]
        cut = max(core.log.start, starts[-1] if starts else Offset(0))
        try:
            real(core, OffsetAndEpoch(cut, diverging.epoch))
        finally:
            core.high_watermark = known

    with patch.object(replication, "_truncate", truncate):
        yield


@planted(
    "Answers to Fetches that were given up, or answered before, are taken as if just asked for (SandTable, RaftOS).",
    within=40,
)
def stale_fetch_response_accepted() -> Iterator[None]:
    real = RaftCore._on_response
    sent: dict[RaftCore, dict[Correlation, Outstanding]] = {}

    def on_response(core: RaftCore, correlation: Correlation, response: Response, now_ms: int) -> None:
        old = sent.setdefault(core, {}).get(correlation)
        if old is None or correlation in core.outstanding or not isinstance(response, FetchResponse):
            real(core, correlation, response, now_ms)
        elif response.error is ErrorCode.none and isinstance(old.request, FetchRequest):
            request = attrs.evolve(old.request, offset=core.log.end.offset)
            answer = attrs.evolve(response, leader=LeaderAndEpoch(core.election.epoch))
            replication.on_fetch_response(core, old.peer, request, answer, now_ms)

    real_send = RaftCore.send

    def send(core: RaftCore, *arguments: Any) -> Correlation:
        newest = real_send(core, *arguments)
        sent.setdefault(core, {})[newest] = core.outstanding[newest]
        return newest

    with (
        patch.object(RaftCore, "_on_response", on_response),
        patch.object(RaftCore, "send", send),
        patch.object(replication, "_continue", lambda core, batches: True),  # it would catch most of them
    ):
        yield


@planted(
    "The leader does not ask whether the replica's log is a prefix of its own.",
    within=30,
)
def divergence_not_looked_for() -> Iterator[None]:
    with patch.object(replication, "_diverging", lambda core, request: None):
        yield


@planted(
    "Who parted from the log below its start is told so, over and over, and never cuts (our own, found by a seed).",
    within=60,
    worlds=compacted_while_away,
)
def no_snapshot_for_an_older_history() -> Iterator[None]:
    real = replication._needs_snapshot

    def needs_snapshot(core: RaftCore, request: FetchRequest) -> OffsetAndEpoch | None:
        oldest = next((one for one in core.log.snapshots if one.offset > 0), None)
        if (
            oldest is not None
            and request.offset > core.log.start
            and request.last_fetched_epoch < oldest.epoch
        ):
            return None
        return real(core, request)

    with patch.object(replication, "_needs_snapshot", needs_snapshot):
        yield


@planted(
    "An observer is served what is not committed, applies it, and has to take it back.",
    within=20,
    only="observer … cut its log",
)
def observer_served_uncommitted() -> Iterator[None]:
    with patch.object(replication, "_limit", lambda core, is_voter: core.log.end.offset):
        yield


@planted(
    "A new leader tells its high watermark before a record of its epoch is committed: it goes back (PySyncObj#166).",
    within=40,
)
def high_watermark_told_too_early() -> Iterator[None]:
    with patch.object(
        replication, "_told_high_watermark", lambda core, role: core.high_watermark or Offset(0)
    ):
        yield


@planted(
    "A wiped disk votes and acknowledges as its old self: the directory id is not looked at (KAFKA-14205).",
    within=80,
)
def directory_id_ignored() -> Iterator[None]:
    def contains(voters: VoterSet, key: Any) -> bool:
        return NodeId(key.id) in voters.voters

    with patch.object(VoterSet, "contains", contains):
        yield
