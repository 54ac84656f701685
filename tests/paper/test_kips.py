"""The rules of KIP-595, KIP-853, KIP-996 and KIP-1166 that apply to the core, one test a sentence."""

import attrs
import pytest

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Epoch, NodeId, Offset, OffsetAndEpoch, ReplicaKey
from quorate.metadata.quorum.events import (
    Failure,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    ShutdownRequested,
    TimePassed,
    Token,
)
from quorate.metadata.quorum.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    FetchRequest,
    FetchResponse,
    LeaderAndEpoch,
    VoteRequest,
    VoteResponse,
)
from quorate.metadata.records import NoOpRecord
from tests.paper.bench import KEYS, Bench, endpoint
from tests.paper.test_raft import answer_fetch, following

# ---- KIP-595


def test_only_the_leader_answers_fetch_and_others_name_it() -> None:
    """KIP-595, Fetch: NOT_LEADER_OR_FOLLOWER with the leader's id and epoch."""
    bench = following(leader=2, epoch=4)
    bench.fetch(3)
    answer = bench.answered(FetchResponse)
    assert answer.error is ErrorCode.not_leader_or_follower
    assert answer.leader == LeaderAndEpoch(Epoch(4), NodeId(2), endpoint(2))


def test_epochs_of_a_fetch_are_fenced_both_ways() -> None:
    bench = Bench()
    bench.become_leader()
    request = FetchRequest(
        replica=KEYS[2],
        epoch=Epoch(3),
        offset=Offset(10),
        last_fetched_epoch=Epoch(3),
        max_wait_ms=0,
        max_bytes=1,
    )
    bench.receive(request)
    assert bench.answered(FetchResponse).error is ErrorCode.fenced_leader_epoch
    bench.receive(attrs.evolve(request, epoch=Epoch(9)))
    assert bench.answered(FetchResponse).error is ErrorCode.unknown_leader_epoch


def test_another_cluster_is_refused() -> None:
    """KIP-595: INCONSISTENT_CLUSTER_ID."""
    bench = Bench()
    bench.step(RequestReceived(Token(99), bench.vote_request(2, epoch=9), "another"))
    assert bench.epoch == 3
    assert type(bench.last.send[0]).__name__ == "RejectClusterId"


def test_the_leader_announces_itself_again_and_again() -> None:
    """KIP-595, BeginQuorumEpoch; periodic since KIP-853, so that a voter that restarts finds its leader."""
    bench = Bench()
    bench.become_leader()
    assert {one.peer.id for one, _ in bench.sent(BeginQuorumEpochRequest)} == {2, 3}
    bench.step(TimePassed(), 1_000)
    assert {one.peer.id for one, _ in bench.sent(BeginQuorumEpochRequest)} == {2, 3}


def test_a_resigning_leader_prefers_the_longest_logs() -> None:
    """KIP-595, EndQuorumEpoch: preferred successors by descending fetch offset."""
    bench = Bench()
    bench.become_leader()
    bench.fetch(2, offset=10, last_epoch=3)
    bench.fetch(3)
    bench.step(ShutdownRequested())
    preferred = bench.sent(EndQuorumEpochRequest)[0][1].preferred
    assert [key.id for key in preferred] == [3, 2]


def test_the_first_successor_stands_at_once() -> None:
    bench = following()
    bench.receive(EndQuorumEpochRequest(epoch=Epoch(4), leader_id=NodeId(2), preferred=(KEYS[1], KEYS[3])))
    assert bench.role == "candidate"
    assert bench.epoch == 5


def test_a_later_successor_waits() -> None:
    bench = following()
    bench.receive(EndQuorumEpochRequest(epoch=Epoch(4), leader_id=NodeId(2), preferred=(KEYS[3], KEYS[1])))
    assert bench.role == "follower"
    assert bench.core.role.fetch_deadline_ms == bench.now_ms + 500  # type: ignore[union-attr]


def test_a_leader_without_a_majority_resigns() -> None:
    """KAFKA-15489: check quorum, 1.5 fetch timeouts."""
    bench = Bench()
    bench.become_leader()
    bench.step(TimePassed(), 2_999)
    assert bench.role == "leader"
    bench.step(TimePassed(), 2)
    assert bench.role == "resigned"


def test_a_fetch_of_one_follower_is_majority_enough_for_three() -> None:
    bench = Bench()
    bench.become_leader()
    bench.step(TimePassed(), 2_000)
    bench.fetch(3)
    bench.step(TimePassed(), 2_000)
    assert bench.role == "leader"


def test_an_observer_is_not_counted() -> None:
    """KIP-595: observers "do not participate in leader election" nor in the high watermark."""
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    bench.fetch(4)
    assert bench.core.high_watermark is None


def test_an_observer_gets_committed_records_only() -> None:
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    bench.fetch(2)
    committed = bench.core.high_watermark
    bench.propose(3)
    bench.fetch(4, offset=2, last_epoch=3)
    read = bench.answered(FetchResponse).read
    assert read is not None
    assert read.end == committed


def test_a_higher_epoch_in_an_answer_drops_its_payload() -> None:
    """KIP-595: the replica first joins the epoch, then fetches again."""
    bench = following(leader=2, epoch=4)
    one, _ = bench.sent(FetchRequest)[0]
    leader = LeaderAndEpoch(Epoch(6), NodeId(3), endpoint(3))
    answer = FetchResponse(leader=leader, diverging=OffsetAndEpoch(Offset(1), Epoch(1)))
    bench.step(ResponseReceived(one.correlation, answer))
    assert (bench.epoch, bench.core.log.end.offset) == (6, 10)
    assert bench.last.truncate_to is None


# ---- KIP-1166


@pytest.mark.parametrize(("offset", "epoch"), [(9, 4), (11, 4), (10, 2), (10, 5)])
def test_batches_that_do_not_continue_the_log_are_not_taken(offset: int, epoch: int) -> None:
    """Whose fault they are, the follower lives, asks again, and will look for another leader if it goes on."""
    bench = following(leader=2, epoch=4)
    wrong = RecordBatch.seal(
        [NoOpRecord(version=0)], base_offset=Offset(offset), epoch=Epoch(epoch), append_time_ms=0
    )
    answer_fetch(bench, high_watermark=Offset(0), batches=(wrong,))
    assert bench.last.append == []
    assert bench.core.log.end.offset == 10
    bench.step(TimePassed(), later_ms=bench.core.config.retry_backoff_ms)
    assert len(bench.sent(FetchRequest)) == 1
    bench.step(TimePassed(), later_ms=bench.core.config.fetch_timeout_ms)
    assert bench.role == "prospective"


def test_a_parked_fetch_of_an_observer_is_answered_when_the_high_watermark_moves() -> None:
    """KIP-1166 (KAFKA-14145): without it a commit is seen up to half a second late."""
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    bench.fetch(4, offset=10, last_epoch=3)
    assert not [one for one in bench.last.send if type(one).__name__ == "SendResponse"]
    bench.fetch(2)
    answer = bench.answered(FetchResponse)
    assert answer.high_watermark == bench.core.high_watermark
    assert answer.read is not None


def test_a_new_leader_says_that_it_does_not_know_the_high_watermark() -> None:
    """A smaller one than an earlier leader told would end Kafka's brokers."""
    bench = following()
    answer_fetch(bench, high_watermark=Offset(8))
    bench.become_leader()
    bench.fetch(4, offset=4, last_epoch=3)
    assert bench.answered(FetchResponse).high_watermark is None
    assert bench.core.high_watermark == 8


# ---- KIP-853


def test_a_vote_request_for_another_directory_is_refused() -> None:
    """KIP-853: the addressee's key must match: a wiped disk cannot vote as its old self."""
    bench = Bench()
    other = ReplicaKey(NodeId(1), KEYS[4].directory_id)
    bench.receive(bench.vote_request(2, epoch=9, voter=other))
    assert bench.answered(VoteResponse).error is ErrorCode.invalid_voter_key
    assert bench.core.election.voted is None


def test_a_replica_with_another_directory_is_no_voter() -> None:
    bench = Bench(voters=(2, 3, 4), me=1)
    assert not bench.core.is_voter
    bench.step(TimePassed(), 60_000)
    assert bench.role in ("unattached", "follower")


def test_begin_quorum_epoch_moves_before_the_key_is_checked() -> None:
    """KIP-853: the leader of the epoch is a fact, whoever was meant."""
    bench = Bench()
    wrong = ReplicaKey(NodeId(1), KEYS[4].directory_id)
    bench.receive(
        BeginQuorumEpochRequest(epoch=Epoch(4), leader_id=NodeId(2), voter=wrong, endpoints=(endpoint(2),))
    )
    assert bench.role == "follower"
    assert bench.answered(BeginQuorumEpochResponse).error is ErrorCode.invalid_voter_key


def test_a_candidate_outside_the_voter_set_can_be_voted_for() -> None:
    """KIP-853: a replica whose log lags behind a change of the voters must still be able to elect."""
    bench = Bench(voters=(1, 2, 3))
    bench.receive(bench.vote_request(4, epoch=9))
    assert bench.answered(VoteResponse).granted


# ---- KIP-996


def test_a_pre_vote_raises_no_epoch_and_persists_nothing() -> None:
    """KIP-996: "the node does not increase its epoch"."""
    bench = Bench()
    while bench.role != "prospective":
        bench.until_timeout()
    assert (bench.epoch, bench.core.election.voted) == (3, None)
    assert all(request.pre_vote and request.epoch == 3 for _, request in bench.sent(VoteRequest))


def test_a_granted_pre_vote_is_no_vote() -> None:
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=3, pre_vote=True))
    assert bench.answered(VoteResponse).granted
    bench.receive(bench.vote_request(3, epoch=3, pre_vote=True))
    assert bench.answered(VoteResponse).granted
    assert bench.core.election.voted is None


def test_a_follower_that_has_fetched_grants_no_pre_vote() -> None:
    """KIP-996: else a follower that is merely cut off would unseat its leader."""
    bench = following()
    bench.receive(bench.vote_request(3, epoch=4, pre_vote=True))
    assert bench.answered(VoteResponse).granted
    bench = following()
    answer_fetch(bench, high_watermark=Offset(1))
    bench.receive(bench.vote_request(3, epoch=4, pre_vote=True))
    assert not bench.answered(VoteResponse).granted


def test_a_leader_grants_no_pre_vote_and_its_answer_ends_the_asking() -> None:
    bench = Bench()
    bench.become_leader()
    bench.receive(bench.vote_request(2, epoch=bench.epoch, pre_vote=True, last=bench.core.log.end))
    answer = bench.answered(VoteResponse)
    assert (answer.granted, answer.leader.leader_id) == (False, 1)
    asker = following()
    asker.step(TimePassed(), 2_000)
    one = next(one for one, _ in asker.sent(VoteRequest) if one.peer.id == 2)
    asker.step(
        ResponseReceived(
            one.correlation, VoteResponse(leader=LeaderAndEpoch(Epoch(4), NodeId(2), endpoint(2)))
        )
    )
    assert asker.role == "follower"


def test_a_pre_vote_of_a_shorter_log_is_refused() -> None:
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=3, pre_vote=True, last=OffsetAndEpoch(Offset(9), Epoch(3))))
    assert not bench.answered(VoteResponse).granted


def test_whoever_lost_goes_back_to_the_leader_it_had() -> None:
    bench = following()
    bench.step(TimePassed(), 2_000)
    assert bench.role == "prospective"
    bench.answer_votes()
    assert bench.role == "follower"


def test_a_peer_without_pre_votes_is_a_refusal_and_no_reason_to_stand() -> None:
    """Beyond KIP-996, which falls back to a real candidacy."""
    bench = following()
    bench.step(TimePassed(), 2_000)
    for one, _ in bench.sent(VoteRequest):
        bench.step(RequestFailed(one.correlation, Failure.UNSUPPORTED))
    assert bench.epoch == 4
    assert bench.role == "follower"


# ---- suspicion (ours)


def test_one_broken_connection_is_no_suspicion() -> None:
    bench = following()
    one, _ = bench.sent(FetchRequest)[0]
    bench.step(RequestFailed(one.correlation, Failure.RESET))
    assert bench.sent(FetchRequest)
    assert bench.core.role.suspect_at_ms is None  # type: ignore[union-attr]


def test_a_refused_connection_is() -> None:
    bench = following()
    one, _ = bench.sent(FetchRequest)[0]
    bench.step(RequestFailed(one.correlation, Failure.REFUSED))
    deadline = bench.core.role.suspect_at_ms  # type: ignore[union-attr]
    assert 10 <= deadline - bench.now_ms <= 150


def test_on_suspicion_nobody_stands_before_the_suspect_was_found_silent() -> None:
    bench = following()
    one, _ = bench.sent(FetchRequest)[0]
    bench.step(RequestFailed(one.correlation, Failure.REFUSED))
    bench.step(TimePassed(), 150)
    asked = {one.peer.id: one for one, _ in bench.sent(VoteRequest)}
    bench.step(
        ResponseReceived(asked[3].correlation, VoteResponse(leader=LeaderAndEpoch(Epoch(4)), granted=True))
    )
    assert bench.role == "prospective"
    bench.step(RequestFailed(asked[2].correlation, Failure.RESET))
    assert bench.role == "prospective"
    bench.step(TimePassed(), 50)
    again = next(one for one, _ in bench.sent(VoteRequest) if one.peer.id == 2)
    bench.step(RequestFailed(again.correlation, Failure.REFUSED))
    assert bench.role == "candidate"
