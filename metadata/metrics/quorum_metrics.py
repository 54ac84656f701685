"""What a replica's core tells: its role, its log, who follows it (pure).

Kafka's names, in the declarations, are those of `raft-metrics` (KIP-595, KIP-853).
"""

from collections.abc import Iterable, Iterator
from typing import Final

from quorate.metadata.ids import uuid_to_text
from quorate.metadata.metrics.declared import Family, Sample, counter, gauge, state_set
from quorate.metadata.quorum.core import RaftCore
from quorate.metadata.quorum.roles import Leader, Progress
from quorate.metadata.quorum.transitions import TRANSITIONS, RoleName, Why

_REPLICA: Final = ("replica", "directory", "kind")
_OBSERVER_IS_GONE_MS: Final = 300_000
"""As in Kafka: an observer that was silent for so long is none any more, nor a series."""

ROLE: Final = state_set(
    "quorum_role",
    "The role of this replica. Observers (brokers) are followers or unattached.",
    (role.value for role in RoleName),
    kafka="current-state",
)
VOTER: Final = gauge("quorum_voter", "1 if this replica is a voter, 0 if it observes.")
EPOCH: Final = gauge("quorum_epoch", "The newest epoch that this replica knows.", kafka="current-epoch")
LEADER: Final = gauge(
    "quorum_leader_id", "The leader of that epoch; -1 if none is known.", kafka="current-leader"
)
VOTED: Final = gauge(
    "quorum_voted_id", "For whom it voted in that epoch; -1 for nobody.", kafka="current-vote"
)
HIGH_WATERMARK: Final = gauge(
    "quorum_high_watermark",
    "Everything below is committed, as far as this replica knows; -1 before it knows anything.",
    unit="offset",
    kafka="high-watermark",
)
VOTERS: Final = gauge(
    "quorum_voters", "Voters in force, the newest set in this log.", kafka="number-of-voters"
)
OBSERVERS: Final = gauge(
    "quorum_observers",
    "Replicas beyond the voters that fetch from this leader, or did five minutes ago; only at the leader.",
    kafka="number-of-observers",
)
PRE_VOTES: Final = counter("quorum_pre_votes_started", "Times it asked whether it would be elected.")
ELECTIONS_STARTED: Final = counter("quorum_elections_started", "Times it stood for election.")
ELECTIONS_WON: Final = counter("quorum_elections_won", "Elections that made it leader.")
ELECTIONS_LOST: Final = counter("quorum_elections_lost", "Elections in which it stood and did not win.")
LEADERSHIPS_ENDED: Final = counter(
    "quorum_leaderships_ended", "Times it stopped being leader, whatever the reason."
)
REPLICA_LAG: Final = gauge(
    "quorum_replica_lag_records",
    "Records of the leader's log that a voter or observer lacks, as its last Fetch told; only at the leader.",
    unit="records",
    labels=_REPLICA,
    kafka="DescribeQuorum: lag",
)
REPLICA_SILENCE: Final = gauge(
    "quorum_replica_fetch_age_seconds",
    "Time since the last Fetch of a voter or observer; only at the leader.",
    unit="seconds",
    labels=_REPLICA,
    kafka="DescribeQuorum: lastFetchTimestamp",
)
LOG_START: Final = gauge("log_start_offset", "First offset of the metadata log on this disk.", unit="offset")
LOG_END: Final = gauge(
    "log_end_offset", "The offset after the last record.", unit="offset", kafka="log-end-offset"
)
LOG_END_EPOCH: Final = gauge("log_end_epoch", "The epoch of the last record.", kafka="log-end-epoch")
FLUSHED_END: Final = gauge(
    "log_flushed_end_offset",
    "Everything below is on the disk. A broker's log is a cache that is not waited for: there it is the end.",
    unit="offset",
)
BATCHES: Final = counter(
    "log_appended_batches", "Batches appended to this replica's log, its own and fetched ones."
)
RECORDS: Final = counter(
    "log_appended_records", "Records in them.", kafka="append-records-rate, fetch-records-rate"
)
SNAPSHOT_END: Final = gauge(
    "snapshot_end_offset",
    "The offset at which the newest snapshot on this disk ends; -1 if there is none.",
    unit="offset",
)
SNAPSHOT_EPOCH: Final = gauge("snapshot_epoch", "The epoch of that snapshot; -1 if there is none.")

FAMILIES: Final[tuple[Family, ...]] = (
    ROLE,
    VOTER,
    EPOCH,
    LEADER,
    VOTED,
    HIGH_WATERMARK,
    VOTERS,
    OBSERVERS,
    PRE_VOTES,
    ELECTIONS_STARTED,
    ELECTIONS_WON,
    ELECTIONS_LOST,
    LEADERSHIPS_ENDED,
    REPLICA_LAG,
    REPLICA_SILENCE,
    LOG_START,
    LOG_END,
    LOG_END_EPOCH,
    FLUSHED_END,
    BATCHES,
    RECORDS,
    SNAPSHOT_END,
    SNAPSHOT_EPOCH,
)


def quorum_samples(core: RaftCore, now_ms: int) -> Iterator[Sample]:
    leader = core.leader_and_epoch.leader_id
    voted = core.election.voted
    yield ROLE.of(core.role.name.value)
    yield VOTER.of(core.is_voter)
    yield EPOCH.of(core.election.epoch)
    yield LEADER.of(-1 if leader is None else leader)
    yield VOTED.of(-1 if voted is None else voted.id)
    yield HIGH_WATERMARK.of(-1 if core.high_watermark is None else core.high_watermark)
    yield VOTERS.of(len(core.voters.voters))
    yield from _elections(core)
    yield from _log(core)
    if isinstance(core.role, Leader):
        yield from _replicas(core, core.role, now_ms)


def _elections(core: RaftCore) -> Iterator[Sample]:
    changes = core.tally.role_changes
    won = (RoleName.CANDIDATE, Why.VOTES_WON)
    yield PRE_VOTES.of(sum(changes[step] for step in _into(RoleName.PROSPECTIVE)))
    yield ELECTIONS_STARTED.of(sum(changes[step] for step in _into(RoleName.CANDIDATE)))
    yield ELECTIONS_WON.of(changes[won])
    yield ELECTIONS_LOST.of(sum(changes[step] for step in _out_of(RoleName.CANDIDATE) if step != won))
    yield LEADERSHIPS_ENDED.of(sum(changes[step] for step in _out_of(RoleName.LEADER)))


def _into(role: RoleName) -> Iterable[tuple[RoleName, Why]]:
    return (step for step, after in TRANSITIONS.items() if after is role)


def _out_of(role: RoleName) -> Iterable[tuple[RoleName, Why]]:
    return (step for step in TRANSITIONS if step[0] is role)


def _log(core: RaftCore) -> Iterator[Sample]:
    log, newest = core.log, core.log.newest_snapshot
    yield LOG_START.of(log.start)
    yield LOG_END.of(log.end.offset)
    yield LOG_END_EPOCH.of(log.end.epoch)
    yield FLUSHED_END.of(log.flushed_end)
    yield BATCHES.of(core.tally.batches_appended)
    yield RECORDS.of(core.tally.records_appended)
    yield SNAPSHOT_END.of(-1 if newest is None else newest.offset)
    yield SNAPSHOT_EPOCH.of(-1 if newest is None else newest.epoch)


def _replicas(core: RaftCore, role: Leader, now_ms: int) -> Iterator[Sample]:
    """Of the others, as far as they have fetched in this epoch; the leader has no lag behind itself."""
    end = core.log.end.offset
    observers = 0
    for key, progress in role.progress.items():
        is_voter = core.voters.contains(key)
        if key.id == core.id or (not is_voter and _is_gone(progress, now_ms)):
            continue
        observers += not is_voter
        directory = "" if key.directory_id is None else uuid_to_text(key.directory_id)
        labels = (str(key.id), directory, "voter" if is_voter else "observer")
        if progress.end_offset is not None:
            yield REPLICA_LAG.of(max(0, end - progress.end_offset), *labels)
        if progress.last_fetch_ms is not None:
            yield REPLICA_SILENCE.of(max(0, now_ms - progress.last_fetch_ms) / 1000, *labels)
    yield OBSERVERS.of(observers)


def _is_gone(observer: Progress, now_ms: int) -> bool:
    return observer.last_fetch_ms is None or now_ms - observer.last_fetch_ms > _OBSERVER_IS_GONE_MS
