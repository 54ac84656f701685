"""What replicas say to each other: the Raft requests and answers of KIP-595, 630, 853 and 996, flat.

`wire.raft` has the same messages in Kafka's nested shape; `metadata.raft_wire` converts. An answer that carries log
or snapshot bytes names what to read (`LogRead`, `SnapshotRead`): the core never holds record data; whoever carries
out the effects reads it at that moment, after the appends of the same step.
"""

import uuid

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.checks import ErrorCode
from quorate.metadata.ids import FIRST_OFFSET, Endpoint, Epoch, NodeId, Offset, OffsetAndEpoch, ReplicaKey


@attrs.frozen
class LeaderAndEpoch:
    """Who leads which epoch, as far as the speaker knows, and where that leader is reached."""

    epoch: Epoch
    leader_id: NodeId | None = None
    endpoint: Endpoint | None = None

    def __str__(self) -> str:
        return f"epoch {self.epoch}, leader {'unknown' if self.leader_id is None else self.leader_id}"


@attrs.frozen(kw_only=True)
class VoteRequest:
    """`pre_vote`: would you vote for me? Bumps nothing, persists nothing (KIP-996)."""

    epoch: Epoch
    candidate: ReplicaKey
    voter: ReplicaKey
    last: OffsetAndEpoch
    pre_vote: bool


@attrs.frozen(kw_only=True)
class VoteResponse:
    leader: LeaderAndEpoch
    granted: bool = False
    error: ErrorCode = ErrorCode.none


@attrs.frozen(kw_only=True)
class BeginQuorumEpochRequest:
    """The leader announces itself: replication is pulled, so silence would look like no leader."""

    epoch: Epoch
    leader_id: NodeId
    voter: ReplicaKey
    endpoints: tuple[Endpoint, ...] = ()


@attrs.frozen(kw_only=True)
class BeginQuorumEpochResponse:
    leader: LeaderAndEpoch
    error: ErrorCode = ErrorCode.none


@attrs.frozen(kw_only=True)
class EndQuorumEpochRequest:
    """The leader steps down; `preferred` are the others, best log first."""

    epoch: Epoch
    leader_id: NodeId
    preferred: tuple[ReplicaKey, ...]


@attrs.frozen(kw_only=True)
class EndQuorumEpochResponse:
    leader: LeaderAndEpoch
    error: ErrorCode = ErrorCode.none


@attrs.frozen(kw_only=True)
class FetchRequest:
    """A replica asks for what follows its log. For a voter `offset` says: all below is on my disk."""

    replica: ReplicaKey
    epoch: Epoch
    offset: Offset
    last_fetched_epoch: Epoch
    max_wait_ms: int
    max_bytes: int
    high_watermark: Offset | None = None
    """What the asker knows already; None: a version of Fetch (< 18) that cannot say."""


@attrs.frozen
class LogRead:
    """Whole batches from `start` below `end`, about `max_bytes` of them, at least one."""

    start: Offset
    end: Offset
    max_bytes: int


@attrs.frozen(kw_only=True)
class FetchResponse:
    """At most one of diverging, snapshot_id, read/batches is set. `read` going out becomes `batches` coming in."""

    leader: LeaderAndEpoch
    error: ErrorCode = ErrorCode.none
    high_watermark: Offset | None = None
    log_start: Offset = FIRST_OFFSET
    diverging: OffsetAndEpoch | None = None
    snapshot_id: OffsetAndEpoch | None = None
    read: LogRead | None = None
    batches: tuple[RecordBatch, ...] = attrs.field(
        default=(), repr=lambda batches: f"<{len(batches)} batches>"
    )
    recovery_id: uuid.UUID | None = None
    """Which log of the cluster this is: None as long as the quorum was never made anew without a majority."""


@attrs.frozen(kw_only=True)
class FetchSnapshotRequest:
    replica: ReplicaKey
    epoch: Epoch
    snapshot_id: OffsetAndEpoch
    position: int
    max_bytes: int


@attrs.frozen
class SnapshotRead:
    snapshot_id: OffsetAndEpoch
    position: int
    max_bytes: int


@attrs.frozen(kw_only=True)
class FetchSnapshotResponse:
    """`read` going out becomes `size` and `data` coming in."""

    leader: LeaderAndEpoch
    snapshot_id: OffsetAndEpoch
    position: int
    error: ErrorCode = ErrorCode.none
    read: SnapshotRead | None = None
    size: int = 0
    data: bytes = attrs.field(default=b"", repr=lambda data: f"<{len(data)} bytes>")


@attrs.frozen(kw_only=True)
class AddVoterRequest:
    """An operator's wish (KIP-853). `timeout_ms` 0: the quorum's request timeout."""

    voter: ReplicaKey
    endpoints: tuple[Endpoint, ...]
    timeout_ms: int = 0
    ack_when_committed: bool = True


@attrs.frozen(kw_only=True)
class AddVoterResponse:
    leader: LeaderAndEpoch
    error: ErrorCode = ErrorCode.none
    message: str | None = None


@attrs.frozen(kw_only=True)
class RemoveVoterRequest:
    """Another wish; the voter is named with its disk, so that its successor cannot be meant."""

    voter: ReplicaKey
    timeout_ms: int = 0


@attrs.frozen(kw_only=True)
class RemoveVoterResponse:
    leader: LeaderAndEpoch
    error: ErrorCode = ErrorCode.none
    message: str | None = None


@attrs.frozen(kw_only=True)
class UpdateVoterRequest:
    """A voter tells its leader where it is reached now, and which kraft.versions it speaks (from, to)."""

    epoch: Epoch
    voter: ReplicaKey
    endpoints: tuple[Endpoint, ...]
    kraft_versions: tuple[int, int]


@attrs.frozen(kw_only=True)
class UpdateVoterResponse:
    leader: LeaderAndEpoch
    error: ErrorCode = ErrorCode.none


@attrs.frozen
class VersionsRequest:
    """Which kraft.versions do you speak? On the wire ApiVersions, which opens every connection anyhow."""


@attrs.frozen(kw_only=True)
class VersionsResponse:
    """None: it knows no such feature."""

    kraft_versions: tuple[int, int] | None
    leader: LeaderAndEpoch = LeaderAndEpoch(Epoch(0))


Request = (
    VoteRequest
    | BeginQuorumEpochRequest
    | EndQuorumEpochRequest
    | FetchRequest
    | FetchSnapshotRequest
    | AddVoterRequest
    | RemoveVoterRequest
    | UpdateVoterRequest
    | VersionsRequest
)
Response = (
    VoteResponse
    | BeginQuorumEpochResponse
    | EndQuorumEpochResponse
    | FetchResponse
    | FetchSnapshotResponse
    | AddVoterResponse
    | RemoveVoterResponse
    | UpdateVoterResponse
    | VersionsResponse
)
