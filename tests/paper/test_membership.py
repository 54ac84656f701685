"""The rules of KIP-853 for changing who votes, and of Ongaro's thesis, chapter 4: one test a sentence."""

import attrs
import pytest

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode, InvariantViolated
from quorate.metadata.ids import Endpoint, NodeId, Offset, ReplicaKey
from quorate.metadata.quorum.effects import SendResponse
from quorate.metadata.quorum.events import Failure, RequestFailed, ResponseReceived, TimePassed
from quorate.metadata.quorum.messages import (
    AddVoterRequest,
    AddVoterResponse,
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    LeaderAndEpoch,
    RemoveVoterRequest,
    RemoveVoterResponse,
    UpdateVoterRequest,
    UpdateVoterResponse,
    VersionsRequest,
    VersionsResponse,
)
from quorate.metadata.quorum.roles import Leader, Prospective
from quorate.metadata.records import VersionRange, Voter, VotersRecord
from tests.paper.bench import KEYS, Bench, endpoint
from tests.paper.test_raft import answer_fetch, following

ADD_4 = AddVoterRequest(voter=KEYS[4], endpoints=(endpoint(4),), timeout_ms=5_000)


def leading(voters: tuple[int, ...] = (1, 2, 3)) -> Bench:
    """Leader with a committed record of its epoch; 4 has caught up."""
    bench = Bench(voters=voters)
    if len(voters) == 1:
        bench.until_timeout()
    else:
        bench.become_leader()
    bench.flushed()
    for node in voters[1:]:
        bench.fetch(node)
    bench.fetch(4)
    assert bench.core.high_watermark == bench.core.log.end.offset
    return bench


def ask(bench: Bench, request: AddVoterRequest | RemoveVoterRequest) -> ErrorCode | None:
    """The answer that came at once, if any did."""
    bench.receive(request)
    answers = [
        one.response.error
        for one in bench.last.send
        if hasattr(one, "response") and isinstance(one.response, AddVoterResponse | RemoveVoterResponse)
    ]
    return answers[0] if answers else None


def say_versions(bench: Bench, spoken: tuple[int, int] | None = (0, 1)) -> None:
    ((asked, _),) = bench.sent(VersionsRequest)
    bench.step(ResponseReceived(asked.correlation, VersionsResponse(kraft_versions=spoken)))


def outcome(bench: Bench) -> ErrorCode:
    found = [one.response for one in bench.last.send if hasattr(one, "response")]
    changes = [one for one in found if isinstance(one, AddVoterResponse | RemoveVoterResponse)]
    return changes[-1].error


def appended(bench: Bench) -> list[VotersRecord]:
    return [
        record
        for batch in bench.last.append
        for record in batch.records()
        if isinstance(record, VotersRecord)
    ]


# ---- when


@pytest.mark.parametrize("request_", [ADD_4, RemoveVoterRequest(voter=KEYS[3])])
def test_nobody_but_the_leader_changes_voters(request_: AddVoterRequest | RemoveVoterRequest) -> None:
    assert ask(following(leader=2, epoch=4), request_) is ErrorCode.not_leader_or_follower


@pytest.mark.parametrize("request_", [ADD_4, RemoveVoterRequest(voter=KEYS[3])])
def test_no_change_before_a_record_of_the_leaders_epoch_is_committed(
    request_: AddVoterRequest | RemoveVoterRequest,
) -> None:
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    assert ask(bench, request_) is ErrorCode.request_timed_out
    assert appended(bench) == []


def test_no_second_change_while_one_is_under_way() -> None:
    bench = leading()
    assert ask(bench, ADD_4) is None
    assert ask(bench, RemoveVoterRequest(voter=KEYS[3])) is ErrorCode.request_timed_out


def test_no_second_change_while_the_last_one_is_not_committed_even_if_nobody_waits_for_it() -> None:
    bench = leading()
    assert ask(bench, RemoveVoterRequest(voter=KEYS[3], timeout_ms=100)) is None
    bench.step(TimePassed(), later_ms=100)
    assert outcome(bench) is ErrorCode.request_timed_out
    assert ask(bench, RemoveVoterRequest(voter=KEYS[2])) is ErrorCode.request_timed_out
    bench.flushed()
    bench.fetch(2)
    assert ask(bench, ADD_4) is None, "committed: the next change may begin"


def test_static_voters_are_not_changed_by_records() -> None:
    """kraft.version 0: they stand in every node's configuration."""
    bench = leading()
    bench.core.log.voters = attrs.evolve(bench.core.log.voters, versions=())
    assert ask(bench, ADD_4) is ErrorCode.unsupported_version
    assert ask(bench, RemoveVoterRequest(voter=KEYS[3])) is ErrorCode.unsupported_version


def test_a_change_is_over_when_its_own_record_is_committed_and_not_the_one_before() -> None:
    bench = leading()
    bench.propose()
    before = bench.core.log.end.offset
    ask(bench, RemoveVoterRequest(voter=KEYS[3]))
    bench.flushed()
    bench.fetch(2, offset=before)
    assert bench.core.high_watermark == before
    with pytest.raises(IndexError):
        outcome(bench)
    bench.fetch(2)
    assert outcome(bench) is ErrorCode.none


# ---- adding


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (attrs.evolve(ADD_4, voter=ReplicaKey(NodeId(4))), ErrorCode.invalid_request),
        (attrs.evolve(ADD_4, endpoints=()), ErrorCode.invalid_request),
        (attrs.evolve(ADD_4, endpoints=(Endpoint("OTHER", "h", 1),)), ErrorCode.invalid_request),
        (attrs.evolve(ADD_4, voter=KEYS[3]), ErrorCode.duplicate_voter),
        (attrs.evolve(ADD_4, voter=ReplicaKey(NodeId(3), KEYS[4].directory_id)), ErrorCode.duplicate_voter),
    ],
)
def test_what_cannot_be_added(request_: AddVoterRequest, expected: ErrorCode) -> None:
    bench = leading()
    assert ask(bench, request_) is expected
    assert bench.sent(VersionsRequest) == []


def test_a_new_voter_counts_from_the_append_of_its_record() -> None:
    bench = leading()
    ask(bench, ADD_4)
    say_versions(bench)
    (record,) = appended(bench)
    assert [voter.voter_id for voter in record.voters] == [1, 2, 3, 4]
    assert bench.core.voters.majority == 3
    bench.flushed()
    bench.fetch(2)
    assert bench.core.high_watermark == bench.core.log.end.offset - 1, "two of four are no majority"
    bench.fetch(4)
    assert bench.core.high_watermark == bench.core.log.end.offset
    assert outcome(bench) is ErrorCode.none


def test_a_new_voter_is_told_at_once_who_leads() -> None:
    bench = leading()
    ask(bench, ADD_4)
    say_versions(bench)
    assert 4 in {sent.peer.id for sent, _ in bench.sent(BeginQuorumEpochRequest)}


def test_a_replica_that_does_not_speak_the_kraft_version_is_not_added() -> None:
    bench = leading()
    for spoken in ((0, 0), None):
        ask(bench, ADD_4)
        say_versions(bench, spoken)
        assert outcome(bench) is ErrorCode.invalid_request
        assert appended(bench) == []


def test_a_replica_that_cannot_be_reached_is_not_added() -> None:
    bench = leading()
    ask(bench, ADD_4)
    ((asked, _),) = bench.sent(VersionsRequest)
    bench.step(RequestFailed(asked.correlation, Failure.REFUSED))
    assert outcome(bench) is ErrorCode.request_timed_out
    assert ask(bench, ADD_4) is None, "nothing stays pending"


def test_a_replica_that_never_fetched_is_not_added() -> None:
    bench = Bench()
    bench.become_leader()
    bench.flushed()
    bench.fetch(2)
    ask(bench, ADD_4)
    say_versions(bench)
    assert outcome(bench) is ErrorCode.request_timed_out
    assert "does not fetch" in str(bench.answered(AddVoterResponse).message)


def test_a_replica_that_fetches_no_more_is_not_added() -> None:
    bench = leading()
    for _ in range(3):
        bench.step(TimePassed(), later_ms=bench.core.config.fetch_timeout_ms // 2)
        bench.fetch(2)
    ask(bench, ADD_4)
    say_versions(bench)
    assert "does not fetch" in str(bench.answered(AddVoterResponse).message)


def test_a_replica_that_is_far_behind_is_not_added() -> None:
    bench = leading()
    bench.step(TimePassed(), later_ms=bench.core.config.fetch_timeout_ms - 500)
    bench.fetch(2)
    bench.propose()
    bench.flushed()
    bench.fetch(2)
    bench.step(TimePassed(), later_ms=600)
    bench.fetch(4, offset=0)
    ask(bench, ADD_4)
    say_versions(bench)
    assert outcome(bench) is ErrorCode.request_timed_out
    assert "still catching up" in str(bench.answered(AddVoterResponse).message)
    assert appended(bench) == []


def test_an_answer_that_comes_after_the_deadline_changes_nothing() -> None:
    bench = leading()
    ask(bench, attrs.evolve(ADD_4, timeout_ms=100))
    ((asked, _),) = bench.sent(VersionsRequest)
    bench.step(TimePassed(), later_ms=100)
    assert outcome(bench) is ErrorCode.request_timed_out
    bench.step(ResponseReceived(asked.correlation, VersionsResponse(kraft_versions=(0, 1))))
    assert appended(bench) == []


def test_what_was_asked_for_an_earlier_change_decides_nothing_in_the_next() -> None:
    """The first replica is silent, its operator loses patience, and the next change is another one's."""
    for late in (RequestFailed, ResponseReceived):
        bench = leading()
        bench.fetch(5)
        ask(bench, attrs.evolve(ADD_4, timeout_ms=100))
        ((asked, _),) = bench.sent(VersionsRequest)
        bench.step(TimePassed(), later_ms=100)
        assert outcome(bench) is ErrorCode.request_timed_out
        at_4 = endpoint(4)  # a node that took over the address, or the id
        assert ask(bench, AddVoterRequest(voter=KEYS[5], endpoints=(at_4,), timeout_ms=5_000)) is None
        said = Failure.TIMED_OUT if late is RequestFailed else VersionsResponse(kraft_versions=(0, 0))
        own = bench.last
        bench.step(late(asked.correlation, said))  # type: ignore[arg-type]
        assert not any(isinstance(one, SendResponse) for one in bench.last.send)
        bench.last = own
        say_versions(bench)
        assert [voter.voter_id for voter in appended(bench)[0].voters] == [1, 2, 3, 5]


def test_who_does_not_want_to_wait_is_answered_once_it_is_appended() -> None:
    bench = leading()
    ask(bench, attrs.evolve(ADD_4, ack_when_committed=False))
    say_versions(bench)
    assert outcome(bench) is ErrorCode.none


def test_the_only_voter_needs_no_presence_until_it_has_company() -> None:
    bench = leading((1,))
    role = bench.core.role
    assert isinstance(role, Leader)
    assert role.check_quorum_at_ms is None
    ask(bench, ADD_4)
    say_versions(bench)
    assert role.check_quorum_at_ms == bench.now_ms + bench.core.config.fetch_timeout_ms * 3 // 2


# ---- removing


@pytest.mark.parametrize("voter", [KEYS[4], ReplicaKey(NodeId(3), KEYS[4].directory_id)])
def test_only_a_voter_is_removed_and_only_with_its_own_disk(voter: ReplicaKey) -> None:
    assert ask(leading(), RemoveVoterRequest(voter=voter)) is ErrorCode.voter_not_found


def test_the_last_voter_stays() -> None:
    assert ask(leading((1,)), RemoveVoterRequest(voter=KEYS[1])) is ErrorCode.voter_not_found


def test_a_removed_voter_does_not_count_from_the_append_on() -> None:
    bench = leading()
    ask(bench, RemoveVoterRequest(voter=KEYS[3]))
    bench.flushed()
    bench.fetch(3)
    assert bench.core.high_watermark == bench.core.log.end.offset - 1
    bench.fetch(2)
    assert bench.core.high_watermark == bench.core.log.end.offset
    assert outcome(bench) is ErrorCode.none


def test_a_removed_voter_is_no_presence_either() -> None:
    bench = leading()
    ask(bench, ADD_4)
    say_versions(bench)
    bench.flushed()
    bench.fetch(2)
    bench.fetch(4)
    role = bench.core.role
    assert isinstance(role, Leader)
    role.fetched_since_check.clear()
    bench.fetch(3)
    assert role.fetched_since_check == {3}
    ask(bench, RemoveVoterRequest(voter=KEYS[3]))
    assert role.fetched_since_check == set()


def test_the_last_one_left_needs_nobodys_presence() -> None:
    bench = leading((1, 2))
    ask(bench, RemoveVoterRequest(voter=KEYS[2]))
    bench.flushed()
    assert outcome(bench) is ErrorCode.none
    bench.step(TimePassed(), later_ms=60_000)
    assert bench.role == "leader"


def test_a_leader_that_removed_itself_leads_on_without_counting_itself_then_resigns() -> None:
    bench = leading()
    ask(bench, RemoveVoterRequest(voter=KEYS[1]))
    bench.flushed()
    bench.fetch(2)
    assert (bench.role, bench.core.high_watermark) == ("leader", bench.core.log.end.offset - 1)
    bench.fetch(3)
    assert bench.role == "resigned"
    assert bench.last.committed == bench.core.log.end.offset
    assert outcome(bench) is ErrorCode.none
    assert {sent.peer.id for sent, _ in bench.sent(EndQuorumEpochRequest)} == {2, 3}


def test_a_leader_that_removed_itself_still_says_where_it_is() -> None:
    """Kafka's brokers exit when an answer names a leader without its address."""
    bench = leading()
    bench.core.config = attrs.evolve(bench.core.config, endpoints=(endpoint(1),))
    ask(bench, RemoveVoterRequest(voter=KEYS[1]))
    assert bench.core.leader_and_epoch == LeaderAndEpoch(bench.epoch, NodeId(1), endpoint(1))


def test_a_replica_whose_removal_may_be_undone_stands_without_counting_itself() -> None:
    """Ongaro's thesis, 4.2.2: the voters that lack the record of its removal may need it, for its log is longer."""
    bench = following(leader=2, epoch=4)
    _append_voters(bench, (2, 3))
    bench.flushed()
    bench.step(TimePassed(), later_ms=60_000)
    bench.step(TimePassed(), later_ms=10_000)
    role = bench.core.role
    assert isinstance(role, Prospective)
    assert role.granted == set()


def test_a_removed_replica_never_stands_again() -> None:
    bench = following(leader=2, epoch=4)
    _append_voters(bench, (2, 3))
    bench.flushed()
    answer_fetch(bench, high_watermark=bench.core.log.end.offset)
    bench.step(TimePassed(), later_ms=60_000)
    assert bench.role == "follower"
    bench.step(TimePassed(), later_ms=600_000)
    assert bench.role == "follower"


def test_whoever_waits_is_told_when_the_leader_changes() -> None:
    bench = leading()
    ask(bench, RemoveVoterRequest(voter=KEYS[3]))
    bench.receive(bench.vote_request(2, epoch=bench.epoch + 1))
    assert outcome(bench) is ErrorCode.not_leader_or_follower


# ---- updating


def test_a_follower_has_its_entry_corrected_once_it_follows() -> None:
    bench = following(leader=2, epoch=4)
    bench.core.config = attrs.evolve(bench.core.config, endpoints=(Endpoint("CONTROLLER", "new", 1),))
    _append_voters(bench, (1, 2, 3))
    asked = bench.sent(UpdateVoterRequest)
    assert [(sent.peer.id, update.endpoints[0].host) for sent, update in asked] == [(2, "new")]
    bench.step(TimePassed(), later_ms=100)
    assert bench.sent(UpdateVoterRequest) == [], "and does not ask again at once"


def test_it_asks_nobody_before_it_knows_that_its_leader_is_there() -> None:
    bench = following(leader=2, epoch=4)
    bench.core.config = attrs.evolve(bench.core.config, endpoints=(Endpoint("CONTROLLER", "new", 1),))
    bench.core._judged = None
    bench.step(TimePassed(), later_ms=1)
    assert bench.core.entry_is_old
    assert bench.sent(UpdateVoterRequest) == []


def test_an_update_is_answered_when_appended_and_changes_no_majority() -> None:
    bench = leading()
    moved = (Endpoint("CONTROLLER", "elsewhere", 9999),)
    request = UpdateVoterRequest(epoch=bench.epoch, voter=KEYS[3], endpoints=moved, kraft_versions=(0, 1))
    bench.receive(request)
    assert bench.answered(UpdateVoterResponse).error is ErrorCode.none
    assert bench.core.voters.endpoint(NodeId(3)) == moved[0]
    assert bench.core.voters.ids == (1, 2, 3)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"epoch": 3}, ErrorCode.fenced_leader_epoch),
        ({"epoch": 9}, ErrorCode.unknown_leader_epoch),
        ({"voter": KEYS[4]}, ErrorCode.voter_not_found),
        ({"endpoints": ()}, ErrorCode.invalid_request),
        ({"kraft_versions": (0, 0)}, ErrorCode.invalid_request),
    ],
)
def test_what_is_no_update(change: dict[str, object], expected: ErrorCode) -> None:
    bench = leading()
    request = UpdateVoterRequest(
        epoch=bench.epoch, voter=KEYS[3], endpoints=(endpoint(3),), kraft_versions=(0, 1)
    )
    bench.receive(attrs.evolve(request, **change))  # type: ignore[arg-type]
    assert bench.answered(UpdateVoterResponse).error is expected
    assert appended(bench) == []


def test_an_update_that_says_nothing_new_writes_nothing() -> None:
    bench = leading()
    known = bench.core.voters.voters[NodeId(3)]
    request = UpdateVoterRequest(
        epoch=bench.epoch, voter=KEYS[3], endpoints=tuple(known.endpoints), kraft_versions=(0, 1)
    )
    bench.receive(request)
    assert bench.answered(UpdateVoterResponse).error is ErrorCode.none
    assert appended(bench) == []


# ---- in the log


def test_sets_without_a_common_majority_are_an_error_in_the_log() -> None:
    bench = following(leader=2, epoch=4)
    with pytest.raises(InvariantViolated, match="in one record"):
        _append_voters(bench, (1, 4))


def _append_voters(bench: Bench, members: tuple[int, ...]) -> None:
    """The leader's answer to the Fetch under way: a Voters record."""
    voters = tuple(
        Voter(
            voter_id=NodeId(n),
            voter_directory_id=KEYS[n].directory_id,  # type: ignore[arg-type]
            endpoints=(endpoint(n),),
            kraft_version_feature=VersionRange(min_supported_version=0, max_supported_version=1),
        )
        for n in members
    )
    batch = RecordBatch.seal(
        [VotersRecord(voters=voters)],
        base_offset=bench.core.log.end.offset,
        epoch=bench.epoch,
        append_time_ms=0,
        is_control=True,
    )
    answer_fetch(bench, high_watermark=Offset(0), batches=(batch,))
