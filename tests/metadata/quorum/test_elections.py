"""Courtesies of elections that no paper knows: they only save time, so each test shows the time saved."""

from quorate.metadata.ids import Epoch, Offset, OffsetAndEpoch
from quorate.metadata.quorum.messages import VoteRequest
from tests.paper.bench import LOG, Bench

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
