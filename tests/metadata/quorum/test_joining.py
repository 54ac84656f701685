"""What a disk remembers of having voted: written before it acts as a voter, taken back if it never was one."""

from pathlib import Path

import attrs
import pytest

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import Endpoint, Epoch, NodeId, OffsetAndEpoch, ReplicaKey, random_uuid
from quorate.metadata.log.files import RealFiles
from quorate.metadata.log.quorum_state_file import QuorumStateFile
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import ResponseReceived
from quorate.metadata.quorum.messages import (
    AddVoterRequest,
    AddVoterResponse,
    FetchRequest,
    FetchResponse,
    LeaderAndEpoch,
    RemoveVoterRequest,
    RemoveVoterResponse,
)
from quorate.metadata.quorum.voters import VoterSet
from quorate.metadata.records import VersionRange, Voter
from tests.paper.bench import KEYS, LOG, Bench, endpoint

LEADER = LeaderAndEpoch(LOG.epoch, NodeId(2), endpoint(2))


def observer(me: int = 4, **settings: object) -> Bench:
    """An observer with an address, that may join and has found the leader; its Fetch is under way."""
    bench = Bench(me=me)
    changes = {"auto_join": True, "endpoints": (endpoint(me),), **settings}
    bench.core.config = attrs.evolve(bench.core.config, **changes)
    answer_fetch(bench, error=ErrorCode.not_leader_or_follower)
    bench.until_timeout()
    assert bench.role == "follower"
    return bench


def answer_fetch(bench: Bench, **fields: object) -> None:
    ((asked, _),) = bench.sent(FetchRequest)
    bench.step(ResponseReceived(asked.correlation, FetchResponse(leader=LEADER, **fields)))  # type: ignore[arg-type]


def batch_of(voters: VoterSet) -> RecordBatch:
    return RecordBatch.seal(
        [voters.record()], base_offset=LOG.offset, epoch=LOG.epoch, append_time_ms=0, is_control=True
    )


@pytest.mark.parametrize("was_voter", [False, True])
def test_the_file_keeps_it(tmp_path: Path, was_voter: bool) -> None:
    file = QuorumStateFile(RealFiles(), tmp_path)
    file.write(ElectionState(Epoch(7), NodeId(2), KEYS[1], was_voter=was_voter))
    assert file.read() == ElectionState(Epoch(7), NodeId(2), KEYS[1])
    assert file.read().was_voter is was_voter


def test_a_voter_remembers_from_its_first_step_on_and_in_every_later_election() -> None:
    bench = Bench()
    assert bench.last.election is not None
    assert bench.last.election.was_voter
    bench.become_leader()
    assert bench.core.election.was_voter


def test_an_observer_has_nothing_to_remember() -> None:
    bench = Bench(me=4)
    assert bench.last.election is None
    assert not bench.core.election.was_voter


def test_it_asks_once_it_has_fetched_and_not_for_an_answer_that_waits_for_its_own_fetch() -> None:
    bench = observer()
    assert not bench.sent(AddVoterRequest)
    answer_fetch(bench)
    ((asked, request),) = bench.sent(AddVoterRequest)
    assert (asked.peer.id, request.voter, request.endpoints) == (2, KEYS[4], (endpoint(4),))
    assert not request.ack_when_committed


@pytest.mark.parametrize(
    "settings",
    [{"auto_join": False}, {"endpoints": ()}, {"endpoints": (Endpoint("OTHER", "host-4", 9004),)}],
    ids=["not wanted", "no address", "no address on that listener"],
)
def test_it_does_not_ask(settings: dict[str, object]) -> None:
    bench = observer(**settings)
    answer_fetch(bench)
    assert not bench.sent(AddVoterRequest)


def test_it_asks_again_after_a_while_and_says_the_same_once() -> None:
    bench = observer()
    answer_fetch(bench)
    said = []
    for _ in range(3):
        ((asked, _),) = bench.sent(AddVoterRequest)
        asked_ms = bench.now_ms
        refusal = AddVoterResponse(leader=LEADER, error=ErrorCode.request_timed_out, message="is catching up")
        bench.step(ResponseReceived(asked.correlation, refusal))
        said += bench.last.notes
        while not bench.sent(AddVoterRequest):
            if bench.sent(FetchRequest):
                bench.now_ms += bench.core.config.fetch_max_wait_ms
                answer_fetch(bench)
            else:
                bench.until_timeout()
        assert bench.now_ms - asked_ms >= bench.core.config.fetch_timeout_ms
    assert [one for one in said if "catching up" in one] == [
        f"asked to add voter {KEYS[4]}, and will again: REQUEST_TIMED_OUT: is catching up"
    ]


def test_a_former_disk_at_its_own_address_is_removed_first() -> None:
    bench = Bench(me=4)
    me = ReplicaKey(NodeId(3), random_uuid(bench.core.rng))
    bench.core.config = attrs.evolve(bench.core.config, replica=me, auto_join=True, endpoints=(endpoint(3),))
    bench.core.id = me.id
    answer_fetch(bench, error=ErrorCode.not_leader_or_follower)
    bench.until_timeout()
    answer_fetch(bench)
    ((asked, request),) = bench.sent(RemoveVoterRequest)
    assert request.voter == KEYS[3]
    assert not bench.sent(AddVoterRequest)

    bench.step(ResponseReceived(asked.correlation, RemoveVoterResponse(leader=LEADER)))
    left = VoterSet.of(one for one in bench.core.voters.voters.values() if one.voter_id != 3)
    while not bench.sent(FetchRequest):
        bench.until_timeout()
    answer_fetch(bench, batches=(batch_of(left),))
    while not bench.sent(AddVoterRequest):
        bench.until_timeout()
    assert bench.sent(AddVoterRequest)[0][1].voter == me


def test_who_was_added_by_a_record_that_is_cut_off_never_voted() -> None:
    bench = observer()
    mine = Voter(
        voter_id=NodeId(4),
        voter_directory_id=KEYS[4].directory_id,  # type: ignore[arg-type]
        endpoints=(endpoint(4),),
        kraft_version_feature=VersionRange(min_supported_version=0, max_supported_version=1),
    )
    answer_fetch(bench, batches=(batch_of(VoterSet.of([*bench.core.voters.voters.values(), mine])),))
    assert bench.core.is_voter
    assert bench.last.election is not None
    assert bench.last.election.was_voter

    bench.flushed()
    answer_fetch(bench, diverging=OffsetAndEpoch(LOG.offset, LOG.epoch))
    assert bench.core.log.end == LOG
    assert not bench.core.is_voter
    assert bench.last.election is not None
    assert not bench.last.election.was_voter
