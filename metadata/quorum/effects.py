"""What a step asks of the world. The order of the fields is the order in which they are carried out.

That order is the safety argument. A vote is on disk before its answer is sent, because `election` comes before `send`
in the same value; no other code can send. Nothing in `send` promises that this node's *log* is durable: such promises
(a follower's next Fetch, the leader counting itself) are made only by the step that `LogFlushed` causes.

If any of them fails the process ends: a core that is ahead of its disk must never speak again.
"""

import uuid

import attrs

from quorate.metadata.batch import RecordBatch
from quorate.metadata.ids import FIRST_OFFSET, Endpoint, NodeId, Offset, OffsetAndEpoch
from quorate.metadata.quorum.election_state import ElectionState
from quorate.metadata.quorum.events import Correlation, ReadId, Token
from quorate.metadata.quorum.messages import Request, Response


@attrs.frozen
class Peer:
    """Somebody to talk to. A bootstrap server, whose id nobody knows yet, has a negative id."""

    id: NodeId
    endpoint: Endpoint


@attrs.frozen
class SendRequest:
    peer: Peer
    correlation: Correlation
    request: Request


@attrs.frozen
class SendResponse:
    token: Token
    response: Response


@attrs.frozen
class RejectClusterId:
    """Answered at the top level with INCONSISTENT_CLUSTER_ID, whatever the request was."""

    token: Token


Outgoing = SendRequest | SendResponse | RejectClusterId


@attrs.frozen
class SnapshotChunk:
    snapshot_id: OffsetAndEpoch
    position: int
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")


@attrs.frozen
class Flush:
    """Make durable what lies below `end_offset`; report back as LogFlushed with the same two values."""

    end_offset: Offset
    generation: int


@attrs.frozen
class DropPrefix:
    start: Offset
    snapshots: tuple[OffsetAndEpoch, ...]


@attrs.frozen
class ReadAnswer:
    """A read may be answered once all below `index` is applied. None: this node does not lead, ask another."""

    read_id: ReadId
    index: Offset | None


@attrs.define(kw_only=True)
class Effects:
    """Gathered while a step runs; afterwards it is the caller's, and the core does not touch it again."""

    election: ElectionState | None = None
    truncate_to: Offset | None = None
    snapshot_chunk: SnapshotChunk | None = None
    install_snapshot: OffsetAndEpoch | None = None
    append: list[RecordBatch] = attrs.Factory(list)
    flushed_to: Offset = FIRST_OFFSET
    """Written in front of each appended batch: what this node knows to be durable."""
    send: list[Outgoing] = attrs.Factory(list)
    flush: Flush | None = None
    committed: Offset | None = None
    """The new high watermark: everything below is committed and may be applied."""
    reads: list[ReadAnswer] = attrs.Factory(list)
    drop_prefix: DropPrefix | None = None
    superseded_by: uuid.UUID | None = None
    """This node's log was given up by the recovery of that id: the node ends here, and begins anew without its copy."""
    notes: list[str] = attrs.Factory(list)
    """What was decided and why, for logs and transcripts."""
