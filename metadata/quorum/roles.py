"""The roles of a replica: for each, just the state that has a meaning while it lasts.

They are plain mutable values, changed by `elections`, `replication` and `snapshots` only, and replaced through
`RaftCore.become`. All times are milliseconds of the clock that `step` is given.
"""

import attrs

from quorate.metadata.ids import FIRST_OFFSET, Endpoint, NodeId, Offset, OffsetAndEpoch, ReplicaKey
from quorate.metadata.quorum.events import Correlation, ReadId, Token
from quorate.metadata.quorum.messages import AddVoterRequest, FetchRequest, RemoveVoterRequest
from quorate.metadata.quorum.transitions import RoleName


@attrs.define(eq=False)
class Unattached:
    """Knows no leader that it could fetch from. `election_deadline_ms` is None for observers, who never stand."""

    election_deadline_ms: int | None
    name = RoleName.UNATTACHED


@attrs.define(eq=False)
class Prospective:
    """Asks whether it would be elected, before it disturbs anybody (KIP-996)."""

    election_deadline_ms: int
    granted: set[NodeId]
    rejected: set[NodeId] = attrs.Factory(set)
    resend_at_ms: dict[NodeId, int] = attrs.Factory(dict)
    """Peers whose request failed, and when to ask again."""
    leader: tuple[NodeId, Endpoint] | None = None
    """The leader of this epoch that it came from."""
    awaits_leader: bool = False
    """Whatever others grant, the leader that it had must be found silent first: until `election_deadline_ms`, which is
    then drawn anew for the others' answers."""
    granted_equal: bool = False
    """It granted a peer with an equal log: two such winners would split the vote, so it waits once more."""
    stand_at_ms: int | None = None
    """When that wait ends."""
    name = RoleName.PROSPECTIVE


@attrs.define(eq=False)
class Candidate:
    """Has a new epoch and its own vote in it. `retry_at_ms`: defeated, waits before it tries again."""

    election_deadline_ms: int
    granted: set[NodeId]
    rejected: set[NodeId] = attrs.Factory(set)
    resend_at_ms: dict[NodeId, int] = attrs.Factory(dict)
    retry_at_ms: int | None = None
    name = RoleName.CANDIDATE


@attrs.define(eq=False)
class Parked:
    """A Fetch that waits for data or for a higher high watermark."""

    token: Token
    request: FetchRequest
    deadline_ms: int


@attrs.define(eq=False)
class SnapshotReading:
    """A snapshot that a replica fetches from us."""

    snapshot_id: OffsetAndEpoch
    began_ms: int
    last_ms: int


@attrs.define(eq=False)
class Progress:
    """What the leader knows of one replica.

    `end_offset`: where its last *valid* Fetch began, so all below is in its log; for a voter, on its disk.
    Invariant: never goes back within an epoch of leadership.
    """

    key: ReplicaKey
    end_offset: Offset | None = None
    last_fetch_ms: int | None = None
    last_caught_up_ms: int | None = None
    leader_end_at_last_fetch: Offset = FIRST_OFFSET
    high_watermark_sent: Offset | None = None
    parked: Parked | None = None
    reads: SnapshotReading | None = None
    """The snapshot that it asked for last."""


@attrs.define(eq=False)
class VoterChange:
    """A change of the voters whose outcome somebody waits for."""

    token: Token
    request: AddVoterRequest | RemoveVoterRequest
    deadline_ms: int
    offset: Offset | None = None
    """Of its record; None: nothing is appended yet."""
    asked: Correlation | None = None
    """The question to the replica that is to be added: an answer to an earlier change's question decides nothing."""


@attrs.frozen
class PendingRead:
    """`index`: all below must be applied before it is answered."""

    id: ReadId
    index: Offset


@attrs.define(eq=False)
class ReadRound:
    """The question whether a majority still follows, asked after these reads had arrived."""

    reads: list[PendingRead]
    asked: dict[Correlation, NodeId] = attrs.Factory(dict)
    agreed: set[NodeId] = attrs.Factory(set)
    retry_at_ms: int | None = None
    """All have answered or failed, and it was no majority."""


@attrs.define(eq=False)
class Leader:
    """Leads this epoch. `epoch_start` is the offset of its LeaderChange record."""

    epoch_start: Offset
    begin_quorum_at_ms: int
    check_quorum_at_ms: int | None
    """None: the only voter, which needs nobody's presence."""
    progress: dict[ReplicaKey, Progress] = attrs.Factory(dict)
    fetched_since_check: set[NodeId] = attrs.Factory(set)
    high_watermark_known: bool = False
    """Whether a record of this epoch is committed: before that, others may know a higher watermark than we do."""
    change: VoterChange | None = None
    waiting_reads: list[PendingRead] = attrs.Factory(list)
    """For the round after the running one."""
    read_round: ReadRound | None = None
    name = RoleName.LEADER


@attrs.define(eq=False)
class SnapshotFetch:
    """A snapshot on its way here."""

    snapshot_id: OffsetAndEpoch
    position: int = 0


@attrs.define(eq=False)
class Follower:
    """Fetches from the leader of this epoch."""

    leader_id: NodeId
    endpoint: Endpoint
    fetch_deadline_ms: int
    has_fetched: bool = False
    """A successful Fetch in this epoch, and no sign of its leader's death since: then it grants no pre-vote."""
    reconnecting: bool = False
    """The connection broke once; the next Fetch goes out at once and tells whether the leader is there.
    An observer that got no records asks somebody else instead."""
    suspect_at_ms: int | None = None
    """When a suspicion is acted upon."""
    no_suspicion_before_ms: int = 0
    snapshot: SnapshotFetch | None = None
    update_at_ms: int = 0
    """Not before this does it ask again to have its entry among the voters corrected."""
    name = RoleName.FOLLOWER


@attrs.define(eq=False)
class Resigned:
    """Was leader of this epoch, will never append in it again, and says so to the voters that have not heard."""

    election_deadline_ms: int
    unacknowledged: set[NodeId]
    preferred: tuple[ReplicaKey, ...] = ()
    resend_at_ms: dict[NodeId, int] = attrs.Factory(dict)
    name = RoleName.RESIGNED


Role = Unattached | Prospective | Candidate | Leader | Follower | Resigned
