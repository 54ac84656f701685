"""Bugs put in on purpose in changes of who votes: see `planted_bugs`.

Each has a story of its own, told with real cores (`tests.scenarios.driver`): such bugs need a leader that is cut off at
one certain moment. The seed says how long the pauses between its steps are; all of them must end well without the bug.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from quorate.metadata.ids import NodeId, OffsetAndEpoch, ReplicaKey
from quorate.metadata.log.interface import LogSummary
from quorate.metadata.quorum import membership, replication
from quorate.metadata.quorum.core import LogState, RaftCore
from quorate.metadata.quorum.roles import Candidate, Leader, Prospective
from quorate.metadata.quorum.voters import BOOTSTRAP_OFFSET, VoterHistory, VoterSet
from quorate.metadata.records import VotersRecord
from tests.scenarios.driver import Replica, World
from tests.sim.planted_bugs import planted

# ---- what is looked for ----------------------------------------------------------------------------------


def voters_in(log: LogSummary, below: int) -> set[ReplicaKey]:
    """The last set in the log, counted anew."""
    sets = [record for offset, record in log.control if isinstance(record, VotersRecord) and offset < below]
    if not sets:
        return set()
    return {ReplicaKey(NodeId(one.voter_id), one.voter_directory_id) for one in sets[-1].voters}


def problem(world: World) -> str | None:
    """Records that are committed twice differently; voters that are not the log's; candidates that have no vote."""
    committed: dict[int, bytes] = {}
    for one in world.replicas.values():
        summary = one.log.summary()
        if not one.up:
            continue
        known = one.core.high_watermark or 0
        empty = summary.start == summary.end.offset
        for batch in () if empty else one.log.read(summary.start, summary.end.offset, 1 << 30):
            if (
                batch.end_offset <= known
                and committed.setdefault(batch.base_offset, batch.data) != batch.data
            ):
                return f"{one.name} committed something else at {batch.base_offset} than another node"
        believed, on_disk = set(one.core.voters.keys.values()), voters_in(summary, summary.end.offset)
        if believed != on_disk:
            return f"{one.name} takes {_ids(believed)} for the voters, its log says {_ids(on_disk)}"
        stands = isinstance(one.core.role, Prospective | Candidate)
        if stands and known and one.config.replica not in voters_in(summary, known):
            return f"{one.name} stands for election, and its log says that it was removed"
    return None


def _ids(keys: set[ReplicaKey]) -> list[int]:
    return sorted(key.id for key in keys)


class _Story:
    """A cluster that is told what to do, and looked at every few milliseconds."""

    def __init__(self, seed: int, voters: int) -> None:
        self.world = World()
        self.world.nodes(voters)
        self.rng = random.Random(f"story {seed}")
        self.problem: str | None = None
        for one in self.world.replicas.values():
            one.start()
        self.run(1500)

    def run(self, milliseconds: int) -> None:
        for _ in range(0, milliseconds + self.rng.randint(0, 20), 5):
            self.world.run(5)
            self.problem = self.problem or problem(self.world)

    def node(self, number: int) -> Replica:
        return self.world.replicas[NodeId(number)]

    def leader(self) -> Replica:
        """Of the newest epoch."""
        leaders = [one for one in self.world.replicas.values() if one.up and one.core.leads]
        return max(leaders, key=lambda one: one.core.election.epoch)

    def cut(self, one: Replica, *others: Replica) -> None:
        for other in others:
            self.world.cut(one.id, other.id)
            self.world.cut(other.id, one.id)


# ---- the stories, and the bugs that they show --------------------------------------------------------------


def two_leaders_change_the_voters(seed: int) -> str | None:
    """Ongaro's counter-example (raft-dev, 2015): one leader adds a voter, the next one removes that leader."""
    story = _Story(seed, voters=4)
    first = story.leader()
    story.world.spare(NodeId(5))
    fifth = story.node(5)
    fifth.start()
    story.run(600)
    others = [one for one in story.world.replicas.values() if one not in (first, fifth)]
    story.cut(first, *others)
    story.world.add_voter(first, fifth)
    while (second := story.leader()) is first:
        story.world.run(1)
    third, fourth = (one for one in others if one is not second)
    story.cut(fourth, second, third)
    story.run(10)
    story.world.remove_voter(second, first.config.replica)
    story.run(200)
    story.world.heal()
    for one in (second, third):
        story.cut(one, first, fourth, fifth)
    story.run(15_000)
    story.world.heal()
    story.run(5000)
    return story.problem


@planted(
    "A leader changes the voters before a record of its epoch is committed: two majorities (Ongaro, raft-dev 2015).",
    within=3,
    trial=two_leaders_change_the_voters,
)
def voters_changed_before_the_epochs_first_commit() -> Iterator[None]:
    with first_commit_not_waited_for():
        yield


@contextmanager
def first_commit_not_waited_for() -> Iterator[None]:
    real = membership._not_now

    def not_now(core: RaftCore, *own: object) -> membership.Refusal | None:
        role = core.role
        if not isinstance(role, Leader):
            return real(core, *own)  # type: ignore[arg-type]
        truth, role.high_watermark_known = role.high_watermark_known, True
        try:
            return real(core, *own)  # type: ignore[arg-type]
        finally:
            role.high_watermark_known = truth

    with patch.object(membership, "_not_now", not_now):
        yield


def change_is_cut_off(seed: int) -> str | None:
    """A removal that was never committed goes with its record."""
    story = _Story(seed, voters=3)
    first = story.leader()
    others = [one for one in story.world.replicas.values() if one is not first]
    story.cut(first, *others)
    story.world.remove_voter(first, others[-1].config.replica)
    story.run(4000)
    story.world.heal()
    story.run(3000)
    return story.problem


@planted(
    "A change of the voters outlives the record that was cut off (PySyncObj#133, openraft's effective membership).",
    within=3,
    trial=change_is_cut_off,
)
def truncated_change_not_undone() -> Iterator[None]:
    real = replication._truncate

    def truncate(core: RaftCore, diverging: OffsetAndEpoch) -> None:
        kept = core.log.voters
        real(core, diverging)
        core.log.voters = kept

    with patch.object(replication, "_truncate", truncate):
        yield


def grown_and_restarted(seed: int) -> str | None:
    """A fourth voter; then everybody starts again."""
    story = _Story(seed, voters=3)
    story.world.spare(NodeId(4))
    story.node(4).start()
    story.run(600)
    story.world.add_voter(story.leader(), story.node(4))
    story.run(500)
    for one in story.world.replicas.values():
        one.die()
    for one in story.world.replicas.values():
        one.start()
    story.run(3000)
    return story.problem


@planted(
    "Who starts again goes by the voters that it was formatted with (PySyncObj#133).",
    within=3,
    trial=grown_and_restarted,
)
def restart_with_the_first_voters() -> Iterator[None]:
    real = LogState.of.__func__  # type: ignore[attr-defined]

    def of(cls: type[LogState], summary: LogSummary) -> LogState:
        state: LogState = real(cls, summary)
        first = state.voters.sets[:1] or ((BOOTSTRAP_OFFSET, VoterSet.empty()),)
        state.voters = VoterHistory(first, state.voters.versions)
        return state

    with patch.object(LogState, "of", classmethod(of)):
        yield


def removed_and_cut_off(seed: int) -> str | None:
    """A voter is removed, learns it, and then hears of nobody."""
    story = _Story(seed, voters=3)
    first = story.leader()
    removed = next(one for one in story.world.replicas.values() if one is not first)
    story.world.remove_voter(first, removed.config.replica)
    story.run(1500)
    story.cut(removed, *(one for one in story.world.replicas.values() if one is not removed))
    story.run(6000)
    story.world.heal()
    story.run(3000)
    return story.problem


@planted(
    "A voter that was removed goes on as one: it stands for election whenever it hears of nobody (KAFKA-19850).",
    within=3,
    trial=removed_and_cut_off,
)
def removed_voter_stands_again() -> Iterator[None]:
    real = RaftCore._judge

    def judge(core: RaftCore) -> tuple[VoterSet, bool, bool]:
        voters, is_voter, entry_is_old = real(core)
        once = any(known.contains(core.config.replica) for _, known in core.log.voters.sets)
        return voters, is_voter or once, entry_is_old and is_voter

    with patch.object(RaftCore, "_judge", judge):
        yield
