"""KIP-996, sentence by sentence, where `test_kips` has no test of it yet."""

import pytest

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import Failure, RequestFailed, ResponseReceived, TimePassed
from quorate.metadata.quorum.messages import (
    BeginQuorumEpochRequest,
    FetchRequest,
    LeaderAndEpoch,
    VoteRequest,
    VoteResponse,
)
from quorate.metadata.quorum.roles import Candidate, Prospective, Unattached
from tests.paper.bench import KEYS, LOG, Bench, endpoint
from tests.paper.test_figure_2 import FIVE
from tests.paper.test_raft import answer_fetch, following
from tests.paper.test_requests import resigned


def asking(voters: tuple[int, ...] = (1, 2, 3), election: ElectionState | None = None) -> Bench:
    """A prospective without a leader, in epoch 4."""
    bench = Bench(voters=voters, election=election or ElectionState(Epoch(4)))
    while bench.role != "prospective":
        bench.until_timeout()
    return bench


# ---- answering


def test_a_pre_vote_of_the_same_epoch_changes_nobody() -> None:
    """KIP-996: no transition: neither role, nor vote, nor timer."""
    bench = following()
    role = bench.core.role
    bench.receive(bench.vote_request(3, epoch=4, pre_vote=True))
    assert bench.answered(VoteResponse).granted
    assert bench.core.role is role
    assert bench.last.election is None


def test_a_pre_vote_of_a_higher_epoch_is_joined_first() -> None:
    """KIP-996: a higher epoch is a fact, also in a pre-vote; then the logs decide."""
    bench = following()
    answer_fetch(bench)
    bench.receive(bench.vote_request(3, epoch=7, pre_vote=True))
    assert (bench.role, bench.last.election) == ("unattached", ElectionState(Epoch(7)))
    assert bench.answered(VoteResponse).granted


def test_a_pre_vote_of_an_older_epoch_is_fenced() -> None:
    bench = following()
    bench.receive(bench.vote_request(3, epoch=3, pre_vote=True))
    answer = bench.answered(VoteResponse)
    assert (answer.error, answer.granted) == (ErrorCode.fenced_leader_epoch, False)
    assert answer.leader == LeaderAndEpoch(Epoch(4), NodeId(2), endpoint(2))


@pytest.mark.parametrize(("last_epoch", "error"), [(4, ErrorCode.none), (5, ErrorCode.invalid_request)])
def test_the_log_of_a_prospective_may_end_in_the_epoch_that_it_asks_in(
    last_epoch: int, error: ErrorCode
) -> None:
    """KIP-996: its epoch is the current one, not the next: LastOffsetEpoch may be equal, and no more."""
    bench = following()
    last = OffsetAndEpoch(Offset(11), Epoch(last_epoch))
    bench.receive(bench.vote_request(3, epoch=4, pre_vote=True, last=last))
    assert bench.answered(VoteResponse).error is error


@pytest.mark.parametrize("role", ["unattached", "prospective", "candidate", "resigned", "voted"])
def test_who_hears_no_leader_grants_pre_votes_to_all_with_as_good_a_log(role: str) -> None:
    """KIP-996: granted by unattached, prospective, candidate and resigned, voted or not, if the log is as good."""
    if role == "resigned":
        bench = resigned()
    elif role == "prospective":
        bench = asking()
    else:
        bench = Bench(election=ElectionState(Epoch(4), None, KEYS[2] if role == "voted" else None))
        if role == "candidate":
            bench.become_candidate()
    before = bench.core.election
    end = bench.core.log.end
    for last, granted in ((end, True), (OffsetAndEpoch(Offset(9), Epoch(3)), False)):
        bench.receive(bench.vote_request(3, epoch=bench.epoch, last=last, pre_vote=True))
        assert bench.answered(VoteResponse).granted is granted
    assert bench.core.election == before


# ---- asking


def test_the_request_says_where_the_log_ends() -> None:
    bench = asking()
    for sent, request in bench.sent(VoteRequest):
        assert request == VoteRequest(
            epoch=Epoch(4), candidate=KEYS[1], voter=KEYS[sent.peer.id], last=LOG, pre_vote=True
        )
    assert len(bench.sent(VoteRequest)) == 2


def test_a_majority_of_pre_votes_makes_a_candidate_of_the_next_epoch() -> None:
    """KIP-996: it turns candidate: epoch + 1, its own vote, and real votes asked for."""
    bench = asking(FIVE)
    bench.win_votes(2)
    assert bench.role == "prospective"
    answered = [one for one in bench.core.outstanding.values() if isinstance(one.request, VoteRequest)]
    assert len(answered) == 3
    bench = asking(FIVE)
    bench.win_votes(2, 3)
    assert bench.last.election == ElectionState(Epoch(5), None, KEYS[1])
    assert [(one.peer.id, request.pre_vote) for one, request in bench.sent(VoteRequest)] == [
        (2, False),
        (3, False),
        (4, False),
        (5, False),
    ]


def test_a_pre_vote_is_not_counted_as_a_vote() -> None:
    """KIP-996: a yes to the question is none in the election."""
    bench = asking()
    late = bench.sent(VoteRequest)[1]
    bench.win_votes(2)
    assert bench.role == "candidate"
    bench.answer_vote(late, granted=True)
    assert bench.role == "candidate"


def test_who_cannot_win_any_more_stops_asking() -> None:
    """KIP-996: refused by so many that no majority is left: unattached, in the same epoch, its vote kept."""
    bench = asking(election=ElectionState(Epoch(4), None, KEYS[2]))
    bench.answer_votes()
    assert (bench.role, bench.core.election) == ("unattached", ElectionState(Epoch(4), None, KEYS[2]))
    assert isinstance(bench.core.role, Unattached)
    assert bench.core.role.election_deadline_ms is not None
    assert bench.core.role.election_deadline_ms > bench.now_ms


def test_who_is_not_answered_stops_asking_after_an_election_timeout() -> None:
    bench = asking()
    role = bench.core.role
    assert isinstance(role, Prospective)
    left = role.election_deadline_ms - bench.now_ms
    assert 1_000 <= left < 2_000
    bench.step(TimePassed(), left - 1)
    assert bench.role == "prospective"
    bench.step(TimePassed(), 1)
    assert (bench.role, bench.epoch) == ("unattached", 4)


@pytest.mark.parametrize(
    ("told", "role"),
    [
        (LeaderAndEpoch(Epoch(7)), "unattached"),
        (LeaderAndEpoch(Epoch(7), NodeId(3), endpoint(3)), "follower"),
        (LeaderAndEpoch(Epoch(4), NodeId(3), endpoint(3)), "follower"),
    ],
)
def test_news_in_an_answer_ends_the_asking(told: LeaderAndEpoch, role: str) -> None:
    """KIP-996: until it learns of a leader, or of a higher epoch."""
    bench = asking()
    one, _ = bench.sent(VoteRequest)[0]
    bench.step(ResponseReceived(one.correlation, VoteResponse(leader=told, granted=True)))
    assert (bench.role, bench.epoch) == (role, told.epoch)


def test_a_leader_that_announces_itself_ends_the_asking() -> None:
    """KIP-996: BeginQuorumEpoch of the same epoch makes a follower of a prospective."""
    bench = following()
    bench.step(TimePassed(), 2_000)
    assert bench.role == "prospective"
    bench.receive(BeginQuorumEpochRequest(epoch=Epoch(4), leader_id=NodeId(2), voter=KEYS[1]))
    assert bench.role == "follower"
    assert bench.sent(FetchRequest)[0][0].peer.id == 2


def test_who_went_back_to_its_leader_grants_until_it_has_fetched() -> None:
    """kafka#17807: else two followers of a dead leader would refuse each other for ever."""
    bench = following()
    answer_fetch(bench)
    bench.step(TimePassed(), 2_000)
    bench.answer_votes()
    assert bench.role == "follower"
    bench.receive(bench.vote_request(3, epoch=4, pre_vote=True))
    assert bench.answered(VoteResponse).granted


def test_a_candidate_that_lost_asks_before_it_stands_again() -> None:
    """KIP-996: candidate to prospective, after its backoff: the next epoch needs a majority of pre-votes again."""
    bench = Bench()
    for _ in range(8):  # the first backoffs may be none at all
        bench.become_candidate()
        bench.answer_votes()
        if bench.role == "candidate":
            break
    role, lost = bench.core.role, bench.epoch
    assert isinstance(role, Candidate)
    assert role.retry_at_ms is not None
    assert role.retry_at_ms - bench.now_ms <= bench.core.config.election_backoff_max_ms
    bench.step(TimePassed(), role.retry_at_ms - bench.now_ms)
    assert (bench.role, bench.epoch) == ("prospective", lost)
    assert bench.core.election.voted == KEYS[1]


def test_the_backoff_of_who_lost_often_is_bounded() -> None:
    """KIP-595: binary exponential backoff, up to controller.quorum.election.backoff.max.ms."""
    bench = Bench()
    longest = 0
    for _ in range(12):
        bench.become_candidate()
        bench.answer_votes()
        role = bench.core.role
        if isinstance(role, Candidate) and role.retry_at_ms is not None:
            longest = max(longest, role.retry_at_ms - bench.now_ms)
    assert 500 < longest <= bench.core.config.election_backoff_max_ms


def test_old_peers_are_no_majority_against_each_other() -> None:
    """KIP-996, mixed versions: those that can be asked may still be a majority."""
    bench = asking(FIVE)
    asked = {one.peer.id: one for one, _ in bench.sent(VoteRequest)}
    for node in (4, 5):
        bench.step(RequestFailed(asked[NodeId(node)].correlation, Failure.UNSUPPORTED))
    assert bench.role == "prospective"
    for node in (2, 3):
        answer = VoteResponse(leader=LeaderAndEpoch(Epoch(4)), granted=True)
        bench.step(ResponseReceived(asked[NodeId(node)].correlation, answer))
    assert bench.role == "candidate"


def test_votes_are_given_to_candidates_that_never_asked_before() -> None:
    """KIP-996, mixed versions: an older peer stands without pre-votes, and must be able to win."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=4))
    assert bench.answered(VoteResponse).granted
