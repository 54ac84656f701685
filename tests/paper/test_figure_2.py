"""Figure 2 of the Raft paper, row by row, where `test_raft` has no test of the sentence yet.

Terms are epochs here, AppendEntries is pulled: a follower's Fetch is the call, and its answer carries the entries.
"""

import attrs
import pytest

from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.ids import LOG_START, Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.log.interface import EpochStart
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import Failure, RequestFailed, ResponseReceived, Started, TimePassed
from quorate.metadata.quorum.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    FetchRequest,
    FetchResponse,
    LeaderAndEpoch,
    LogRead,
    Request,
    VoteRequest,
    VoteResponse,
)
from quorate.metadata.quorum.roles import Candidate, Follower, Leader, Unattached
from tests.paper.bench import KEYS, LOG, Bench, endpoint
from tests.paper.test_raft import answer_fetch, batch, following

FIVE = (1, 2, 3, 4, 5)


def answer_later(bench: Bench, later_ms: int, **fields: object) -> None:
    """The leader's answer to the Fetch under way, after a while."""
    asked = bench.last
    bench.step(TimePassed(), later_ms)
    bench.last = asked
    answer_fetch(bench, **fields)


def deadline(bench: Bench) -> int:
    """When it would ask for votes."""
    role = bench.core.role
    if isinstance(role, Follower):
        return role.fetch_deadline_ms
    assert isinstance(role, Unattached | Candidate)
    assert role.election_deadline_ms is not None
    return role.election_deadline_ms


# ---- State


def test_a_first_boot_begins_at_term_zero_without_a_vote() -> None:
    """Figure 2, State: "latest term server has seen (initialized to 0 on first boot)", "votedFor ... or null"."""
    bench = Bench(log=LOG_START, election=ElectionState.primordial())
    assert bench.core.election == ElectionState(Epoch(0), None, None)
    assert bench.core.high_watermark is None


def test_a_term_behind_the_log_is_no_state_to_start_from() -> None:
    """Figure 2, State: the term "increases monotonically", and was written before any entry of it."""
    bench = Bench()
    bench.core.election = ElectionState(Epoch(LOG.epoch - 1))
    with pytest.raises(InvariantViolated, match="quorum-state knows epoch 2, the log has records of epoch 3"):
        bench.core.step(Started(), 0)


def test_a_new_term_begins_without_a_vote() -> None:
    """Figure 2, State: votedFor is "candidateId that received vote in current term"."""
    bench = Bench(election=ElectionState(Epoch(4), None, KEYS[2]))
    bench.receive(bench.vote_request(3, epoch=5))
    assert bench.answered(VoteResponse).granted
    assert bench.last.election == ElectionState(Epoch(5), None, KEYS[3])


def test_the_vote_is_kept_beside_the_leader_of_its_term() -> None:
    """Figure 2, State: votedFor holds for the whole term, also once somebody leads it."""
    bench = Bench()
    bench.receive(bench.vote_request(3, epoch=4))
    bench.receive(BeginQuorumEpochRequest(epoch=Epoch(4), leader_id=NodeId(2), voter=KEYS[1]))
    assert bench.last.election == ElectionState(Epoch(4), NodeId(2), KEYS[3])


def test_after_a_restart_nothing_counts_as_committed() -> None:
    """Figure 2, volatile state: commitIndex is "initialized to 0": a log on disk proves no commit."""
    assert Bench().core.high_watermark is None


def test_a_snapshot_is_proof_of_what_was_committed() -> None:
    """Section 7: snapshots cover committed entries only, so a restart knows that much."""
    snapshot = OffsetAndEpoch(Offset(6), Epoch(3))
    bench = Bench(snapshots=(snapshot,))
    assert bench.core.high_watermark == 6
    assert bench.last.committed == 6


def test_what_a_follower_acknowledged_is_not_taken_back() -> None:
    """Figure 2, volatile state on leaders: matchIndex "increases monotonically": calls may be reordered."""
    bench = Bench()
    bench.become_leader()
    bench.fetch(2)
    bench.fetch(2, offset=LOG.offset, last_epoch=LOG.epoch)
    bench.flushed()
    assert bench.core.high_watermark == bench.core.log.end.offset


def test_a_new_leader_knows_of_nobodys_log() -> None:
    """Figure 2, volatile state on leaders: "Reinitialized after election"."""
    bench = Bench()
    bench.become_leader()
    bench.fetch(2)
    bench.receive(bench.vote_request(3, epoch=9, last=OffsetAndEpoch(Offset(1), Epoch(1))))
    bench.become_leader()
    role = bench.core.role
    assert isinstance(role, Leader)
    assert role.progress == {}


# ---- AppendEntries, receiver


def test_an_answer_of_a_smaller_term_appends_nothing() -> None:
    """Figure 2, AppendEntries 1: "Reply false if term < currentTerm"."""
    bench = following(epoch=4)
    before = deadline(bench)
    one, _ = bench.sent(FetchRequest)[0]
    bench.step(TimePassed(), 100)
    stale = LeaderAndEpoch(Epoch(3), NodeId(2), endpoint(2))
    bench.step(ResponseReceived(one.correlation, FetchResponse(leader=stale, batches=(batch(10, 3),))))
    assert bench.last.append == []
    assert deadline(bench) == before
    assert not bench.core.role.has_fetched  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("offset", "last_epoch", "expected"),
    [
        (10, 3, None),
        (10, 2, (6, 2)),  # at 10 it has epoch 3 here, epoch 2 there
        (6, 2, None),
        (7, 2, (6, 2)),
        (6, 1, (2, 1)),
        (12, 3, (10, 3)),  # more of the epoch than the leader ever had
    ],
)
def test_the_entry_before_must_be_of_the_same_term(
    offset: int, last_epoch: int, expected: tuple[int, int] | None
) -> None:
    """Figure 2, AppendEntries 2: "false if log doesn't contain an entry at prevLogIndex whose term matches"."""
    starts = (
        EpochStart(Epoch(1), Offset(0)),
        EpochStart(Epoch(2), Offset(2)),
        EpochStart(Epoch(3), Offset(6)),
    )
    bench = Bench(epochs=starts)
    bench.become_leader()
    bench.fetch(2, offset=offset, last_epoch=last_epoch)
    diverging = bench.answered(FetchResponse).diverging
    assert (diverging and (diverging.offset, diverging.epoch)) == expected


def test_entries_that_agree_are_never_deleted() -> None:
    """Figure 2, AppendEntries 3: only "if an existing entry conflicts": a longer log of the leader is no conflict."""
    bench = following()
    answer_fetch(bench, diverging=OffsetAndEpoch(Offset(15), Epoch(3)))
    assert bench.last.truncate_to is None
    assert bench.core.log.end == LOG


def test_new_entries_go_to_the_end_of_the_log() -> None:
    """Figure 2, AppendEntries 4: "Append any new entries not already in the log"."""
    bench = following()
    new = (batch(10, 3), batch(11, 4))
    answer_fetch(bench, batches=new)
    assert bench.last.append == list(new)
    assert bench.core.log.end == OffsetAndEpoch(Offset(12), Epoch(4))


def test_an_answer_that_comes_twice_appends_once() -> None:
    """Figure 2, AppendEntries 4 with 5.5: what is in the log already is not appended again."""
    bench = following()
    one, _ = bench.sent(FetchRequest)[0]
    leader = LeaderAndEpoch(bench.epoch, NodeId(2), endpoint(2))
    answer = ResponseReceived(one.correlation, FetchResponse(leader=leader, batches=(batch(10, 3),)))
    bench.step(answer)
    bench.step(answer)
    assert bench.last.append == []
    assert bench.core.log.end.offset == 11


@pytest.mark.parametrize(("told", "expected"), [(5, 5), (10, 10), (11, 11), (99, 11), (None, None)])
def test_the_commit_index_is_the_leaders_or_the_end_of_the_log(
    told: int | None, expected: int | None
) -> None:
    """Figure 2, AppendEntries 5: "set commitIndex = min(leaderCommit, index of last new entry)"."""
    bench = following()
    answer_fetch(bench, batches=(batch(10, 3),), high_watermark=told)
    assert bench.core.high_watermark == expected
    assert bench.last.committed == expected


def test_the_commit_index_of_a_follower_never_goes_back() -> None:
    """Figure 2, State: commitIndex "increases monotonically": a leader that says less ends the process."""
    bench = following()
    answer_fetch(bench, high_watermark=Offset(8))
    with pytest.raises(InvariantViolated, match="the leader's high watermark 7 is behind 8"):
        answer_fetch(bench, high_watermark=Offset(7))


# ---- Rules for Servers: all


def higher(epoch: int) -> list[Request]:
    """What candidates and leaders of an epoch ask replica 1."""
    return [
        Bench().vote_request(3, epoch=epoch),
        BeginQuorumEpochRequest(
            epoch=Epoch(epoch), leader_id=NodeId(3), voter=KEYS[1], endpoints=(endpoint(3),)
        ),
        EndQuorumEpochRequest(epoch=Epoch(epoch), leader_id=NodeId(3), preferred=()),
    ]


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("begins_as", ["candidate", "leader"])
def test_a_higher_term_in_a_request_is_joined(index: int, begins_as: str) -> None:
    """Figure 2, all servers: "If RPC request ... contains term T > currentTerm: set currentTerm = T"."""
    bench = Bench()
    if begins_as == "leader":
        bench.become_leader()
    else:
        bench.become_candidate()
    bench.receive(higher(9)[index])
    assert bench.epoch == 9
    assert bench.last.election is not None
    assert bench.last.election.epoch == 9
    assert bench.role in ("unattached", "follower")


def test_a_higher_term_in_a_fetch_is_not_joined() -> None:
    """KIP-595 differs: UNKNOWN_LEADER_EPOCH. Who fetches proves no election; its leader will announce itself."""
    bench = Bench()
    bench.become_leader()
    bench.receive(
        FetchRequest(
            replica=KEYS[2],
            epoch=Epoch(9),
            offset=Offset(10),
            last_fetched_epoch=Epoch(3),
            max_wait_ms=0,
            max_bytes=1,
        )
    )
    assert bench.answered(FetchResponse).error is ErrorCode.unknown_leader_epoch
    assert (bench.role, bench.epoch) == ("leader", 4)


@pytest.mark.parametrize("led", [False, True])
def test_a_higher_term_in_an_answer_to_a_vote_is_joined(led: bool) -> None:
    """Figure 2, all servers: "If RPC ... response contains term T > currentTerm"."""
    bench = Bench()
    bench.become_candidate()
    one, _ = bench.sent(VoteRequest)[0]
    known = LeaderAndEpoch(Epoch(9), NodeId(3), endpoint(3)) if led else LeaderAndEpoch(Epoch(9))
    bench.step(ResponseReceived(one.correlation, VoteResponse(leader=known, granted=True)))
    assert (bench.role, bench.epoch) == ("follower" if led else "unattached", 9)


def test_a_higher_term_in_an_answer_to_an_announcement_is_joined() -> None:
    bench = Bench()
    bench.become_leader()
    one, _ = bench.sent(BeginQuorumEpochRequest)[0]
    bench.step(
        ResponseReceived(
            one.correlation,
            BeginQuorumEpochResponse(leader=LeaderAndEpoch(Epoch(9)), error=ErrorCode.fenced_leader_epoch),
        )
    )
    assert (bench.role, bench.epoch) == ("unattached", 9)


# ---- Rules for Servers: followers


def test_a_follower_that_hears_nothing_asks_for_votes() -> None:
    """Figure 2, followers: "If election timeout elapses without receiving AppendEntries": asks, KIP-996."""
    bench = following()
    bench.step(TimePassed(), bench.core.config.fetch_timeout_ms - 1)
    assert bench.role == "follower"
    bench.step(TimePassed(), 1)
    assert bench.role == "prospective"


def test_a_follower_that_hears_its_leader_waits_on() -> None:
    """5.2: "A server remains in follower state as long as it receives valid RPCs from a leader"."""
    bench = following()
    for _ in range(4):
        answer_later(bench, 1_500)
        assert bench.role == "follower"
    assert deadline(bench) == bench.now_ms + bench.core.config.fetch_timeout_ms


def test_an_error_is_no_sign_of_a_leader() -> None:
    """Figure 2, followers: only a leader's call puts off the election, not any answer."""
    bench = following()
    before = deadline(bench)
    answer_later(bench, 100, error=ErrorCode.not_leader_or_follower)
    assert deadline(bench) == before


def test_who_grants_a_vote_waits_an_election_timeout() -> None:
    """Figure 2, followers: "or granting vote to candidate"."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=4))
    assert deadline(bench) >= bench.now_ms + bench.core.config.election_timeout_ms


def test_who_refuses_a_vote_of_a_higher_term_keeps_what_is_left_of_its_time() -> None:
    """Figure 2, followers: only granting resets the timer: bumped epochs must not keep the best log from standing."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=4, last=OffsetAndEpoch(Offset(1), Epoch(1))))
    assert not bench.answered(VoteResponse).granted
    first = deadline(bench)
    bench.step(TimePassed(), 5)
    bench.receive(bench.vote_request(3, epoch=5, last=OffsetAndEpoch(Offset(1), Epoch(1))))
    assert bench.epoch == 5
    assert deadline(bench) <= first


# ---- Rules for Servers: candidates


def test_a_candidate_draws_its_timeout_anew() -> None:
    """Figure 2, candidates: "Reset election timer"; 5.2: "restarts its randomized election timeout"."""
    drawn = set()
    bench = Bench()
    for _ in range(8):
        bench.become_candidate()
        left = deadline(bench) - bench.now_ms
        assert 1_000 <= left < 2_000
        drawn.add(left)
        bench.until_timeout()
    assert len(drawn) > 4


def test_a_candidate_whose_time_is_over_tries_again_in_a_higher_term() -> None:
    """Figure 2, candidates: "If election timeout elapses: start new election" (by way of pre-votes, KIP-996)."""
    bench = Bench()
    bench.become_candidate()
    first = bench.epoch
    bench.step(TimePassed(), 2_000)
    assert (bench.role, bench.epoch) == ("prospective", first)
    bench.become_candidate()
    assert bench.epoch == first + 1


def test_votes_of_an_earlier_term_are_not_counted() -> None:
    """5.2: votes "for the same term"."""
    bench = Bench()
    bench.become_candidate()
    late = bench.sent(VoteRequest)[0]
    bench.step(TimePassed(), 2_000)
    bench.become_candidate()
    bench.answer_vote(late, granted=True)
    assert bench.role == "candidate"


def test_one_voter_is_counted_once() -> None:
    """5.2: a majority "of the servers": the same one saying yes twice is no majority."""
    bench = Bench(voters=FIVE)
    while bench.role != "prospective":
        bench.until_timeout()
    bench.win_votes(2, 3)
    assert bench.role == "candidate"
    (first, *_) = bench.sent(VoteRequest)
    bench.answer_vote(first, granted=True)
    bench.answer_vote(first, granted=True)
    assert bench.role == "candidate"


def test_a_vote_request_that_got_lost_is_sent_again() -> None:
    """5.5: "Raft handles these failures by retrying indefinitely"."""
    bench = Bench()
    bench.become_candidate()
    one, request = bench.sent(VoteRequest)[1]
    bench.step(RequestFailed(one.correlation, Failure.RESET))
    bench.step(TimePassed(), 50)
    assert [(sent.peer.id, again) for sent, again in bench.sent(VoteRequest)] == [(one.peer.id, request)]


def test_a_fetch_that_got_lost_is_sent_again() -> None:
    """5.3: "the leader retries AppendEntries RPCs indefinitely": here the follower does."""
    bench = following()
    for _ in range(5):
        one, request = bench.sent(FetchRequest)[0]
        bench.step(RequestFailed(one.correlation, Failure.TIMED_OUT))
        bench.step(TimePassed(), bench.core.config.retry_backoff_ms)
        assert [again for _, again in bench.sent(FetchRequest)] == [request]


def test_at_most_one_fetch_is_under_way() -> None:
    """5.3: two answers to one question could append an entry twice."""
    bench = following()
    bench.step(TimePassed(), 100)
    assert not bench.sent(FetchRequest)


# ---- Rules for Servers: leaders


def test_what_a_client_writes_goes_to_the_end_of_the_log() -> None:
    """Figure 2, leaders: "If command received from client: append entry to local log"."""
    bench = Bench()
    bench.become_leader()
    end = bench.core.log.end.offset
    bench.propose(3)
    assert [(one.base_offset, one.epoch) for one in bench.last.append] == [(end, bench.epoch)]
    assert bench.core.log.end.offset == end + 3


def test_a_follower_gets_what_follows_its_log() -> None:
    """Figure 2, leaders: "If last log index ≥ nextIndex ...: send log entries starting at nextIndex"."""
    bench = Bench()
    bench.become_leader()
    end = bench.core.log.end.offset
    bench.fetch(2, offset=4, last_epoch=3)
    assert bench.answered(FetchResponse).read == LogRead(Offset(4), end, 1_000_000)


def test_a_follower_that_waits_gets_what_is_appended_at_once() -> None:
    bench = Bench()
    bench.become_leader()
    end = bench.core.log.end.offset
    bench.fetch(2)
    assert not bench.last.send
    bench.propose()
    assert bench.answered(FetchResponse).read == LogRead(end, Offset(end + 1), 1_000_000)


def test_the_leader_tells_its_commit_index() -> None:
    """5.3: "it includes that index in future AppendEntries RPCs ... so that the other servers eventually find out"."""
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    bench.fetch(2)
    bench.fetch(3, offset=4, last_epoch=3)
    assert bench.answered(FetchResponse).high_watermark == bench.core.log.end.offset


def test_who_was_told_to_cut_asks_again() -> None:
    """Figure 2, leaders: "If AppendEntries fails because of log inconsistency: decrement nextIndex and retry"."""
    bench = following()
    answer_fetch(bench, diverging=OffsetAndEpoch(Offset(6), Epoch(3)))
    (_, request) = bench.sent(FetchRequest)[0]
    assert (request.offset, request.last_fetched_epoch) == (6, 3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((8, 2), (6, 2)),  # the leader's epoch 2 is longer: ours is right as far as it goes
        ((4, 2), (4, 2)),  # the leader's epoch 2 is shorter: what we have more of it goes
        ((9, 1), (2, 1)),  # it has no epoch 2 at all: everything behind our epoch 1 goes
        ((0, 0), (0, 0)),  # nothing in common
    ],
)
def test_how_far_it_cuts(given: tuple[int, int], expected: tuple[int, int]) -> None:
    """5.3: "the leader must find the latest log entry where the two logs agree" (KIP-595, DivergingEpoch)."""
    starts = (
        EpochStart(Epoch(1), Offset(0)),
        EpochStart(Epoch(2), Offset(2)),
        EpochStart(Epoch(3), Offset(6)),
    )
    bench = Bench(epochs=starts)
    bench.receive(
        BeginQuorumEpochRequest(epoch=Epoch(4), leader_id=NodeId(2), voter=KEYS[1], endpoints=(endpoint(2),))
    )
    answer_fetch(bench, diverging=OffsetAndEpoch(Offset(given[0]), Epoch(given[1])))
    assert bench.core.log.end == OffsetAndEpoch(Offset(expected[0]), Epoch(expected[1]))


def test_an_epoch_that_it_never_heard_of_takes_it_back_to_the_one_before() -> None:
    """KIP-595, DivergingEpoch: with no record of that epoch, all behind the end of its own last smaller one goes."""
    starts = (EpochStart(Epoch(1), Offset(0)), EpochStart(Epoch(3), Offset(6)))
    bench = Bench(epochs=starts)
    bench.receive(
        BeginQuorumEpochRequest(epoch=Epoch(4), leader_id=NodeId(2), voter=KEYS[1], endpoints=(endpoint(2),))
    )
    answer_fetch(bench, diverging=OffsetAndEpoch(Offset(8), Epoch(2)))
    assert bench.core.log.end == OffsetAndEpoch(Offset(6), Epoch(1))


@pytest.mark.parametrize(
    ("ends", "own", "committed"),
    [
        ({}, 13, None),
        ({2: 13}, 13, None),
        ({2: 13, 3: 12}, 13, 12),
        ({2: 13, 3: 12, 4: 13}, 13, 13),
        ({2: 13, 3: 13, 4: 13}, 10, 13),
        ({2: 13, 3: 12, 4: 12, 5: 12}, 13, 12),
    ],
)
def test_the_commit_index_is_what_a_majority_holds(
    ends: dict[int, int], own: int, committed: int | None
) -> None:
    """Figure 2, leaders: "If there exists an N such that N > commitIndex, a majority of matchIndex[i] ≥ N ..."."""
    bench = Bench(voters=FIVE)
    while bench.role != "prospective":
        bench.until_timeout()
    bench.win_votes(2, 3)
    bench.win_votes(2, 3)
    assert bench.role == "leader"
    bench.propose()
    bench.propose()
    assert bench.core.log.end.offset == 13
    bench.core.log.flushed_end = Offset(own)
    for node, end in ends.items():
        bench.fetch(node, offset=end)
    assert bench.core.high_watermark == committed


# ---- Figure 3


def test_a_leader_deletes_nothing_whatever_followers_have() -> None:
    """Figure 3, Leader Append-Only: "a leader never overwrites or deletes entries in its log"."""
    bench = Bench()
    bench.become_leader()
    before = bench.core.log.end
    for offset, epoch in ((0, 0), (4, 2), (99, 4), (11, 4)):
        bench.fetch(2, offset=offset, last_epoch=epoch)
        assert bench.last.truncate_to is None
        assert bench.core.log.end == before


def test_what_an_elected_leader_lacks_is_not_on_the_voters_disk() -> None:
    """Figure 3, Leader Completeness: each yes is a log that the candidate's is at least as up to date as."""
    bench = Bench()
    for offset, epoch in ((9, 3), (50, 2)):
        last = OffsetAndEpoch(Offset(offset), Epoch(epoch))
        request = bench.vote_request(2, epoch=9, last=last)
        for one in (request, attrs.evolve(request, pre_vote=True)):
            bench.receive(one)
            assert not bench.answered(VoteResponse).granted
