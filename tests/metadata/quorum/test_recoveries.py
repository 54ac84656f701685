"""Two logs of one cluster: what comes from the other one changes nothing here, but may end an observer's copy."""

import uuid

import attrs
import pytest

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.ids import Epoch, NodeId, Offset, OffsetAndEpoch, ReplicaKey, quorum_name
from quorate.metadata.quorum.effects import Effects, RejectClusterId
from quorate.metadata.quorum.events import RequestReceived, ResponseReceived, Token
from quorate.metadata.quorum.messages import (
    AddVoterRequest,
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    FetchRequest,
    FetchResponse,
    LeaderAndEpoch,
    Request,
)
from quorate.metadata.quorum.recoveries import first_batches, first_epoch, is_beginning
from quorate.metadata.raft_wire import request_to_wire, response_from_wire, response_to_wire
from quorate.metadata.records import VersionRange, Voter
from tests.metadata.model.building import recovery
from tests.paper.bench import KEYS, LOG, Bench, endpoint

OURS, THEIRS = uuid.UUID(int=1001), uuid.UUID(int=1002)
OLD, MINE, OTHER = (quorum_name("c", one) for one in (None, OURS, THEIRS))


def receive(bench: Bench, request: Request, said: str | None) -> Effects:
    return bench.step(RequestReceived(Token(99), request, said))


def fetch_of(replica: ReplicaKey, epoch: int = 3) -> FetchRequest:
    return FetchRequest(
        replica=replica,
        epoch=Epoch(epoch),
        offset=Offset(0),
        last_fetched_epoch=Epoch(0),
        max_wait_ms=0,
        max_bytes=1,
    )


REQUESTS = {
    "vote": lambda bench: bench.vote_request(2, epoch=5000),
    "pre-vote": lambda bench: bench.vote_request(2, epoch=5000, pre_vote=True),
    "begin": lambda bench: BeginQuorumEpochRequest(
        epoch=Epoch(5000), leader_id=NodeId(2), voter=KEYS[1], endpoints=(endpoint(2),)
    ),
    "end": lambda bench: EndQuorumEpochRequest(epoch=Epoch(5000), leader_id=NodeId(2), preferred=()),
}


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize(("own", "said"), [(None, OTHER), (OURS, OTHER), (OURS, OLD)])
def test_nothing_of_another_log_is_looked_at(kind: str, own: uuid.UUID | None, said: str) -> None:
    bench = Bench(recovery_id=own)
    before = bench.core.election, bench.core.role
    effects = receive(bench, REQUESTS[kind](bench), said)

    assert (bench.core.election, bench.core.role) == before
    assert effects.send == [RejectClusterId(Token(99))]


@pytest.mark.parametrize("kind", REQUESTS)
def test_the_same_recovery_is_the_same_quorum(kind: str) -> None:
    bench = Bench(recovery_id=OURS)
    receive(bench, REQUESTS[kind](bench), MINE)

    assert bench.epoch == 5000


def test_operators_and_readers_name_the_cluster_alone() -> None:
    bench = Bench(recovery_id=OURS)
    reader = fetch_of(ReplicaKey(NodeId(-1)))
    receive(bench, reader, OLD)
    assert bench.answered(FetchResponse).recovery_id == OURS
    assert bench.answered(FetchResponse).error is not ErrorCode.inconsistent_topic_id
    effects = receive(bench, AddVoterRequest(voter=KEYS[4], endpoints=(endpoint(4),)), OLD)
    assert RejectClusterId(Token(99)) not in effects.send
    effects = receive(bench, AddVoterRequest(voter=KEYS[4], endpoints=(endpoint(4),)), "another cluster")
    assert effects.send == [RejectClusterId(Token(99))]


def test_who_fetches_another_log_is_told_which_one_this_is() -> None:
    bench = Bench(recovery_id=OURS)
    receive(bench, fetch_of(KEYS[4]), OLD)

    answer = bench.answered(FetchResponse)
    assert (answer.error, answer.recovery_id, answer.read) == (ErrorCode.inconsistent_topic_id, OURS, None)
    assert receive(bench, fetch_of(KEYS[4]), "another cluster").send == [RejectClusterId(Token(99))]


def answer_fetch(bench: Bench, recovery_id: uuid.UUID | None, epoch: int) -> Effects:
    """The Fetch that is under way is answered by a replica of that log."""
    while not bench.sent(FetchRequest):
        bench.until_timeout()
    ((asked, _),) = bench.sent(FetchRequest)
    answer = FetchResponse(
        leader=LeaderAndEpoch(Epoch(epoch), NodeId(3), endpoint(3)),
        error=ErrorCode.inconsistent_topic_id,
        recovery_id=recovery_id,
    )
    return bench.step(ResponseReceived(asked.correlation, answer))


def test_an_observer_gives_up_a_log_that_was_given_up() -> None:
    bench = Bench(me=4)
    effects = answer_fetch(bench, THEIRS, 1003)

    assert effects.superseded_by == THEIRS
    assert bench.epoch == LOG.epoch, "what is on the disk of the new epoch is the next life's business"


@pytest.mark.parametrize(
    ("own", "theirs", "epoch"), [(None, THEIRS, 3), (OURS, THEIRS, 2), (OURS, None, 5000)]
)
def test_an_observer_never_goes_back(own: uuid.UUID | None, theirs: uuid.UUID | None, epoch: int) -> None:
    """An old quorum of the same cluster may still run, or run again."""
    bench = Bench(me=4, recovery_id=own)
    effects = answer_fetch(bench, theirs, epoch)

    assert effects.superseded_by is None
    assert bench.epoch == LOG.epoch
    assert any("left behind" in note for note in effects.notes)


def test_a_voter_takes_no_part_and_says_what_to_do() -> None:
    bench = Bench(me=1)
    receive(
        bench,
        BeginQuorumEpochRequest(epoch=Epoch(4), leader_id=NodeId(3), voter=KEYS[1], endpoints=(endpoint(3),)),
        OLD,
    )
    effects = answer_fetch(bench, THEIRS, 1003)

    assert effects.superseded_by is None
    assert bench.epoch == 4
    assert any("add-controller" in note for note in effects.notes)


VOTER = Voter(
    voter_id=NodeId(3),
    voter_directory_id=uuid.UUID(int=77),
    endpoints=(endpoint(3),),
    kraft_version_feature=VersionRange(min_supported_version=0, max_supported_version=1),
)


def beginning(by_hand: bool) -> RecordBatch:
    control, _ = first_batches(
        OffsetAndEpoch(LOG.offset, LOG.epoch), VOTER, recovery(7, epoch=1003), append_time_ms=0
    )
    if by_hand:
        return control
    leader, *rest = control.records()
    elected = attrs.evolve(leader, granting_voters=leader.voters)  # type: ignore[union-attr, arg-type]
    return RecordBatch.seal(
        [elected, *rest],
        base_offset=control.base_offset,
        epoch=control.epoch,
        append_time_ms=0,
        is_control=True,
    )


@pytest.mark.parametrize("by_hand", [True, False])
def test_voters_that_share_nothing_with_those_before_are_decided_by_hand_or_a_fault(by_hand: bool) -> None:
    bench = Bench(me=4)
    while not bench.sent(FetchRequest):
        bench.until_timeout()
    ((asked, _),) = bench.sent(FetchRequest)
    leader = LeaderAndEpoch(Epoch(1004), NodeId(3), endpoint(3))
    bench.step(ResponseReceived(asked.correlation, FetchResponse(leader=leader)))
    ((asked, _),) = bench.sent(FetchRequest)
    batch = beginning(by_hand)
    answer = FetchResponse(leader=leader, high_watermark=batch.end_offset, batches=(batch,))
    assert is_beginning(batch.records()) is by_hand
    if by_hand:
        bench.step(ResponseReceived(asked.correlation, answer))
        assert bench.core.voters.ids == (3,)
    else:
        with pytest.raises(InvariantViolated, match="voters changed"):
            bench.step(ResponseReceived(asked.correlation, answer))


def test_epochs_are_skipped() -> None:
    assert first_epoch([3, 17, 5]) == 1017
    assert first_epoch([]) == 1000


@pytest.mark.parametrize("recovery_id", [None, OURS])
def test_the_answer_to_a_fetch_says_on_the_wire_which_log_it_is(recovery_id: uuid.UUID | None) -> None:
    answer = FetchResponse(leader=LeaderAndEpoch(Epoch(3)), recovery_id=recovery_id)
    assert response_from_wire(response_to_wire(answer), "CONTROLLER") == answer


def test_a_request_names_the_quorum_in_the_place_of_the_cluster() -> None:
    assert request_to_wire(fetch_of(KEYS[4]), MINE).cluster_id == "c/AAAAAAAAAAAAAAAAAAAD6Q"  # type: ignore[union-attr]
    assert OLD == "c"
