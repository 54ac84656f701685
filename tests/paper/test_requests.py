"""The requests of KIP-595, one after the other: what each is refused for, in which order, and what it moves."""

import attrs
import pytest

from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import LOG_START, Epoch, NodeId, Offset, OffsetAndEpoch, ReplicaKey
from quorate.metadata.quorum.effects import SendResponse
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import (
    Failure,
    RequestFailed,
    ResponseReceived,
    ShutdownRequested,
    SpaceChanged,
    TimePassed,
)
from quorate.metadata.quorum.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    FetchRequest,
    FetchResponse,
    LeaderAndEpoch,
    VoteRequest,
    VoteResponse,
)
from quorate.metadata.quorum.roles import Follower, Leader, Prospective, Resigned, Unattached
from quorate.metadata.records import KRaftVersionRecord, LeaderChangeRecord, VotersRecord
from tests.paper.bench import KEYS, LOG, Bench, endpoint
from tests.paper.test_figure_2 import FIVE
from tests.paper.test_raft import answer_fetch, following

BEGIN = BeginQuorumEpochRequest(epoch=Epoch(4), leader_id=NodeId(2), voter=KEYS[1], endpoints=(endpoint(2),))
END = EndQuorumEpochRequest(epoch=Epoch(4), leader_id=NodeId(2), preferred=())


def leading(voters: tuple[int, ...] = (1, 2, 3)) -> Bench:
    """The others have heard of it; nothing of its epoch is committed."""
    bench = Bench(voters=voters)
    wanted = voters[1 : len(voters) // 2 + 1]
    while bench.role not in ("prospective", "leader"):
        bench.until_timeout()
    bench.win_votes(*wanted)
    bench.win_votes(*wanted)
    assert bench.role == "leader"
    return bench


def resigned() -> Bench:
    bench = leading()
    bench.step(TimePassed(), bench.core.config.fetch_timeout_ms * 3 // 2)
    assert bench.role == "resigned"
    return bench


# ---- at the start (KIP-595, "Quorum State")


@pytest.mark.parametrize(
    ("election", "role"),
    [
        (ElectionState(Epoch(4), was_voter=True), "unattached"),
        (ElectionState(Epoch(4), None, KEYS[2], was_voter=True), "unattached"),
        (ElectionState(Epoch(4), None, KEYS[1], was_voter=True), "unattached"),
        (ElectionState(Epoch(4), NodeId(2), was_voter=True), "follower"),
        (ElectionState(Epoch(4), NodeId(9), was_voter=True), "unattached"),
        (ElectionState(Epoch(4), NodeId(1), KEYS[1], was_voter=True), "resigned"),
    ],
)
def test_the_file_says_how_a_replica_begins(election: ElectionState, role: str) -> None:
    """Whoever voted for itself asks again from the beginning: KRaft goes on as candidate (DIVERGENCE.md)."""
    bench = Bench(election=election)
    assert bench.role == role
    assert bench.core.election == election
    assert bench.last.election is None


def test_the_only_voter_leads_at_once() -> None:
    """KIP-595: it needs nobody's vote, so it waits for no election timeout."""
    bench = Bench(voters=(1,))
    bench.until_timeout()
    assert (bench.role, bench.epoch) == ("leader", LOG.epoch + 1)
    assert bench.now_ms < 1_000 + bench.core.config.election_timeout_ms


def test_a_replica_without_voters_never_stands() -> None:
    """KIP-853: an empty voter set elects nobody, so a wiped majority cannot begin a history of its own."""
    bench = Bench(voters=(), log=LOG_START, election=ElectionState.primordial(), formatted=True)
    bench.step(TimePassed(), 600_000)
    assert (bench.role, bench.epoch) == ("unattached", 0)


# ---- Vote


@pytest.mark.parametrize(
    "change",
    [
        {"last": OffsetAndEpoch(Offset(-1), Epoch(3))},
        {"last": OffsetAndEpoch(Offset(10), Epoch(-1))},
        {"last": OffsetAndEpoch(Offset(10), Epoch(9))},
        {"candidate": ReplicaKey(NodeId(-1), KEYS[2].directory_id)},
    ],
)
def test_a_vote_request_that_cannot_be_true_is_invalid(change: dict[str, object]) -> None:
    """KIP-595, Vote: INVALID_REQUEST, and before anything else: it moves no epoch."""
    bench = Bench()
    bench.receive(attrs.evolve(bench.vote_request(2, epoch=9), **change))  # type: ignore[arg-type]
    assert bench.answered(VoteResponse).error is ErrorCode.invalid_request
    assert bench.epoch == 3


def test_the_epoch_is_looked_at_before_the_addressee() -> None:
    """KIP-853, Vote: FENCED_LEADER_EPOCH comes before INVALID_VOTER_KEY."""
    bench = Bench()
    other = ReplicaKey(NodeId(1), KEYS[4].directory_id)
    last = OffsetAndEpoch(Offset(10), Epoch(1))
    bench.receive(bench.vote_request(2, epoch=2, voter=other, last=last))
    assert bench.answered(VoteResponse).error is ErrorCode.fenced_leader_epoch


def test_a_higher_epoch_is_joined_though_the_addressee_is_another() -> None:
    """KIP-853, Vote: the epoch is a fact, whoever was meant."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=9, voter=ReplicaKey(NodeId(1), KEYS[4].directory_id)))
    assert bench.last.election == ElectionState(Epoch(9))


def test_the_voter_must_be_the_one_that_voted_before() -> None:
    """KIP-853: the vote is given to a replica, its disk included: the same id with another disk is another."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=4))
    request = bench.vote_request(2, epoch=4)
    bench.receive(attrs.evolve(request, candidate=ReplicaKey(NodeId(2), KEYS[4].directory_id)))
    assert not bench.answered(VoteResponse).granted


def test_a_vote_given_is_given_again_without_a_look_at_the_log() -> None:
    """KIP-595, Vote: the same answer to the same candidate, whatever has become of the logs since."""
    bench = Bench()
    bench.receive(bench.vote_request(2, epoch=4))
    bench.receive(bench.vote_request(2, epoch=4, last=OffsetAndEpoch(Offset(0), Epoch(0))))
    assert bench.answered(VoteResponse).granted


@pytest.mark.parametrize("role", ["candidate", "leader", "follower", "resigned"])
def test_who_has_chosen_in_this_epoch_gives_no_vote(role: str) -> None:
    """KIP-595, Vote: only a replica without candidate and without leader in this epoch has a vote to give."""
    if role == "candidate":
        bench = Bench()
        bench.become_candidate()
    else:
        bench = {"leader": leading, "follower": following, "resigned": resigned}[role]()
    bench.receive(bench.vote_request(3, epoch=bench.epoch, last=OffsetAndEpoch(Offset(99), Epoch(3))))
    assert not bench.answered(VoteResponse).granted
    assert bench.answered(VoteResponse).error is ErrorCode.none
    assert bench.role == role


def test_who_knows_of_a_leader_that_it_cannot_reach_gives_no_vote() -> None:
    """KIP-595, Vote: a leader known by id only is a leader."""
    bench = Bench(election=ElectionState(Epoch(4), NodeId(9)))
    bench.receive(bench.vote_request(3, epoch=4))
    assert not bench.answered(VoteResponse).granted


def test_who_asks_for_pre_votes_still_has_its_vote() -> None:
    """KIP-996: a prospective without a leader votes as an unattached replica does, and gives up its own plan."""
    bench = Bench(election=ElectionState(Epoch(4)))
    bench.until_timeout()
    assert bench.role == "prospective"
    bench.receive(bench.vote_request(3, epoch=4))
    assert bench.answered(VoteResponse).granted
    assert (bench.role, bench.core.election.voted) == ("unattached", KEYS[3])


def test_an_observer_votes_too() -> None:
    """KIP-853: a voter whose log lacks its own addition must be able to elect."""
    bench = Bench(voters=(2, 3, 4))
    bench.receive(bench.vote_request(2, epoch=4))
    assert bench.answered(VoteResponse).granted
    assert isinstance(bench.core.role, Unattached)
    assert bench.core.role.election_deadline_ms is None


# ---- BeginQuorumEpoch


@pytest.mark.parametrize("leader", [-1, 1])
def test_nobody_and_oneself_are_no_leaders(leader: int) -> None:
    """KIP-595, BeginQuorumEpoch: INVALID_REQUEST."""
    bench = Bench()
    bench.receive(attrs.evolve(BEGIN, leader_id=NodeId(leader)))
    assert bench.answered(BeginQuorumEpochResponse).error is ErrorCode.invalid_request
    assert (bench.role, bench.epoch) == ("unattached", 3)


def test_who_is_told_of_a_leader_fetches_from_it() -> None:
    """KIP-595, BeginQuorumEpoch: the voter turns follower and fetches."""
    bench = Bench()
    bench.receive(BEGIN)
    assert bench.last.election == ElectionState(Epoch(4), NodeId(2))
    assert [(one.peer.id, request.epoch) for one, request in bench.sent(FetchRequest)] == [(2, 4)]


def test_the_address_of_a_leader_is_the_one_that_it_says() -> None:
    """KIP-853, BeginQuorumEpoch: its endpoints, not those of the log; without any, the log's."""
    bench = Bench()
    elsewhere = attrs.evolve(endpoint(2), host="elsewhere")
    bench.receive(attrs.evolve(BEGIN, endpoints=(attrs.evolve(elsewhere, name="OTHER"), elsewhere)))
    assert bench.sent(FetchRequest)[0][0].peer.endpoint == elsewhere
    bench = Bench()
    bench.receive(attrs.evolve(BEGIN, endpoints=()))
    assert bench.sent(FetchRequest)[0][0].peer.endpoint == endpoint(2)


def test_an_announcement_again_changes_nothing() -> None:
    """KIP-853: it is sent all the time; only a Fetch that succeeds shows that its leader serves."""
    bench = following()
    role = bench.core.role
    assert isinstance(role, Follower)
    before = role.fetch_deadline_ms
    bench.step(TimePassed(), 100)
    bench.receive(BEGIN)
    assert bench.answered(BeginQuorumEpochResponse).error is ErrorCode.none
    assert bench.core.role is role
    assert (role.fetch_deadline_ms, role.has_fetched) == (before, False)
    assert bench.last.election is None


# ---- EndQuorumEpoch


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"epoch": Epoch(3)}, ErrorCode.fenced_leader_epoch),
        ({"epoch": Epoch(3), "leader_id": NodeId(-1)}, ErrorCode.fenced_leader_epoch),
        ({"leader_id": NodeId(-1)}, ErrorCode.invalid_request),
        ({"leader_id": NodeId(1)}, ErrorCode.invalid_request),
    ],
)
def test_what_ends_no_epoch(change: dict[str, object], expected: ErrorCode) -> None:
    """KIP-595, EndQuorumEpoch: FENCED_LEADER_EPOCH, INVALID_REQUEST."""
    bench = following()
    bench.receive(attrs.evolve(END, preferred=(KEYS[1],), **change))  # type: ignore[arg-type]
    assert bench.answered(EndQuorumEpochResponse).error is expected
    assert (bench.role, bench.epoch) == ("follower", 4)


@pytest.mark.parametrize(
    ("preferred", "wait_ms"),
    [((2, 1), 500), ((2, 1, 3), 250), ((2, 3, 1), 500), ((2, 3, 4, 1), 500), ((2, 3), 1_000), ((), 1_000)],
)
def test_the_further_back_a_successor_the_longer_it_waits(preferred: tuple[int, ...], wait_ms: int) -> None:
    """KIP-595, EndQuorumEpoch: the first stands at once, the others back off; one not named waits longest."""
    bench = following()
    bench.receive(attrs.evolve(END, preferred=tuple(KEYS[n] for n in preferred)))
    role = bench.core.role
    assert isinstance(role, Follower)
    assert role.fetch_deadline_ms == bench.now_ms + wait_ms


def test_the_end_of_an_epoch_never_makes_a_follower_wait_longer() -> None:
    bench = following()
    bench.step(TimePassed(), 1_900)
    bench.receive(END)
    assert bench.core.role.fetch_deadline_ms == bench.now_ms + 100  # type: ignore[union-attr]


def test_the_end_of_an_epoch_lets_its_followers_grant_pre_votes() -> None:
    """KIP-996 with KIP-595: a follower that has fetched refuses for its leader's sake; that one is gone."""
    bench = following()
    answer_fetch(bench)
    bench.receive(END)
    bench.receive(bench.vote_request(3, epoch=4, pre_vote=True))
    assert bench.answered(VoteResponse).granted


@pytest.mark.parametrize("why", ["observer", "disk", "stopping"])
def test_a_successor_that_cannot_lead_does_not_stand(why: str) -> None:
    """KIP-595: an observer never stands; nor does (ours) who has no room, or is about to go."""
    bench = Bench(voters=(2, 3, 4)) if why == "observer" else Bench()
    bench.receive(BEGIN)
    if why != "observer":
        bench.step(SpaceChanged(low=True) if why == "disk" else ShutdownRequested())
    bench.receive(attrs.evolve(END, preferred=(KEYS[1], KEYS[3])))
    assert (bench.role, bench.epoch) == ("follower", 4)


def test_a_resigned_leader_says_so_until_it_is_heard() -> None:
    """KIP-595, EndQuorumEpoch: to every voter, again to who did not acknowledge."""
    bench = resigned()
    (first, _), (second, request) = bench.sent(EndQuorumEpochRequest)
    answer = EndQuorumEpochResponse(leader=LeaderAndEpoch(bench.epoch))
    bench.step(ResponseReceived(first.correlation, answer))
    bench.step(RequestFailed(second.correlation, Failure.RESET))
    bench.step(TimePassed(), 50)
    assert [(one.peer.id, again) for one, again in bench.sent(EndQuorumEpochRequest)] == [
        (second.peer.id, request)
    ]


def test_a_resigned_leader_waits_an_election_timeout_then_asks() -> None:
    """KIP-595: resigned until a new leader, or its election timeout."""
    bench = resigned()
    role = bench.core.role
    assert isinstance(role, Resigned)
    assert 1_000 <= role.election_deadline_ms - bench.now_ms < 2_000
    bench.step(TimePassed(), role.election_deadline_ms - bench.now_ms - 1)
    assert bench.role == "resigned"
    bench.step(TimePassed(), 1)
    assert (bench.role, bench.epoch) == ("prospective", 4)


def test_a_resigned_leader_names_nobody_as_leader() -> None:
    """KIP-595: NOT_LEADER_OR_FOLLOWER without a leader: it is none any more, and must not be asked again."""
    bench = resigned()
    bench.fetch(2)
    answer = bench.answered(FetchResponse)
    assert answer.error is ErrorCode.not_leader_or_follower
    assert answer.leader == LeaderAndEpoch(Epoch(4))


def test_a_resigned_leader_takes_no_new_part_in_its_epoch() -> None:
    """KIP-595: it never leads the same epoch again: late votes count for nothing."""
    bench = Bench()
    bench.become_candidate()
    asked = bench.sent(VoteRequest)
    bench.answer_vote(asked[0], granted=True)
    bench.step(TimePassed(), 3_000)
    assert bench.role == "resigned"
    bench.answer_vote(asked[1], granted=True)
    assert bench.role == "resigned"


# ---- Fetch


@pytest.mark.parametrize(
    "change",
    [
        {"max_wait_ms": -1},
        {"offset": Offset(-1)},
        {"last_fetched_epoch": Epoch(-1)},
        {"last_fetched_epoch": Epoch(5)},
    ],
)
def test_a_fetch_that_cannot_be_true_is_invalid(change: dict[str, object]) -> None:
    """KIP-595, Fetch: INVALID_REQUEST, also where it would be refused for its epoch."""
    bench = leading()
    request = FetchRequest(
        replica=KEYS[2],
        epoch=bench.epoch,
        offset=Offset(10),
        last_fetched_epoch=Epoch(3),
        max_wait_ms=0,
        max_bytes=1,
    )
    bench.receive(attrs.evolve(request, **change))  # type: ignore[arg-type]
    assert bench.answered(FetchResponse).error is ErrorCode.invalid_request
    role = bench.core.role
    assert isinstance(role, Leader)
    assert role.progress == {}


def test_a_fetch_with_nothing_to_get_waits_as_long_as_it_said() -> None:
    """KIP-595, Fetch: long polling, as ever in Kafka."""
    bench = leading()
    bench.fetch(2)
    assert not bench.last.send
    bench.step(TimePassed(), 499)
    assert not [one for one in bench.last.send if isinstance(one, SendResponse)]
    bench.step(TimePassed(), 1)
    answer = bench.answered(FetchResponse)
    assert (answer.error, answer.read) == (ErrorCode.none, None)


def test_a_replica_that_fetches_anew_gave_up_its_last_fetch() -> None:
    bench = leading()
    bench.fetch(2)
    bench.fetch(2)
    answers = [one for one in bench.last.send if isinstance(one, SendResponse)]
    assert [one.token for one in answers] == [1]


def test_who_waits_is_told_when_leadership_ends() -> None:
    """KIP-595: parked Fetches end with NOT_LEADER_OR_FOLLOWER, and with the epoch that has begun."""
    bench = leading()
    bench.fetch(2)
    bench.receive(bench.vote_request(3, epoch=9))
    answer = next(one.response for one in bench.last.send if isinstance(one, SendResponse))
    assert isinstance(answer, FetchResponse)
    assert (answer.error, answer.leader) == (ErrorCode.not_leader_or_follower, LeaderAndEpoch(Epoch(9)))


def test_a_reader_that_is_no_replica_is_served_and_not_remembered() -> None:
    """KIP-595, Fetch: a negative id reads, and moves nothing."""
    bench = leading()
    bench.flushed()
    bench.fetch(2)
    replica = ReplicaKey(NodeId(-1))
    bench.receive(
        FetchRequest(
            replica=replica,
            epoch=bench.epoch,
            offset=Offset(0),
            last_fetched_epoch=Epoch(0),
            max_wait_ms=500,
            max_bytes=1_000,
        )
    )
    read = bench.answered(FetchResponse).read
    assert read is not None
    assert read.end == bench.core.high_watermark
    role = bench.core.role
    assert isinstance(role, Leader)
    assert set(role.progress) == {KEYS[2]}


def test_a_voters_id_with_another_disk_is_an_observer() -> None:
    """KIP-853, Fetch: progress is kept by id and directory: a wiped voter acknowledges nothing for its old self."""
    bench = leading()
    bench.flushed()
    request = FetchRequest(
        replica=ReplicaKey(NodeId(2), KEYS[4].directory_id),
        epoch=bench.epoch,
        offset=bench.core.log.end.offset,
        last_fetched_epoch=bench.core.log.end.epoch,
        max_wait_ms=0,
        max_bytes=1,
    )
    bench.receive(request)
    assert bench.core.high_watermark is None
    role = bench.core.role
    assert isinstance(role, Leader)
    assert role.fetched_since_check == set()


def test_a_leader_tells_where_its_log_begins() -> None:
    """KIP-630, Fetch: LogStartOffset."""
    bench = Bench(snapshots=(OffsetAndEpoch(Offset(6), Epoch(3)),))
    bench.become_leader()
    bench.fetch(2, offset=8, last_epoch=3)
    assert bench.answered(FetchResponse).log_start == 6


def test_an_observer_that_is_told_of_the_leader_fetches_there() -> None:
    """KIP-595: observers find the leader by asking, since nobody announces it to them."""
    bench = Bench(voters=(2, 3, 4))
    bench.step(TimePassed())
    one, request = next(iter(bench.core.outstanding.items()))
    assert isinstance(request.request, FetchRequest)
    answer = FetchResponse(
        leader=LeaderAndEpoch(Epoch(5), NodeId(4), endpoint(4)), error=ErrorCode.fenced_leader_epoch
    )
    bench.step(ResponseReceived(one, answer))
    assert (bench.role, bench.epoch) == ("follower", 5)
    assert bench.sent(FetchRequest)[0][0].peer.id == 4


# ---- check quorum (KAFKA-15489)


def test_two_followers_and_the_leader_are_a_majority_of_five() -> None:
    """KIP-595 as amended: the timer begins anew with each majority, the leader counted."""
    bench = leading(FIVE)
    bench.step(TimePassed(), 2_000)
    bench.fetch(2)
    bench.fetch(4)
    bench.step(TimePassed(), 2_999)
    assert bench.role == "leader"
    bench.step(TimePassed(), 1)
    assert bench.role == "resigned"


def test_the_same_follower_again_and_again_is_no_majority_of_five() -> None:
    bench = leading(FIVE)
    for _ in range(3):
        bench.fetch(2)
        bench.step(TimePassed(), 1_000)
    assert bench.role == "resigned"


def test_who_is_no_voter_is_no_presence() -> None:
    bench = leading()
    for _ in range(3):
        bench.fetch(4)
        bench.step(TimePassed(), 1_000)
    assert bench.role == "resigned"


def test_the_only_voter_needs_nobodys_presence() -> None:
    bench = leading((1,))
    bench.step(TimePassed(), 600_000)
    assert bench.role == "leader"


# ---- the first records of an epoch


def test_the_first_record_says_who_leads_who_votes_and_who_voted() -> None:
    """KIP-595, LeaderChangeMessage: leader, voters, granting voters."""
    bench = Bench()
    bench.become_candidate()
    bench.win_votes(3)
    (record,) = bench.last.append[0].records()
    assert isinstance(record, LeaderChangeRecord)
    assert record.leader_id == 1
    assert [one.voter_id for one in record.voters] == [1, 2, 3]
    assert [one.voter_id for one in record.granting_voters] == [1, 3]


def test_the_first_leader_brings_the_formatted_voters_into_the_log() -> None:
    """KIP-853: the 0-0 snapshot is never shipped, so its voters are written, in the batch of the LeaderChange."""
    bench = Bench(log=LOG_START, election=ElectionState.primordial(), formatted=True)
    bench.become_leader()
    (first,) = bench.last.append
    assert [type(one) for one in first.records()] == [LeaderChangeRecord, KRaftVersionRecord, VotersRecord]
    assert bench.core.log.voters.last_offset == 2


def test_the_voters_are_written_once() -> None:
    bench = Bench()
    bench.become_leader()
    assert [type(one) for one in bench.last.append[0].records()] == [LeaderChangeRecord]


# ---- state transitions that no request causes


def test_a_prospective_keeps_the_vote_of_its_epoch() -> None:
    """KIP-996: asking costs nothing that was promised."""
    bench = Bench(election=ElectionState(Epoch(4), None, KEYS[2]))
    while not isinstance(bench.core.role, Prospective):
        bench.until_timeout()
    assert bench.core.election.voted == KEYS[2]
    bench.receive(bench.vote_request(3, epoch=4))
    assert not bench.answered(VoteResponse).granted
