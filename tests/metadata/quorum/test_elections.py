"""Courtesies of elections that no paper knows: they only save time, so each test shows the time saved."""

from quorate.metadata.ids import Epoch, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import Failure, RequestFailed, ResponseReceived
from quorate.metadata.quorum.messages import (
    BeginQuorumEpochRequest,
    FetchRequest,
    LeaderAndEpoch,
    VoteRequest,
    VoteResponse,
)
from tests.paper.bench import KEYS, LOG, Bench, endpoint

BEHIND = OffsetAndEpoch(Offset(LOG.offset - 1), LOG.epoch)


def test_who_refuses_a_candidate_because_its_own_log_is_longer_stands_soon_itself() -> None:
    """An orderly stop: the last records reached replica 1 only, and replica 2 was named as successor."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=4, last=BEHIND))

    bench.until_timeout()

    assert bench.role == "prospective"
    assert bench.now_ms <= 1_000 + 150


def test_who_voted_does_not_stand_soon() -> None:
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=4))

    bench.until_timeout()

    assert bench.now_ms >= 1_000 + 1_000


def test_a_prospective_asks_again_whom_it_refuses_because_its_own_log_is_longer() -> None:
    """Leader paused: replica 2 still believed in it when it was asked, and now looks for a leader as well."""
    bench = Bench()
    while bench.role != "prospective":
        bench.until_timeout()
    bench.answer_votes()  # both refuse: a majority is out of reach
    while bench.role != "prospective":
        bench.until_timeout()
    asked = bench.sent(VoteRequest)
    bench.answer_vote(asked[0], granted=False)
    assert asked[0][0].peer.id == 2

    bench.receive(bench.vote_request(2, epoch=bench.epoch, last=BEHIND, pre_vote=True))
    bench.until_timeout()

    again = bench.sent(VoteRequest)
    assert [(one.peer.id, request.pre_vote) for one, request in again] == [(2, True)]
    assert Epoch(again[0][1].epoch) == bench.epoch


def test_a_candidate_that_has_a_rival_does_not_wait_out_its_election_timeout() -> None:
    """Leader paused, both others stood in the same millisecond: neither can win, and neither hears of a majority."""
    bench = Bench()
    bench.become_candidate()
    began = bench.now_ms
    bench.receive(bench.vote_request(2, epoch=bench.epoch))
    assert not bench.answered(VoteResponse).granted

    while bench.role == "candidate":
        bench.until_timeout()

    assert bench.role == "prospective"
    assert began + 150 < bench.now_ms <= began + 300


# ---- the leader is asked first


def following(epoch: int = 4) -> Bench:
    """A follower of replica 2 whose Fetch is under way."""
    bench = Bench()
    bench.receive(
        BeginQuorumEpochRequest(
            epoch=Epoch(epoch), leader_id=NodeId(2), voter=KEYS[1], endpoints=(endpoint(2),)
        )
    )
    return bench


def timed_out() -> Bench:
    """Its fetch timeout is over, as after a pause of this very process; it asks replicas 2 and 3."""
    bench = following()
    while bench.role != "prospective":
        bench.until_timeout()
    return bench


def test_what_others_grant_does_not_unseat_a_leader_that_had_no_time_to_answer() -> None:
    """Replica 3 has just fallen back to following, so it grants; its answer overtakes that of the living leader."""
    bench = timed_out()
    to_leader, to_other = bench.sent(VoteRequest)

    bench.answer_vote(to_other, granted=True)
    assert (bench.role, bench.epoch) == ("prospective", 4)

    alive = VoteResponse(leader=LeaderAndEpoch(Epoch(4), NodeId(2), endpoint(2)))
    bench.step(ResponseReceived(to_leader[0].correlation, alive))
    assert (bench.role, bench.epoch) == ("follower", 4)


def test_a_leader_that_stays_silent_after_the_fetch_timeout_is_given_150_ms() -> None:
    bench = timed_out()
    began = bench.now_ms
    bench.answer_vote(bench.sent(VoteRequest)[1], granted=True)

    bench.until_timeout()

    assert (bench.role, bench.epoch) == ("candidate", 5)
    assert bench.now_ms == began + 150


def test_a_leader_that_says_it_leads_no_more_is_not_waited_for() -> None:
    bench = timed_out()
    to_leader, to_other = bench.sent(VoteRequest)
    bench.answer_vote(to_other, granted=True)

    bench.answer_vote(to_leader, granted=False)

    assert bench.role == "candidate"


def test_a_leader_whose_connections_only_break_is_replaced_after_the_fetch_timeout() -> None:
    """A proxy before a dead leader resets every connection: no refusal ever comes, nor any answer."""
    bench = following()
    began = bench.now_ms
    for _ in range(2):
        bench.step(RequestFailed(bench.sent(FetchRequest)[0][0].correlation, Failure.RESET))
    while bench.role != "prospective":
        bench.until_timeout()
    assert bench.now_ms <= began + 150
    asked = bench.sent(VoteRequest)
    bench.answer_vote(asked[1], granted=True)

    while bench.role == "prospective":
        for request, _ in bench.sent(VoteRequest)[:1]:
            bench.step(RequestFailed(request.correlation, Failure.RESET))
        bench.until_timeout()

    assert bench.role == "candidate"
    assert began + 2_000 <= bench.now_ms <= began + 2_200


# ---- starting


def test_a_former_leader_that_is_no_voter_any_more_leaves_its_epoch() -> None:
    """Its removal is in its log, committed or not; it must neither vote nor lead in the epoch that it led."""
    bench = Bench(voters=(2, 3), election=ElectionState(Epoch(4), NodeId(1)))
    assert bench.role == "resigned"

    while bench.role == "resigned":
        bench.until_timeout()

    assert (bench.role, bench.epoch) == ("unattached", 5)
