"""The read index (Ongaro's thesis, 6.4): what a leader must know before it answers a read, one test a sentence."""

import pytest

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Epoch, NodeId
from quorate.metadata.quorum.effects import ReadAnswer, SendRequest
from quorate.metadata.quorum.events import (
    Failure,
    ReadId,
    ReadRequested,
    RequestFailed,
    ResponseReceived,
    TimePassed,
)
from quorate.metadata.quorum.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    LeaderAndEpoch,
    RemoveVoterRequest,
)
from quorate.metadata.quorum.roles import Leader
from tests.paper import test_membership as membership
from tests.paper.bench import KEYS, Bench, endpoint
from tests.paper.test_raft import following


def leading(*, committed: bool = True) -> Bench:
    bench = Bench()
    bench.become_leader()
    for sent, _ in bench.sent(BeginQuorumEpochRequest):
        agree(bench, sent)
    if committed:
        bench.flushed()
        bench.fetch(2)
    return bench


def read(bench: Bench, number: int = 1) -> list[SendRequest]:
    """A read arrives; the questions that it makes the leader ask."""
    bench.step(ReadRequested(ReadId(number)))
    return [sent for sent, _ in bench.sent(BeginQuorumEpochRequest)]


def agree(bench: Bench, asked: SendRequest, error: ErrorCode = ErrorCode.none) -> None:
    leader = LeaderAndEpoch(bench.epoch, NodeId(1), endpoint(1))
    answer = BeginQuorumEpochResponse(leader=leader, error=error)
    bench.step(ResponseReceived(asked.correlation, answer))


def answers(bench: Bench) -> list[tuple[int, int | None]]:
    return [(one.read_id, one.index) for one in bench.last.reads]


def test_a_read_is_answered_when_a_majority_says_that_it_follows() -> None:
    bench = leading()
    first, _ = read(bench)
    assert answers(bench) == []
    agree(bench, first)
    assert answers(bench) == [(1, bench.core.high_watermark)]


def test_it_shows_all_that_earlier_leaders_committed_though_this_one_does_not_know_how_much_that_is() -> None:
    bench = leading(committed=False)
    role = bench.core.role
    assert isinstance(role, Leader)
    assert not role.high_watermark_known
    first, _ = read(bench)
    agree(bench, first)
    assert answers(bench) == [(1, role.epoch_start + 1)]


def test_an_answer_to_an_earlier_announcement_proves_nothing() -> None:
    bench = leading()
    bench.step(TimePassed(), later_ms=bench.core.config.fetch_timeout_ms // 2)
    announced = [sent for sent, _ in bench.sent(BeginQuorumEpochRequest)]
    assert announced
    read(bench)
    for sent in announced:
        agree(bench, sent)
        assert answers(bench) == []


def test_a_fetch_that_arrives_later_proves_nothing() -> None:
    """Its sender may have sent it, and then have voted for somebody else."""
    bench = leading()
    read(bench)
    for node in (2, 3):
        bench.fetch(node)
        assert answers(bench) == []


def test_a_round_that_runs_does_not_serve_reads_that_arrive_later() -> None:
    bench = leading()
    first, _ = read(bench, 1)
    assert read(bench, 2) == [], "it waits for the next round"
    agree(bench, first)
    assert answers(bench) == [(1, bench.core.high_watermark)]
    second, _ = [sent for sent, _ in bench.sent(BeginQuorumEpochRequest)]
    agree(bench, second)
    assert answers(bench) == [(2, bench.core.high_watermark)]


def test_one_round_serves_all_that_wait_for_it() -> None:
    bench = leading()
    first, _ = read(bench, 1)
    for number in (2, 3, 4):
        read(bench, number)
    agree(bench, first)
    second, _ = [sent for sent, _ in bench.sent(BeginQuorumEpochRequest)]
    agree(bench, second)
    assert [number for number, _ in answers(bench)] == [2, 3, 4]


def test_a_leader_that_was_replaced_refuses() -> None:
    bench = leading()
    first, _ = read(bench, 1)
    read(bench, 2)
    newer = LeaderAndEpoch(Epoch(bench.epoch + 1), NodeId(2), endpoint(2))
    bench.step(ResponseReceived(first.correlation, BeginQuorumEpochResponse(leader=newer)))
    assert sorted(answers(bench)) == [(1, None), (2, None)]


def test_who_does_not_lead_refuses_at_once() -> None:
    bench = following(leader=2, epoch=4)
    read(bench)
    assert bench.last.reads == [ReadAnswer(ReadId(1), None)]


def test_a_replica_that_is_no_voter_has_no_say() -> None:
    """INVALID_VOTER_KEY: it has the voter's id, and another disk."""
    bench = leading()
    asked = read(bench)
    for sent in asked:
        agree(bench, sent, ErrorCode.invalid_voter_key)
        assert answers(bench) == []


def test_who_does_not_know_its_leader_has_no_say() -> None:
    bench = leading()
    for sent in read(bench):
        bench.step(
            ResponseReceived(sent.correlation, BeginQuorumEpochResponse(leader=LeaderAndEpoch(bench.epoch)))
        )
        assert answers(bench) == []


def test_who_votes_no_more_has_no_say() -> None:
    bench = membership.leading()
    membership.ask(bench, membership.ADD_4)
    membership.say_versions(bench)
    bench.flushed()
    bench.fetch(2)
    bench.fetch(4)
    asked = {sent.peer.id: sent for sent in read(bench)}
    agree(bench, asked[NodeId(3)])
    assert answers(bench) == [], "two of four"
    bench.receive(RemoveVoterRequest(voter=KEYS[3]))
    bench.step(RequestFailed(asked[NodeId(2)].correlation, Failure.RESET))
    assert answers(bench) == [], "one of three"
    agree(bench, asked[NodeId(4)])
    assert [number for number, _ in answers(bench)] == [1]


def test_silence_is_asked_again() -> None:
    bench = leading()
    for sent in read(bench):
        bench.step(RequestFailed(sent.correlation, Failure.RESET))
    assert answers(bench) == []
    bench.step(TimePassed(), later_ms=bench.core.config.retry_backoff_ms)
    first, *_ = [sent for sent, _ in bench.sent(BeginQuorumEpochRequest)]
    agree(bench, first)
    assert answers(bench) == [(1, bench.core.high_watermark)]


def test_the_next_deadline_is_that_of_the_next_question() -> None:
    bench = leading()
    for sent in read(bench):
        bench.step(RequestFailed(sent.correlation, Failure.RESET))
    again_ms = bench.now_ms + bench.core.config.retry_backoff_ms
    bench.step(TimePassed(), later_ms=15)  # by then a Fetch that was parked has had its news
    assert bench.core.next_deadline() == again_ms


def test_the_only_voter_need_not_ask() -> None:
    bench = Bench(voters=(1,))
    bench.until_timeout()
    bench.flushed()
    assert read(bench) == []
    assert answers(bench) == [(1, bench.core.high_watermark)]


@pytest.mark.parametrize("nodes", [(2,), (2, 3)])
def test_a_leader_that_removed_itself_does_not_count_itself(nodes: tuple[int, ...]) -> None:
    bench = leading()
    bench.receive(RemoveVoterRequest(voter=KEYS[1]))
    asked = {sent.peer.id: sent for sent in read(bench)}
    found = []
    for node in nodes:
        agree(bench, asked[NodeId(node)])
        found += answers(bench)
    assert [number for number, _ in found] == ([1] if len(nodes) == 2 else [])


def test_nothing_of_a_former_leadership_is_answered_later() -> None:
    bench = leading()
    first, _ = read(bench, 1)
    bench.receive(bench.vote_request(2, epoch=bench.epoch + 1))
    assert answers(bench) == [(1, None)]
    bench.step(ResponseReceived(first.correlation, BeginQuorumEpochResponse(leader=_me(bench))))
    assert answers(bench) == []


def _me(bench: Bench) -> LeaderAndEpoch:
    return LeaderAndEpoch(bench.epoch, NodeId(1), endpoint(1))
