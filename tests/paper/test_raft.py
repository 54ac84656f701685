"""The rules of "In Search of an Understandable Consensus Algorithm" (Ongaro, Ousterhout 2014), one test a sentence."""

import pytest

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.ids import Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import LogFlushed, Proposed, ResponseReceived
from quorate.metadata.quorum.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    FetchRequest,
    FetchResponse,
    LeaderAndEpoch,
    VoteRequest,
    VoteResponse,
)
from quorate.metadata.records import LeaderChangeRecord, NoOpRecord
from tests.paper.bench import KEYS, LOG, Bench, endpoint


def batch(offset: int, epoch: int) -> RecordBatch:
    return RecordBatch.seal(
        [NoOpRecord(version=0)], base_offset=Offset(offset), epoch=Epoch(epoch), append_time_ms=0
    )


def following(leader: int = 2, epoch: int = 4) -> Bench:
    """A follower with a Fetch under way."""
    bench = Bench()
    bench.receive(
        BeginQuorumEpochRequest(
            epoch=Epoch(epoch), leader_id=NodeId(leader), voter=KEYS[1], endpoints=(endpoint(leader),)
        )
    )
    return bench


def answer_fetch(bench: Bench, **fields: object) -> None:
    one, _ = bench.sent(FetchRequest)[0]
    leader = LeaderAndEpoch(bench.epoch, NodeId(2), endpoint(2))
    bench.step(ResponseReceived(one.correlation, FetchResponse(leader=leader, **fields)))  # type: ignore[arg-type]


# ---- 5.1


def test_if_a_servers_term_is_smaller_than_the_others_it_updates_its_own() -> None:
    """5.1: "if one server's current term is smaller than the other's, then it updates its current term"."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=9))
    assert bench.epoch == 9


def test_a_leader_that_discovers_a_higher_term_reverts_to_follower_state() -> None:
    """5.1: "If a candidate or leader discovers that its term is out of date, it immediately reverts"."""
    bench = Bench()
    bench.become_leader()
    bench.receive(bench.vote_request(2, epoch=bench.epoch + 1))
    assert bench.role == "unattached"


def test_a_request_with_a_stale_term_is_rejected() -> None:
    """5.1: "If a server receives a request with a stale term number, it rejects the request"."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=9))
    bench.receive(bench.vote_request(3, epoch=8, last=OffsetAndEpoch(Offset(99), Epoch(7))))
    assert bench.answered(VoteResponse).error is ErrorCode.fenced_leader_epoch
    assert bench.answered(VoteResponse).leader.epoch == 9


# ---- 5.2


def test_to_begin_an_election_it_increments_its_term_and_votes_for_itself() -> None:
    """5.2: "a follower increments its current term and transitions to candidate state. It then votes for itself"."""
    bench = Bench()
    bench.become_candidate()
    assert bench.core.election == ElectionState(Epoch(4), None, KEYS[1])
    assert bench.last.election == bench.core.election
    assert {one.peer.id for one, _ in bench.sent(VoteRequest)} == {2, 3}


def test_it_wins_with_votes_of_a_majority() -> None:
    """5.2: "A candidate wins an election if it receives votes from a majority of the servers"."""
    bench = Bench()
    bench.become_candidate()
    bench.answer_votes(3)
    assert bench.role == "leader"


def test_it_does_not_win_without_a_majority() -> None:
    bench = Bench()
    bench.become_candidate()
    bench.answer_votes()
    assert bench.role != "leader"
    assert bench.epoch == 4


def test_each_server_votes_for_at_most_one_candidate_in_a_term() -> None:
    """5.2: "Each server will vote for at most one candidate in a given term, on a first-come-first-served basis"."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=4))
    assert bench.answered(VoteResponse).granted
    bench.receive(bench.vote_request(3, epoch=4))
    assert not bench.answered(VoteResponse).granted


def test_the_same_candidate_is_granted_the_same_vote_again() -> None:
    """5.5: "Raft RPCs are idempotent"."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=4))
    bench.receive(bench.vote_request(2, epoch=4))
    assert bench.answered(VoteResponse).granted


def test_the_vote_is_persistent_before_it_is_answered() -> None:
    """Figure 2: "Persistent state on all servers: (Updated on stable storage before responding to RPCs)"."""
    bench = Bench()
    effects = bench.receive(bench.vote_request(2, epoch=4))
    assert effects.election == ElectionState(Epoch(4), None, KEYS[2])
    assert bench.answered(VoteResponse).granted


def test_a_vote_survives_a_restart() -> None:
    bench = Bench(election=ElectionState(Epoch(4), None, KEYS[2]))
    bench.receive(bench.vote_request(3, epoch=4))
    assert not bench.answered(VoteResponse).granted


def test_a_candidate_that_hears_a_legitimate_leader_returns_to_follower_state() -> None:
    """5.2: "If the leader's term is at least as large as the candidate's ..., then the candidate ... returns"."""
    bench = Bench()
    bench.become_candidate()
    bench.receive(
        BeginQuorumEpochRequest(
            epoch=bench.epoch, leader_id=NodeId(2), voter=KEYS[1], endpoints=(endpoint(2),)
        )
    )
    assert bench.role == "follower"
    assert bench.answered(BeginQuorumEpochResponse).error is ErrorCode.none


def test_a_leader_of_a_smaller_term_is_rejected() -> None:
    """5.2: "If the term in the RPC is smaller than the candidate's current term, then the candidate rejects"."""
    bench = Bench()
    bench.become_candidate()
    bench.receive(BeginQuorumEpochRequest(epoch=Epoch(3), leader_id=NodeId(2), voter=KEYS[1]))
    assert bench.role == "candidate"
    assert bench.answered(BeginQuorumEpochResponse).error is ErrorCode.fenced_leader_epoch


def test_election_timeouts_are_random_within_one_to_two_timeouts() -> None:
    """5.2: "election timeouts are chosen randomly from a fixed interval"."""
    bench = Bench()
    drawn = {bench.core.election_timeout() for _ in range(200)}
    assert min(drawn) >= 1000
    assert max(drawn) < 2000
    assert len(drawn) > 100


def test_at_most_one_leader_in_a_term() -> None:
    """5.2, Election Safety: two leaders of one term end the process that hears of the second."""
    bench = following(leader=2, epoch=4)
    with pytest.raises(InvariantViolated, match="two leaders in epoch 4"):
        bench.receive(
            BeginQuorumEpochRequest(
                epoch=Epoch(4), leader_id=NodeId(3), voter=KEYS[1], endpoints=(endpoint(3),)
            )
        )


# ---- 5.3


def test_a_leader_never_overwrites_its_log() -> None:
    """5.3, Leader Append-Only: it only appends at the end."""
    bench = Bench()
    bench.become_leader()
    with pytest.raises(InvariantViolated, match="cannot follow a log"):
        bench.step(Proposed(bench.epoch, (batch(5, bench.epoch),)))


def test_an_entry_is_committed_once_a_majority_has_it() -> None:
    """5.3: "A log entry is committed once the leader ... has replicated it on a majority of the servers"."""
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    assert bench.last.committed is None
    bench.fetch(2)
    assert bench.last.committed == bench.core.log.end.offset


def test_a_leader_counts_itself_only_when_its_own_disk_has_it() -> None:
    """A promise must survive a crash of whoever made it: also the leader's."""
    bench = Bench()
    bench.become_leader()
    bench.fetch(2)
    assert bench.last.committed is None
    bench.flushed()
    assert bench.last.committed == bench.core.log.end.offset


def test_a_flush_from_before_a_truncation_proves_nothing() -> None:
    bench = following()
    old = bench.core.log.generation
    answer_fetch(bench, batches=(batch(10, 3),))
    assert bench.core.log.flushed_end == 10
    answer = LogFlushed(Offset(11), old - 1)
    bench.step(answer)
    assert bench.core.log.flushed_end == 10


def test_a_follower_tells_of_its_log_only_when_it_is_flushed() -> None:
    """Figure 2 again: the next Fetch is the acknowledgement, so it waits for the flush."""
    bench = following()
    answer_fetch(bench, batches=(batch(10, 3),))
    assert bench.last.flush is not None
    assert not bench.sent(FetchRequest)
    bench.flushed()
    assert bench.sent(FetchRequest)[0][1].offset == 11


def test_a_follower_that_does_not_match_is_told_where_logs_part() -> None:
    """5.3: "If a follower's log is inconsistent with the leader's, the AppendEntries consistency check will fail"."""
    bench = Bench()
    bench.become_leader()
    bench.fetch(2, offset=14, last_epoch=2)
    answer = bench.answered(FetchResponse)
    assert answer.diverging == OffsetAndEpoch(Offset(0), Epoch(0))
    assert answer.read is None


def test_a_follower_deletes_what_conflicts() -> None:
    """Figure 2: "If an existing entry conflicts with a new one, delete the existing entry and all that follow it"."""
    bench = following()
    answer_fetch(bench, diverging=OffsetAndEpoch(Offset(6), Epoch(3)))
    assert bench.last.truncate_to == 6
    assert bench.core.log.end == OffsetAndEpoch(Offset(6), Epoch(3))


def test_nothing_committed_is_ever_deleted() -> None:
    """5.4, State Machine Safety: a leader that asks for it ends the process."""
    bench = following()
    answer_fetch(bench, high_watermark=Offset(8))
    with pytest.raises(InvariantViolated, match="below the high watermark"):
        answer_fetch(bench, diverging=OffsetAndEpoch(Offset(6), Epoch(3)))


# ---- 5.4


@pytest.mark.parametrize(
    ("offset", "epoch", "granted"),
    [(10, 3, True), (11, 3, True), (2, 4, True), (9, 3, False), (99, 2, False)],
)
def test_the_voter_denies_its_vote_if_its_own_log_is_more_up_to_date(
    offset: int, epoch: int, granted: bool
) -> None:
    """5.4.1: the later term wins; with the same term, the longer log."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=9, last=OffsetAndEpoch(Offset(offset), Epoch(epoch))))
    assert bench.answered(VoteResponse).granted is granted


def test_entries_of_previous_terms_are_not_committed_by_counting_replicas() -> None:
    """5.4.2: "Raft never commits log entries from previous terms by counting replicas"."""
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    bench.fetch(2, offset=LOG.offset, last_epoch=LOG.epoch)
    assert bench.last.committed is None
    assert bench.core.high_watermark is None


def test_an_entry_of_its_own_term_commits_all_before_it() -> None:
    """5.4.2: "once an entry from the current term has been committed in this way, then all prior entries are"."""
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    bench.fetch(3)
    assert bench.core.high_watermark == bench.core.log.end.offset > LOG.offset


# ---- 8


def test_a_leader_begins_its_term_with_an_entry() -> None:
    """8: "each leader [commits] a blank no-op entry into the log at the start of its term" (here: LeaderChange)."""
    bench = Bench()
    bench.become_leader()
    first = bench.last.append[0]
    assert first.is_control
    assert isinstance(first.records()[0], LeaderChangeRecord)
    assert first.epoch == bench.epoch


def test_a_restarted_leader_never_leads_its_term_again() -> None:
    """An unflushed tail may be lost: an offset of this term could come to name two entries."""
    bench = Bench(election=ElectionState(Epoch(3), NodeId(1), KEYS[1]))
    assert bench.role == "resigned"
    bench.become_leader()
    assert bench.epoch == 4
