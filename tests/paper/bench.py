"""One core on a bench: messages in, effects out, nothing else. Replica 1 of three; 4 and 5 are observers."""

import random
import uuid
from typing import TypeVar

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import Endpoint, Epoch, NodeId, Offset, OffsetAndEpoch, ReplicaKey, random_uuid
from quorate.metadata.log.interface import EpochStart, LogSummary
from quorate.metadata.quorum.core import QuorumConfig, RaftCore
from quorate.metadata.quorum.effects import Effects, SendRequest, SendResponse
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import (
    Event,
    LogFlushed,
    Proposed,
    RequestReceived,
    ResponseReceived,
    Started,
    TimePassed,
    Token,
)
from quorate.metadata.quorum.invariants import check_state, check_step, summarize
from quorate.metadata.quorum.messages import FetchRequest, LeaderAndEpoch, Request, VoteRequest, VoteResponse
from quorate.metadata.quorum.voters import BOOTSTRAP_OFFSET
from quorate.metadata.records import KRaftVersionRecord, NoOpRecord, VersionRange, Voter, VotersRecord

_RNG = random.Random(7)
KEYS = {n: ReplicaKey(NodeId(n), random_uuid(_RNG)) for n in (1, 2, 3, 4, 5)}
LOG = OffsetAndEpoch(Offset(10), Epoch(3))
"""Where the log of the replica on the bench ends, unless a test says otherwise."""

Kind = TypeVar("Kind")


def endpoint(node: int) -> Endpoint:
    return Endpoint("CONTROLLER", f"host-{node}", 9000 + node)


class Bench:
    """The replica, its time, and what it did last."""

    def __init__(
        self,
        *,
        voters: tuple[int, ...] = (1, 2, 3),
        me: int = 1,
        election: ElectionState | None = None,
        log: OffsetAndEpoch = LOG,
        recovery_id: uuid.UUID | None = None,
        epochs: tuple[EpochStart, ...] | None = None,
        snapshots: tuple[OffsetAndEpoch, ...] = (),
        formatted: bool = False,
    ) -> None:
        """The log is one epoch, unless `epochs` says more, and begins at the oldest of its snapshots.

        formatted: the voters stand in the 0-0 snapshot only, not yet in the log.
        """
        members = tuple(
            Voter(
                voter_id=NodeId(n),
                voter_directory_id=KEYS[n].directory_id,  # type: ignore[arg-type]
                endpoints=(endpoint(n),),
                kraft_version_feature=VersionRange(min_supported_version=0, max_supported_version=1),
            )
            for n in voters
        )
        places = (BOOTSTRAP_OFFSET, BOOTSTRAP_OFFSET) if formatted else (Offset(0), Offset(1))
        control = tuple(
            zip(places, (KRaftVersionRecord(k_raft_version=1), VotersRecord(voters=members)), strict=True)
        )
        start = snapshots[0].offset if snapshots else Offset(0)
        if epochs is None:
            epochs = (EpochStart(log.epoch, start),) if log.offset else ()
        summary = LogSummary(start, log, epochs, snapshots, control)
        self.now_ms = 1_000
        self.core = RaftCore(
            QuorumConfig(
                replica=KEYS[me],
                cluster_id="c",
                recovery_id=recovery_id,
                bootstrap=(endpoint(2), endpoint(3)),
            ),
            election or ElectionState(log.epoch),
            summary,
            random.Random(1),
        )
        self.last = self.core.step(Started(), self.now_ms)
        self._tokens = 0

    @property
    def epoch(self) -> Epoch:
        return self.core.election.epoch

    @property
    def role(self) -> str:
        return self.core.role.name.value

    def step(self, event: Event, later_ms: int = 0) -> Effects:
        self.now_ms += later_ms
        before = summarize(self.core)
        self.last = self.core.step(event, self.now_ms)
        check_state(self.core)
        check_step(before, summarize(self.core))
        return self.last

    def receive(self, request: Request) -> Effects:
        self._tokens += 1
        return self.step(RequestReceived(Token(self._tokens), request, "c"))

    def until_timeout(self) -> Effects:
        """Lets time pass to its own next deadline."""
        deadline = self.core.next_deadline()
        assert deadline is not None
        return self.step(TimePassed(), max(0, deadline - self.now_ms))

    def sent(self, kind: type[Kind]) -> list[tuple[SendRequest, Kind]]:
        """The requests of a kind in the last effects."""
        return [
            (one, one.request)
            for one in self.last.send
            if isinstance(one, SendRequest) and isinstance(one.request, kind)
        ]

    def answered(self, kind: type[Kind]) -> Kind:
        """The last answer, of this kind."""
        found = [one.response for one in self.last.send if isinstance(one, SendResponse)]
        assert isinstance(found[-1], kind), found
        return found[-1]

    def vote_request(
        self,
        candidate: int,
        *,
        epoch: int,
        last: OffsetAndEpoch = LOG,
        pre_vote: bool = False,
        voter: ReplicaKey | None = None,
    ) -> VoteRequest:
        return VoteRequest(
            epoch=Epoch(epoch),
            candidate=KEYS[candidate],
            voter=voter or self.core.config.replica,
            last=last,
            pre_vote=pre_vote,
        )

    def answer_votes(self, *granting: int) -> None:
        """Answers every Vote under way: yes from these nodes, no from the others."""
        for asked in self.sent(VoteRequest):
            self.answer_vote(asked, granted=asked[0].peer.id in granting)

    def win_votes(self, *nodes: int) -> None:
        """These say yes, in this order, to the Votes under way; the last effects are what the last yes caused."""
        asked = {one.peer.id: (one, request) for one, request in self.sent(VoteRequest)}
        for node in nodes:
            self.answer_vote(asked[NodeId(node)], granted=True)

    def answer_vote(self, asked: tuple[SendRequest, VoteRequest], *, granted: bool) -> None:
        """Answers one Vote that is under way."""
        answer = VoteResponse(leader=LeaderAndEpoch(asked[1].epoch), granted=granted)
        self.step(ResponseReceived(asked[0].correlation, answer))

    def become_candidate(self) -> None:
        while self.role != "prospective":
            self.until_timeout()
        one, request = self.sent(VoteRequest)[0]
        self.step(
            ResponseReceived(
                one.correlation, VoteResponse(leader=LeaderAndEpoch(request.epoch), granted=True)
            )
        )
        assert self.role == "candidate"

    def become_leader(self) -> None:
        self.become_candidate()
        one, request = self.sent(VoteRequest)[0]
        self.step(
            ResponseReceived(
                one.correlation, VoteResponse(leader=LeaderAndEpoch(request.epoch), granted=True)
            )
        )
        assert self.role == "leader"

    def propose(self, count: int = 1) -> Effects:
        batch = RecordBatch.seal(
            [NoOpRecord(version=0)] * count,
            base_offset=self.core.log.end.offset,
            epoch=self.epoch,
            append_time_ms=0,
        )
        return self.step(Proposed(self.epoch, (batch,)))

    def flushed(self) -> Effects:
        log = self.core.log
        return self.step(LogFlushed(log.end.offset, log.generation))

    def fetch(self, node: int, offset: int | None = None, last_epoch: int | None = None) -> Effects:
        """A Fetch of a replica whose log ends there; None: where ours does."""
        end = self.core.log.end
        return self.receive(
            FetchRequest(
                replica=KEYS[node],
                epoch=self.epoch,
                offset=end.offset if offset is None else Offset(offset),
                last_fetched_epoch=end.epoch if last_epoch is None else Epoch(last_epoch),
                max_wait_ms=500,
                max_bytes=1_000_000,
                high_watermark=Offset(-1),
            )
        )
